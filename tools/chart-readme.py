#!/usr/bin/env python3
"""Makes the table of values in helm/tidemark/README.md from values.yaml.

The text behind `# --` above a value is its description; a mapping without one is walked into.

tools/chart-readme.py           writes README.md
tools/chart-readme.py --check   ends with 1 when it is not what would be written
"""

import pathlib
import re
import sys

CHART = pathlib.Path(__file__).parent.parent / "helm" / "tidemark"
BEGIN, END = "<!-- values: made by tools/chart-readme.py -->", "<!-- end of values -->"
KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9.]*):(?: (.*))?$")


def rows(text):
    """Of each described value: its path, what it is unless told otherwise, and the description."""
    path, described, lines = [], None, text.splitlines()
    for at, line in enumerate(lines):
        if line.strip().startswith("# -- "):
            described = line.strip().removeprefix("# -- ")
            continue
        key = KEY.match(line)
        if not key:
            continue
        depth = len(key[1]) // 2
        path = path[:depth] + [key[2]]
        if described is not None:
            yield ".".join(path), key[3] or block(lines[at + 1 :], depth), described
            described = None


def block(lines, depth):
    """A mapping on lines of its own, as one line."""
    members, parents = [], []
    for line in lines:
        key = KEY.match(line)
        if not key or len(key[1]) // 2 <= depth:
            break
        parents = parents[: len(key[1]) // 2 - depth - 1] + [key[2]]
        if key[3]:
            members.append(f"{'.'.join(parents)}: {key[3]}")
    return "{" + ", ".join(members) + "}"


def table():
    text = (CHART / "values.yaml").read_text()
    lines = ["| value | unless told otherwise | meaning |", "|---|---|---|"]
    for path, default, description in rows(text):
        lines.append(f"| `{path}` | `{default}` | {description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def main():
    readme = CHART / "README.md"
    before = readme.read_text()
    head, rest = before.split(BEGIN)
    after = f"{head}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv[1:]:
        if before != after:
            sys.exit("helm/tidemark/README.md is not made from values.yaml: run `make chart-readme`")
        return
    readme.write_text(after)


if __name__ == "__main__":
    main()
