#!/usr/bin/env bash
# Builds the release binary and the benchmark, measures, prints a table and writes a report. Arguments go to the benchmark
# (`make bench ARGS='--seconds 30 --only single'`; --help lists them).
set -euo pipefail
source "$(dirname "$0")/env.sh"
need_build_tools
[ "$(uname)" = Linux ] || { echo "make bench needs Linux: CPU time and memory are read from /proc" >&2; exit 1; }

echo "Building postrider and the benchmark (release); the first build takes some minutes." >&2
cargo build --release --locked --package postrider --package postrider-load --bins
exec "${CARGO_TARGET_DIR:-target}/release/postrider-load" "$@"
