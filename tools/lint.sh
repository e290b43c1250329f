#!/usr/bin/env bash
# Formatting, lints, documentation, and the licences of what we depend on.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
# Most of our modules are not public, and their documentation is for those who work on them.
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
python3 tools/licences.py
if command -v cargo-deny >/dev/null 2>&1; then
    cargo deny --offline check licenses bans sources
fi
