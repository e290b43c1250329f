#!/usr/bin/env bash
# One part of `make test`: runs it, counts the tests that passed, prints how long it took. A part
# in which no test ran has failed.
#
#   tools/part.sh tests engine|peers|kills    tests of this crate
#   tools/part.sh pytest chart|monitoring|image  tests under tests/ of that name
#   tools/part.sh node console                tests under tests/ of that name
#   tools/part.sh run NAME COMMAND...         something else that must succeed
#   tools/part.sh begin|end                   of all parts
set -euo pipefail
cd "$(dirname "$0")/.."

sums=target/test-parts

mode=${1:?begin, end, run, node, pytest or tests}
shift

duration() {
    printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
}

case "$mode" in
    begin)
        rm -rf "$sums"
        mkdir -p "$sums"
        date +%s >"$sums/began"
        exit 0
        ;;
    end)
        total=$(cat "$sums"/*.passed | awk '{ sum += $1 } END { print sum + 0 }')
        [ "$total" -gt 0 ] || { echo "error: no test ran" >&2; exit 1; }
        echo "$total passed, 0 failed"
        echo "all $total tests passed, lints clean, demo complete, in $(duration $(($(date +%s) - $(cat "$sums/began"))))"
        exit 0
        ;;
esac

part=${1:?the name of the part}
shift
began=$(date +%s)
mkdir -p "$sums"
echo "== $part"

finished() {
    local status=$? took
    took=$(duration $(($(date +%s) - began)))
    if [ "$status" = 0 ]; then
        echo "== $part passed in $took${passed:+ ($passed tests)}"
    else
        echo "== $part FAILED after $took" >&2
    fi
}
trap finished EXIT

# The tests of a part, by the module that they are in: `peers` and `kills` are modules of
# tests/it/, `engine` is everything else.
with_nextest() {
    local which
    case "$part" in
        engine) which='not (test(/^peers::/) or test(/^kills::/))' ;;
        peers | kills) which="test(/^$part::/)" ;;
    esac
    cargo nextest run --locked --profile ci --no-tests fail -E "$which" 2>&1 | tee "$log"
    passed=$(sed -E 's/\x1b\[[0-9;]*m//g' "$log" | sed -nE 's/^ *Summary .* ([0-9]+) tests? run:.*/\1/p' | tail -1)
}

with_cargo_test() {
    case "$part" in
        engine) cargo test --locked --lib --bins --test it -- --skip peers:: --skip kills:: ;;
        peers | kills) cargo test --locked --test it -- "$part::" ;;
    esac 2>&1 | tee "$log"
    passed=$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
}

with_pytest() {
    # Plugins that packages bring along are none of ours.
    PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONDONTWRITEBYTECODE=1 \
        target/operate/bin/python -m pytest -q -p no:cacheprovider --tb=short "tests/$part" 2>&1 | tee "$log"
    # What was skipped or expected to fail is no pass, and nothing here is either.
    passed=$(sed -nE 's/^([0-9]+) passed in .*/\1/p' "$log")
}

with_node() {
    node --test --test-concurrency=1 --test-reporter=tap "tests/$part"/*.test.js 2>&1 | tee "$log"
    # What was skipped is no pass.
    passed=$(sed -nE 's/^# pass ([0-9]+)$/\1/p' "$log")
}

must_have_passed() {
    if [ "${passed:-0}" = 0 ]; then
        echo "error: no test of $part ran" >&2
        passed=
        exit 1
    fi
    echo "$passed" >"$sums/$part.passed"
}

case "$mode" in
    run)
        "$@"
        ;;
    node)
        log=$sums/$part.log
        with_node
        must_have_passed
        ;;
    pytest)
        log=$sums/$part.log
        with_pytest
        must_have_passed
        ;;
    tests)
        case "$part" in
            engine | peers | kills) ;;
            *) echo "error: no such part: $part" >&2; exit 2 ;;
        esac
        log=$sums/$part.log
        if cargo nextest --version >/dev/null 2>&1; then with_nextest; else with_cargo_test; fi
        must_have_passed
        ;;
    *)
        echo "error: begin, end, run, node, pytest or tests, not $mode" >&2
        exit 2
        ;;
esac
