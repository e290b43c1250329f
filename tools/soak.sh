#!/usr/bin/env bash
# The tests of one part, many times over, and an account of it in docs/samples/. Stops at the first
# round that fails, whose output is kept beside the account of what passed.
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
cargo test --locked --test it --no-run

began=$(date +%s)
for ((round = 1; round <= rounds; round++)); do
    if ! cargo test --locked --quiet --test it -- "$part::" >"$log" 2>&1; then
        echo "round $round of $rounds failed; its output is in $log" >&2
        tail -40 "$log" >&2
        exit 1
    fi
    passed=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log")
    [ "${passed:-0}" -gt 0 ] || { echo "error: no test of $part ran" >&2; exit 1; }
    echo "round $round of $rounds: $passed tests passed"
done
seconds=$(($(date +%s) - began))

cat >"$account" <<TEXT
make soak-$part ROUNDS=$rounds
version   $(git rev-parse --short HEAD)
rounds    $rounds, none failed
tests     $passed in each round
time      $seconds s
TEXT
cat "$account"
