"""What the program is made of is written down, in a form that others read."""

import json
import pathlib
import subprocess
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_the_bill_of_materials_names_every_crate_that_is_compiled_in(tmp_path):
    file = tmp_path / "bill.json"
    subprocess.run([sys.executable, ROOT / "tools" / "sbom.py", file], check=True, timeout=120)
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    ).stdout

    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read_text()) is None
    bill = json.loads(file.read_text())
    named = {(each["name"], each["version"]) for each in bill["components"]}
    compiled = {(line.split()[0], line.split()[1].removeprefix("v")) for line in tree.splitlines() if line}
    assert compiled - named == {("tidemark", bill["metadata"]["component"]["version"])}
    assert len(named) > 150
    assert all("hashes" in each and each["licenses"][0]["expression"] for each in bill["components"])
