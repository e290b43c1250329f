#!/usr/bin/env bash
# Formatting, lints, documentation, and the licences of what we depend on.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
# The documentation is for those who work on the program, so it has the private items and may link to
# them.
RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
    cargo doc --locked --no-deps --document-private-items --quiet
python3 tools/licences.py
# Every piece of the engine that the model must miss can still be removed.
tools/ablations.py --check
deny=$(command -v cargo-deny || echo target/lint/cargo-deny)
"$deny" --offline check licenses bans sources
