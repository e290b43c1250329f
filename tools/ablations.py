#!/usr/bin/env python3
"""Removes one piece of the engine after the other and plays the model until it notices.

Each file in tests/ablations/ is a patch under lines that say what it removes, which rule or
invariant wants it and, where nothing can notice it, why:

    without: upserts before deletes
    rule: I20
    why: plain agreement converges without it

It is applied to a copy under target/, never to the tree itself, and the model is played with at
most so many histories. What was measured is kept in tests/ablations/measured.json and written
into the table of docs/what-the-model-catches.md after every piece: whoever stops it, or is
stopped, starts it again, and it goes on with what is missing. Another engine or another model is
measured anew.

    tools/ablations.py [--histories N] [--seed N] [NAME...]
    tools/ablations.py --check          only says whether every patch still fits
    tools/ablations.py --table          only writes the table
"""

import argparse
import datetime
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "ablations"
PAGE = ROOT / "docs" / "what-the-model-catches.md"
WORK = ROOT / "target" / "ablations"
COPY = WORK / "tree"
MEASURED = PATCHES / "measured.json"
# What the outcome depends on.
PLAYED = ["src", "tests/it/model", "tests/it/simulation", "tests/it/district.rs",
          "tests/it/scene.rs", "Cargo.lock"]
BEGIN, END = "<!-- measured: tools/ablations.py -->", "<!-- end of what was measured -->"
MODEL_ALONE = """\
#![allow(warnings)]
mod district;
mod scene;
mod model;
mod simulation;
"""
BY_HAND = "model::regressions::"
TEST = "model::every_history_of_the_model_ends_in_agreement"
UNCHANGED = "the unchanged engine"
# A patched engine may run in circles.
LONGEST = 3600


class Trouble(Exception):
    """One piece cannot be measured; the others can."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("names", nargs="*", help="patches, without .patch; all if none is named")
    asked = parser.parse_args()
    names = asked.names or sorted(path.stem for path in PATCHES.glob("*.patch"))
    if not names:
        sys.exit("error: there is no patch in tests/ablations/")
    if asked.check:
        return check(names)
    if asked.table:
        return write_table(read_measured())
    os.nice(19)
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit("error: another tools/ablations.py is at work in this tree")
        measure(names, asked.histories, asked.seed)


def check(names):
    """Whether every patch fits the tree as it is."""
    misfits = [name for name in names if not fits(name, ROOT, "--dry-run")]
    for name in misfits:
        print(f"error: tests/ablations/{name}.patch does not fit any more: write it anew",
              file=sys.stderr)
    sys.exit(1 if misfits else 0)


def measure(names, histories, seed):
    tree = digest_of_tree()
    # What goes wrong by itself would pass for noticed.
    unchanged = once(UNCHANGED, b"", tree, histories, seed)
    if unchanged["history"] is not None or "trouble" in unchanged:
        sys.exit(f"error: the unchanged engine goes wrong: {said(unchanged)}. Mend that first, "
                 "or take another seed")
    failed = []
    for number, name in enumerate(names, 1):
        patch = (PATCHES / f"{name}.patch").read_bytes()
        one = once(name, patch, tree, histories, seed)
        print(f"{number} of {len(names)}: {name}: {said(one)}", flush=True)
        if "trouble" in one:
            failed.append(name)
        write_table(read_measured())
    if failed:
        sys.exit(f"error: not measured: {', '.join(failed)}")


def once(name, patch, tree, histories, seed):
    """What was measured of a piece, now if it was not measured before."""
    asked = {"tree": tree, "patch": hashlib.sha256(patch).hexdigest()[:16], "histories": histories,
             "seed": seed}
    known = read_measured().get(name)
    if known and all(known.get(key) == value for key, value in asked.items()):
        return known
    if digest_of_tree() != tree:
        sys.exit("error: the tree has changed: what is measured would be of neither. Start again")
    began = time.monotonic()
    try:
        copy_tree()
        if patch and not fits(name, COPY):
            raise Trouble("the patch does not fit any more")
        outcome = play(histories, seed)
    except Trouble as trouble:
        # Not kept: it is tried again.
        return asked | {"history": None, "what": str(trouble), "trouble": True}
    finally:
        copy_tree()
    one = asked | outcome | {
        "commit": git("rev-parse", "--short", "HEAD"),
        "date": str(datetime.date.today()),
        "seconds": round(time.monotonic() - began),
    }
    keep(name, one)
    return one


def said(one):
    if one["history"] is not None:
        return f"{one['history']:,}: {one['what']}"
    if "trouble" in one:
        return one["what"]
    by_hand = "".join(f"; `{name}`" for name in one["by_hand"])
    return f"not in {one['histories']:,}{by_hand}"


def read_measured():
    try:
        return json.loads(MEASURED.read_text())
    except FileNotFoundError:
        return {}


def keep(name, one):
    measured = read_measured() | {name: one}
    replace(MEASURED, json.dumps(measured, indent=1, sort_keys=True) + "\n")


def replace(path, text):
    """Whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    os.replace(beside, path)


