#!/usr/bin/env bash
# The tests of one module with many more rounds than usual, and an account of it in docs/samples/:
# how many rounds, how long, and every line `account: …` that the tests print.
# How many is told to the tests by the environment (see the Makefile); here it is only written down.
# A soak that fails leaves its account as well, which says so, and ends with 1.
#
#   tools/soak.sh NAME MODULE ROUNDS [WHAT] [PROFILE]
#
# WHAT is what is counted, rounds unless it is said; PROFILE how the tests are built, dev unless it is.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?the name of the soak}
module=${2:?the module of tests}
rounds=${3:?how many rounds}
what=${4:-rounds}
profile=${5:-dev}
account=docs/samples/soak-$name.txt
log=target/soak-$name.log
mkdir -p docs/samples
cargo build --locked --bin tidemark

began=$(date +%s)
verdict="none failed"
if ! cargo test --locked --profile "$profile" --test it -- --nocapture "$module::" >"$log" 2>&1; then
    echo "the soak failed; its output is in $log" >&2
    tail -60 "$log" >&2
    grep -q '^account: ' "$log" || exit 1
    verdict="FAILED"
else
    passed=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log")
    [ "${passed:-0}" -gt 0 ] || { echo "error: no test of $module ran" >&2; exit 1; }
fi

cat >"$account" <<TEXT
make soak-$name
version   $(git rev-parse --short HEAD)
$(printf %-9s "$what") $rounds, $verdict
seed      ${TIDEMARK_SEED:-the usual one}
time      $(($(date +%s) - began)) s
TEXT
{ grep -oE 'account: .*' "$log" || true; } | sed 's/^account: //' | fold -s -w 100 |
    sed 's/ *$//' >>"$account"
cat "$account"
[ "$verdict" = "none failed" ]
