#!/usr/bin/env bash
# The tests of one part with many more rounds than usual, and an account of it in docs/samples/.
# How many is told to the tests by the environment (see the Makefile); here it is only written down.
#
#   tools/soak.sh PART ROUNDS
set -euo pipefail
cd "$(dirname "$0")/.."

part=${1:?the part}
rounds=${2:?how many rounds}
account=docs/samples/soak-$part.txt
log=target/soak-$part.log
mkdir -p docs/samples
cargo build --locked --bin tidemark

began=$(date +%s)
if ! cargo test --locked --test it -- --nocapture "$part::" >"$log" 2>&1; then
    echo "the soak failed; its output is in $log" >&2
    tail -60 "$log" >&2
    exit 1
fi
passed=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log")
[ "${passed:-0}" -gt 0 ] || { echo "error: no test of $part ran" >&2; exit 1; }

cat >"$account" <<TEXT
make soak-$part
version   $(git rev-parse --short HEAD)
rounds    $rounds, none failed
seed      ${TIDEMARK_SEED:-the usual one}
time      $(($(date +%s) - began)) s
TEXT
cat "$account"
