#!/usr/bin/env python3
"""Writes what the program is made of, as a CycloneDX 1.5 bill of materials: every crate that is
compiled into it for this machine, with version, licence and the checksum of its package.

tools/sbom.py [FILE]     without FILE: to standard output
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def checksums():
    """Of each locked package, by name and version."""
    packages = (ROOT / "Cargo.lock").read_text().split("[[package]]")[1:]
    found = {}
    for package in packages:
        fields = dict(re.findall(r'^(\w+) = "(.*)"$', package, re.M))
        found[fields["name"], fields["version"]] = fields.get("checksum")
    return found


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def main():
    host = re.search(r"^host: (.*)$", subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout, re.M)[1]
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", host))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    sums = checksums()

    def compiled_in(node):
        return [d["pkg"] for d in node["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]

    root = metadata["resolve"]["root"]
    reached, to_do = {root}, [root]
    while to_do:
        for each in compiled_in(nodes[to_do.pop()]):
            if each not in reached:
                reached.add(each)
                to_do.append(each)

    components = []
    for package in sorted((packages[each] for each in reached - {root}), key=reference):
        component = {
            "type": "library",
            "bom-ref": reference(package),
            "name": package["name"],
            "version": package["version"],
            "purl": reference(package),
            "licenses": [{"expression": package["license"].replace("/", " OR ")}],
        }
        if checksum := sums[package["name"], package["version"]]:
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        components.append(component)
    program = packages[root]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference(program),
                "name": program["name"],
                "version": program["version"],
                "licenses": [{"expression": program["license"]}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": reference(packages[each]), "dependsOn": sorted({reference(packages[d]) for d in compiled_in(nodes[each])})}
            for each in sorted(reached)
        ],
    }
    text = json.dumps(bill, indent=1) + "\n"
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
