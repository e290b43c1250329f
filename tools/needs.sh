#!/usr/bin/env bash
# Sees that this machine has what building and testing need, and installs what apt or rustup can.
# Says what it is about to do before it does it; does nothing when nothing is missing.
#
#   tools/needs.sh build|lint|instructions|peers|fuzz...
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

apt_install() {
    have apt-get || fail "missing: $*. Install them with the package manager of this machine, then try again"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "missing: $*. Install them as root (apt-get install $*), then try again"
        as_root=(sudo)
    fi
    echo "installing with apt-get: $*" >&2
    "${as_root[@]}" apt-get update -qq >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# A Rust toolchain, and the C compiler and linker that it and one of our crates use.
needs_build() {
    have cargo || fail "no Rust toolchain: install one from https://rustup.rs (Rust 1.90 or later), then try again"
    have cc || apt_install gcc libc6-dev
    have python3 || apt_install python3
}

needs_lint() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    [ ${#missing[@]} = 0 ] && return
    have rustup || fail "missing: ${missing[*]}. Install them beside cargo, then try again"
    echo "installing with rustup: ${missing[*]}" >&2
    rustup component add "${missing[@]}" >&2
}

# Counts instructions.
needs_instructions() {
    have valgrind || apt_install valgrind
}

# A virtual environment with the clients of tests/peers/requirements.txt. The copy of that file in
# it says what it was made from: a change of the list makes it anew.
needs_peers() {
    local venv=target/peers wanted=tests/peers/requirements.txt
    if [ -x "$venv/bin/python" ] && cmp -s "$wanted" "$venv/made-from.txt"; then
        return
    fi
    echo "installing into $venv: $(grep -v '^#' "$wanted" | xargs)" >&2
    rm -rf "$venv"
    mkdir -p target
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        rm -rf "$venv"
        apt_install python3-venv
        python3 -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$venv/made-from.txt"
}

# The nightly toolchain, whose compiler can watch what inputs reach, and cargo-fuzz, under target/.
needs_fuzz() {
    local tools=target/fuzz-tools
    have c++ || apt_install g++
    if ! cargo +nightly --version >/dev/null 2>&1; then
        have rustup || fail "missing: a nightly Rust toolchain. Install one beside cargo, then try again"
        echo "installing with rustup: a nightly toolchain" >&2
        rustup toolchain install nightly --profile minimal >&2
    fi
    if [ ! -x "$tools/bin/cargo-fuzz" ]; then
        echo "installing into $tools: cargo-fuzz" >&2
        cargo install --quiet --locked --root "$tools" cargo-fuzz@0.13.2 >&2
    fi
}

for need in "$@"; do
    case "$need" in
        build | lint | instructions | peers | fuzz) "needs_$need" ;;
        *) fail "unknown need: $need" ;;
    esac
done
