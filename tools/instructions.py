#!/usr/bin/env python3
"""Counts the instructions of the inner loops and compares them with the baseline.

    tools/instructions.py             fails where a loop costs over 5 % more than its baseline
    tools/instructions.py --move      writes what was counted as the new baseline

The counts come from callgrind, so the load and the speed of the machine do not matter. The compiler
and the C library do, a little: that is what the 5 % are for.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "benches" / "instructions.baseline"
TOLERANCE = 0.05
# The C library chooses its copying loops by what the processor has; these every one has.
COMMON = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2_Usable,-AVX2,-AVX_Usable,-AVX,-ERMS,-FSRM"


def built():
    """The program that holds the loops, as it is released."""
    command = ["cargo", "bench", "--locked", "--bench", "instructions", "--no-run"]
    command.append("--message-format=json")
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    for line in output.stdout.splitlines():
        message = json.loads(line)
        is_ours = message.get("target", {}).get("name") == "instructions"
        if is_ours and message.get("executable"):
            return message["executable"]
    sys.exit("error: cargo built no program that counts instructions")


def counted(program, loop):
    """Instructions of one loop, its preparation left out."""
    with tempfile.TemporaryDirectory() as place:
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no"]
        command += ["--toggle-collect=*instructions*counted*", f"--callgrind-out-file={place}/out"]
        environment = dict(os.environ, GLIBC_TUNABLES=COMMON)
        command += [program, loop]
        said = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", said.stderr)
    if not found or int(found.group(1)) == 0:
        sys.exit(f"error: callgrind counted nothing of `{loop}`")
    return int(found.group(1))


def baseline():
    lines = BASELINE.read_text().splitlines() if BASELINE.exists() else []
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: int(count) for name, count in pairs}


def move(counts):
    lines = ["# Instructions of each inner loop; written by `tools/instructions.py --move`."]
    lines += [f"{name} {count}" for name, count in counts.items()]
    BASELINE.write_text("\n".join(lines) + "\n")


def main():
    program = built()
    names = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    counts = {name: counted(program, name) for name in names}
    before = baseline()
    worse = False
    for name, count in counts.items():
        then = before.get(name)
        change = "new" if then is None else f"{100 * (count / then - 1):+.1f} %"
        print(f"{name:16} {count:>12,} {change}")
        worse = worse or then is None or count > then * (1 + TOLERANCE)
    if sys.argv[1:] == ["--move"]:
        move(counts)
    elif worse:
        sys.exit(
            "error: a loop costs over 5 % more than its baseline; make it cheaper, or move the "
            "baseline with `tools/instructions.py --move` in the same commit and say why"
        )


main()
