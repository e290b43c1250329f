#!/usr/bin/env bash
# Fuzzes every target for so many seconds, each from its saved corpus, and leaves an account in
# docs/samples/. Stops at the first input that breaks one, and says where it is: save it in
# fuzz/corpus/TARGET/, where `make test` tries it from then on.
#
#   tools/soak-fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?how many seconds for each target}
account=docs/samples/soak-fuzz.txt
export PATH="$PWD/target/fuzz-tools/bin:$PATH"
fuzz=(cargo +nightly fuzz)
here=(--fuzz-dir fuzz --target-dir target/fuzz)
# With the address sanitizer: the readers are safe code, but not all of what they stand on is.
"${fuzz[@]}" build "${here[@]}"

began=$(date +%s)
rows=()
for target in $(cd fuzz/corpus && ls); do
    log=target/soak-fuzz-$target.log
    grown=target/fuzz-corpus/$target
    mkdir -p "$grown"
    # What is found beside the saved corpus goes into the first directory.
    if ! "${fuzz[@]}" run "${here[@]}" "$target" "$grown" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -verbosity=1 >"$log" 2>&1; then
        echo "$target broke; its output is in $log, the input in fuzz/artifacts/$target/" >&2
        tail -40 "$log" >&2
        exit 1
    fi
    runs=$(sed -nE 's/^stat::number_of_executed_units: *([0-9]+)$/\1/p' "$log")
    [ "${runs:-0}" -gt 0 ] || { echo "error: $target was never run" >&2; exit 1; }
    saved=$(find "fuzz/corpus/$target" -type f | wc -l)
    rows+=("$(printf '%-14s %12s inputs tried, %3s saved' "$target" "$runs" "$saved")")
done

mkdir -p docs/samples
{
    echo "make soak-fuzz"
    echo "version   $(git rev-parse --short HEAD)"
    echo "rounds    $seconds s each, none broke"
    echo "time      $(($(date +%s) - began)) s"
    printf '%s\n' "${rows[@]}"
} >"$account"
cat "$account"
