#!/usr/bin/env bash
# The fast checks, in the profile of `make test` so that both share what they compile.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need_build_tools

cargo fmt --all --check
cargo clippy --workspace --all-targets --profile ci --locked -- -D warnings
cargo test --workspace --profile ci --locked --lib --bins
