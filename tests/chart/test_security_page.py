"""The security page says of each control what holds it, and that is there."""

import json
import re
import subprocess

from rendering import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()
LINES = 28
# In words, where no test can hold a line.
REASONS = ("Not held:", "By `make", "by review", "the compiler holds", "Nothing falls back", "nothing falls back")


def names_of_tests():
    names = set()
    for folder in ("src", "tests"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix == ".rs":
                names |= set(re.findall(r"^\s*(?:async )?fn (\w+)\(", file.read_text(), re.M))
            if file.suffix == ".py":
                names |= set(re.findall(r"^def (test_\w+)\(", file.read_text(), re.M))
    return names


def test_every_line_of_the_checklist_names_tests_that_exist_or_says_why_not():
    tests = names_of_tests()
    lines = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.M))

    assert list(lines) == [str(number) for number in range(1, LINES + 1)]
    for number, line in lines.items():
        held = line.rsplit(" | ", 1)[1]
        named = [word for word in re.findall(r"`(\w+)`", held) if word.count("_") >= 3]
        unknown = [word for word in named if word not in tests]
        assert unknown == [], f"{number} names tests that are not there"
        assert named or any(reason in held for reason in REASONS), f"{number} names no test and no reason"


def test_neither_openssl_nor_http_2_nor_a_way_around_certificates_is_in_the_program():
    tree = cargo("tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}")
    crates = {line.split()[0] for line in tree.splitlines() if line}

    assert "rustls" in crates and "ring" in crates
    assert crates & {"openssl", "openssl-sys", "native-tls", "aws-lc-rs", "h2", "hyper-tls"} == set()
    program = "".join(file.read_text() for file in (ROOT / "src").rglob("*.rs"))
    assert "danger_accept" not in program and "dangerous()" not in program


def test_nothing_that_is_not_needed_is_compiled_into_the_client():
    """`system-proxy` would read the environment, `cookies` keep what a server says, `charset` guess."""
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    names = {each["id"]: each["name"] for each in metadata["packages"]}
    features = {names[each["id"]]: set(each["features"]) for each in metadata["resolve"]["nodes"]}

    asked = {"gzip", "rustls-no-provider", "stream"}
    assert asked <= features["reqwest"]
    brought = {each for each in features["reqwest"] if not each.startswith("__")} - asked
    assert brought == set(), "each of these is one more way to be led astray"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
