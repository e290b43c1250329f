#!/usr/bin/env python3
"""Writes src/edfi/keys-5.2.txt from the description of the resources of Data Standard 5.2.

    tools/edfi-keys.py resources.json > src/edfi/keys-5.2.txt

`resources.json` may be gzipped. Descriptors are left out: all of them have the same key.
"""

import gzip
import json
import sys

HEADER = """\
# Keys and references of the resources of Ed-Fi Data Standard 5.2 (edfi-wire §8), written by
# tools/edfi-keys.py. Derived from data of the Ed-Fi Alliance, LLC and contributors, Apache-2.0.
#
# abstract NAME      concrete collections
# resource NAME      `updatable` where a PUT may change the key
# key FLAT PLACE     flat name as in keyValues, place in a body
# ref PLACE NAME     reference to a collection or an abstract entity, names of its members
"""


def place(path):
    return path.removeprefix("$.").replace("[*]", "")


def main(source):
    opened = gzip.open(source, "rt") if source.endswith(".gz") else open(source)
    with opened as file:
        resources = json.load(file)["resources"]
    abstract = {}
    lines = []
    for resource in sorted(resources, key=lambda r: r["endpoint"]):
        if resource["isDescriptor"]:
            continue
        updatable = " updatable" if resource["allowIdentityUpdates"] else ""
        lines.append(f"resource {resource['endpoint']}{updatable}")
        for flat, path in sorted(resource["keyFields"].items()):
            lines.append(f"key {flat} {place(path)}")
        for ref in resource["references"]:
            name = ref["endpoints"][0]
            if len(ref["endpoints"]) > 1:
                name = ref["resource"]
                abstract[name] = ref["endpoints"]
            members = " ".join(dict.fromkeys(ref["keys"]))
            lines.append(f"ref {place(ref['path'])} {name} {members}")
    print(HEADER, end="")
    for name, endpoints in sorted(abstract.items()):
        print("abstract", name, *endpoints)
    print(*lines, sep="\n")


main(sys.argv[1])
