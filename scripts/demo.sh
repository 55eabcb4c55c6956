#!/usr/bin/env bash
# Builds the release binary and runs the tour. Arguments go to `postrider demo`.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need_build_tools

echo "Building postrider (release); the first build takes some minutes." >&2
exec cargo run --release --locked --package postrider --bin postrider -- demo "$@"
