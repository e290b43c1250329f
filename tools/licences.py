#!/usr/bin/env python3
"""Holds every crate of Cargo.lock to deny.toml: its licence, whether it is banned, where it is from.

It reads the same lists as cargo-deny does, so that the gate is there on a machine without it.
`--self-test` shows that the gate closes.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def section(text, name):
    """The text of one `[section]` of deny.toml."""
    found = re.search(rf"^\[{name}\]$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit(f"error: deny.toml has no [{name}]")
    return re.sub(r"^\s*#.*$", "", found.group(1), flags=re.MULTILINE)


def allowed_licences(text):
    listed = re.search(r"^allow\s*=\s*\[(.*?)\]", section(text, "licenses"), re.MULTILINE | re.DOTALL)
    return set(re.findall(r'"([^"]+)"', listed.group(1)))


def banned_crates(text):
    return set(re.findall(r'crate\s*=\s*"([^"]+)"', section(text, "bans")))


def is_allowed(expression, allowed):
    """Whether an SPDX expression can be met with `allowed`; `/` is how `OR` was written once."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either():
        met = both()
        while peek() in ("OR", "/"):
            take()
            # Both sides are read, whatever the first one says.
            met = both() or met
        return met

    def both():
        met = one()
        while peek() == "AND":
            take()
            met = one() and met
        return met

    def one():
        if peek() is None:
            return False
        if peek() == "(":
            take()
            met = either()
            if peek() != ")":
                return False
            take()
            return met
        name = take()
        if peek() == "WITH":
            take()
            name = f"{name} WITH {take()}" if peek() else name
        return name in allowed

    met = either()
    return met and position == len(tokens)


def complaints(packages, allowed, banned):
    """One line for each thing that deny.toml does not let in."""
    lines = []
    for package in packages:
        named = f"{package['name']} {package['version']}"
        source = package["source"]
        if source is None:
            continue
        if not source.startswith("registry+"):
            lines.append(f"{named} comes from {source}, not from the package registry")
        if package["name"] in banned:
            lines.append(f"{named} is banned")
        licence = package["license"]
        if licence is None:
            lines.append(f"{named} does not tell its licence")
        elif not is_allowed(licence, allowed):
            lines.append(f"{named} is under {licence}, which deny.toml does not allow")
    registries = {p["source"] for p in packages if (p["source"] or "").startswith("registry+")}
    if len(registries) > 1:
        lines.append(f"crates come from {len(registries)} registries: {', '.join(sorted(registries))}")
    return lines


def self_test():
    allowed = {"MIT", "Apache-2.0", "Unicode-3.0"}
    for expression, met in [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("MIT/GPL-3.0", True),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0", False),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("Apache-2.0 WITH LLVM-exception OR MIT", True),
        ("", False),
        ("(MIT", False),
    ]:
        assert is_allowed(expression, allowed) == met, expression
    crate = {"name": "a", "version": "1", "license": "MIT", "source": "registry+x"}
    assert complaints([crate], allowed, set()) == []
    for change in [{"license": None}, {"license": "GPL-3.0"}, {"source": "git+x"}]:
        assert len(complaints([{**crate, **change}], allowed, set())) == 1, change
    assert len(complaints([crate], allowed, {"a"})) == 1
    assert len(complaints([crate, {**crate, "source": "registry+y"}], allowed, set())) == 1


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        return
    text = (ROOT / "deny.toml").read_text()
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    packages = json.loads(told)["packages"]
    lines = complaints(packages, allowed_licences(text), banned_crates(text))
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    if lines:
        sys.exit(1)
    print(f"{len(packages)} crates, all as deny.toml allows")


main()
