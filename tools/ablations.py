#!/usr/bin/env python3
"""Removes one piece of the engine after the other and plays the model until it notices.

Each file in tests/ablations/ is a patch under two lines that say what it removes and which rule
or invariant wants it. It is applied to a copy of the tree under target/, the model is played with
at most so many histories, and a table in Markdown is printed: how many histories it took.

    tools/ablations.py [--histories N] [--seed N] [NAME...]
"""

import argparse
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "ablations"
COPY = ROOT / "target" / "ablations" / "tree"
MODEL_ALONE = """\
#![allow(warnings)]
mod district;
mod scene;
mod model;
mod simulation;
"""
BY_HAND = "model::regressions::"
TEST = "model::every_history_of_the_model_ends_in_agreement"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*", help="patches, without .patch; all if none is named")
    asked = parser.parse_args()
    names = asked.names or sorted(path.stem for path in PATCHES.glob("*.patch"))
    if not names:
        sys.exit("error: there is no patch in tests/ablations/")

    # What goes wrong by itself would pass for noticed.
    copy_tree()
    leave_out_other_tests()
    unchanged = play(asked.histories, asked.seed)
    if unchanged != f"not in {asked.histories:,}":
        sys.exit(f"error: the unchanged engine goes wrong in history {unchanged}: mend that first, "
                 "or take another seed")

    print(f"Measured on {datetime.date.today()}, seed {asked.seed}, "
          f"at most {asked.histories:,} histories each.\n")
    print("| without | rule | patch | histories until the model noticed, and what it said |")
    print("|---|---|---|---|", flush=True)
    for name in names:
        piece, rule = said(PATCHES / f"{name}.patch")
        copy_tree()
        leave_out_other_tests()
        apply(PATCHES / f"{name}.patch")
        caught = play(asked.histories, asked.seed)
        print(f"| {piece} | {rule} | `{name}` | {caught} |", flush=True)


def said(patch):
    """The piece and the rule, from the two lines before the patch."""
    first, second = patch.read_text().splitlines()[:2]
    return first.removeprefix("without: "), second.removeprefix("rule: ")


def copy_tree():
    """What git knows, as it is in the tree, times included: what did not change is not built."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        source, copy = ROOT / name, COPY / name
        if not name or not source.is_file():
            continue
        if copy.is_file() and copy.read_bytes() == source.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def leave_out_other_tests():
    """Only the model is built: most of the time goes into building."""
    (COPY / "src/main.rs").write_text("fn main() {}\n")
    (COPY / "tests/it/main.rs").write_text(MODEL_ALONE)


def apply(patch):
    done = subprocess.run(["patch", "-p1", "--batch", "--no-backup-if-mismatch", "-i", str(patch)],
                          cwd=COPY, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {patch.name} does not fit any more:\n{done.stdout}{done.stderr}")


def play(histories, seed):
    """Which history the model noticed, or that it did not."""
    env = os.environ | {
        # Of its own: cargo would take the copy for the tree itself.
        "CARGO_TARGET_DIR": str(ROOT / "target" / "ablations" / "target"),
        "TIDEMARK_HISTORIES": str(histories),
        "TIDEMARK_SEED": str(seed),
        "TIDEMARK_TRIES": "1",
        "CARGO_PROFILE_DEV_DEBUG": "0",
    }
    built = subprocess.run(["cargo", "test", "--locked", "--test", "it", "--no-run"],
                           cwd=COPY, env=env, capture_output=True, text=True)
    if built.returncode != 0:
        sys.exit(f"error: the tree does not build without it:\n{built.stderr[-3000:]}")
    played = subprocess.run(["cargo", "test", "--locked", "--test", "it", "--", "--exact", TEST,
                             "--nocapture"], cwd=COPY, env=env, capture_output=True, text=True)
    if played.returncode == 0:
        return f"not in {histories:,}{by_hand(env)}"
    found = re.search(r"^history (\d+) \(seed \d+\) went wrong: (.*)$", played.stdout, re.MULTILINE)
    if not found:
        sys.exit(f"error: the model ended in another way:\n{played.stdout[-3000:]}{played.stderr[-3000:]}")
    return f"{int(found[1]):,}: {kind(found[2])}"


def by_hand(env):
    """The histories that were written by hand and notice what the drawn ones do not."""
    played = subprocess.run(["cargo", "test", "--locked", "--test", "it", "--", BY_HAND],
                            cwd=COPY, env=env, capture_output=True, text=True)
    failed = sorted(set(re.findall(rf"^test {BY_HAND}(\S+) \.\.\. FAILED$", played.stdout, re.MULTILINE)))
    return "".join(f"; `{name}`" for name in failed)


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
    ("(I6)", "no agreement in the end (I6)"),
    ("no agreement", "never at rest (I6)"),
    ("though all agreed", "written again though all agreed (I10)"),
    ("not-conserved", "the stages do not add up (I14)"),
    ("it failed", "runs that fail"),
]


main()