def write_table(measured):
    """Puts what was measured into the page, between its two marks."""
    rows, missing = [], []
    for path in sorted(PATCHES.glob("*.patch")):
        head = heading(path)
        one = measured.get(path.stem)
        if one is None:
            missing.append(path.stem)
            one = {"history": None, "histories": 0, "by_hand": []}
        noticed = said(one) if one["histories"] else "not measured yet"
        if one["history"] is None and "why" in head:
            noticed += f". {head['why']}"
        order = one["history"] if one["history"] is not None else 10**9 + (one["histories"] == 0)
        rows.append((order, path.stem, f"| {head['without']} | {head['rule']} | `{path.stem}` | {noticed} |"))
    pieces = [measured[name] for _, name, _ in rows if name in measured]
    lines = [BEGIN, ""]
    if pieces:
        noticed = sum(one["history"] is not None for one in pieces)
        by_hand = sum(one["history"] is None and bool(one["by_hand"]) for one in pieces)
        of = lambda key: ", ".join(sorted({str(one[key]) for one in pieces}))
        lines += [f"Measured on {of('date')} at commit {of('commit')}, seed {of('seed')}, with at most "
                  f"{of('histories')} histories each: of {len(rows)} pieces the drawn histories notice "
                  f"{noticed}, histories by hand {by_hand} more"
                  + (f"; {len(missing)} are not measured." if missing else "."), ""]
    lines += ["| without | rule | patch | histories until the model noticed, and what it said |",
              "|---|---|---|---|"]
    lines += [row for _, _, row in sorted(rows)]
    lines += ["", END]
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    changed = before + "\n".join(lines) + after
    if changed != page:
        replace(PAGE, changed)


def heading(path):
    """The lines before the patch: what is removed, the rule, and why nothing may notice."""
    head = {}
    for line in path.read_text().splitlines():
        if line.startswith("---"):
            return head
        name, _, text = line.partition(": ")
        head[name] = text
    return head


def digest_of_tree():
    digest = hashlib.sha256()
    for name in PLAYED:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout.strip()


def copy_tree():
    """What git knows, as it is in the tree: what did not change is not built again. Only the model
    is built, because most of the time goes into building."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, check=True, capture_output=True).stdout
    changed = {"src/main.rs": b"fn main() {}\n", "tests/it/main.rs": MODEL_ALONE.encode()}
    for name in listed.decode().split("\0"):
        source, copy = ROOT / name, COPY / name
        if not name or not source.is_file():
            continue
        wanted = changed.get(name) or source.read_bytes()
        if copy.is_file() and copy.read_bytes() == wanted:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(wanted)


def fits(name, tree, *how):
    done = subprocess.run(["patch", "-p1", "--batch", "--fuzz=0", "--no-backup-if-mismatch", *how,
                           "-i", str(PATCHES / f"{name}.patch")],
                          cwd=tree, capture_output=True, text=True)
    return done.returncode == 0


def play(histories, seed):
    """Which history the model noticed, or that it did not."""
    env = os.environ | {
        # Of its own: cargo would take the copy for the tree itself.
        "CARGO_TARGET_DIR": str(WORK / "target"),
        "TIDEMARK_HISTORIES": str(histories),
        "TIDEMARK_SEED": str(seed),
        "TIDEMARK_TRIES": "1",
        "CARGO_PROFILE_DEV_DEBUG": "0",
        "RUST_BACKTRACE": "0",
    }
    build = ["cargo", "test", "--locked", "--test", "it"]
    status, output = run([*build, "--no-run"], env)
    if status != 0:
        raise Trouble(f"it does not build without it: {output[-1500:]}")
    status, output = run([*build, "--", "--exact", TEST, "--nocapture"], env)
    if status is None:
        return {"history": 0, "what": "runs that do not end", "by_hand": []}
    if status == 0:
        return {"history": None, "what": "", "by_hand": by_hand(env)}
    found = re.findall(r"^history (\d+) \(seed \d+\) went wrong: (.*)$", output, re.MULTILINE)
    if not found:
        return {"history": 0, "what": ended_otherwise(output), "by_hand": []}
    history, why = min((int(number), why) for number, why in found)
    return {"history": history, "what": kind(why), "by_hand": []}


def ended_otherwise(output):
    """A panic of the engine itself is one of the ways to notice."""
    found = re.search(r"panicked at (src/\S+)", output)
    if not found:
        raise Trouble(f"the model ended in another way: {output[-1500:]}")
    return f"a panic in `{found[1].split(':')[0]}`"


def by_hand(env):
    """The histories that were written by hand and notice what the drawn ones do not."""
    _, output = run(["cargo", "test", "--locked", "--test", "it", "--", BY_HAND], env)
    return sorted(set(re.findall(rf"^test {BY_HAND}(\S+) \.\.\. FAILED$", output, re.MULTILINE)))


def run(command, env):
    """Status and output; no status if it did not end in time. What was started is ended."""
    process = subprocess.Popen(command, cwd=COPY, env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=LONGEST)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        end(process)
        return None, ""
    except BaseException:
        end(process)
        raise


def end(process):
    """The process and what it started: they are a group of their own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kind(why):
    """What was wrong, without the names of one history."""
    why = re.sub(r"^run \d+ \([a-z-]+\): ", "", why)
    for sign, words in KINDS:
        if sign in why:
            return words
    return why.split(":")[0]


KINDS = [
    ("(I1)", "unsettled below the watermark (I1)"),
    ("(I2)", "the watermark went back (I2)"),
    ("(I8)", "deleted, and lives (I8)"),
    ("(I9)", "written as it never was (I9)"),
    ("(I14)", "the stages do not add up (I14)"),
    ("(I20)", "refused in a clean run (I20)"),
    ("(R6)", "deleted while its new key is parked (R6)"),
    ("(R26)", "left over unseen after a clean run (R26)"),
    ("(R28a)", "shared, and renamed or deleted (R28a)"),
    ("(I6)", "no agreement in the end (I6)"),
    ("no agreement", "never at rest (I6)"),
    ("though all agreed", "written again though all agreed (I10)"),
    ("not-conserved", "the stages do not add up (I14)"),
    ("it failed", "runs that fail"),
]


if __name__ == "__main__":
    main()
