# Sourced by the other scripts: where things are kept, and what must be installed.
# shellcheck shell=bash

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

# What the scripts fetch lives outside the tree, so that a fresh clone finds it again.
cache="${POSTRIDER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postrider}"

# CI works in a new clone each time; third-party crates need not be compiled each time.
if [ "${CI:-}" = true ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
  export CARGO_TARGET_DIR="$cache/target"
fi

# Prints what to install for tool $1.
install_hint() {
  case "$1" in
    cargo) echo "Rust from https://rustup.rs" ;;
    cc) echo "a C compiler (Debian: apt-get install build-essential; macOS: xcode-select --install)" ;;
    c++) echo "a C++ compiler (Debian: apt-get install build-essential; macOS: xcode-select --install)" ;;
    *) echo "$1 (Debian: apt-get install $1; macOS: brew install $1)" ;;
  esac
}

# Stops with one line a missing tool, for the tools that a build needs.
need_build_tools() {
  local tool missing=0
  for tool in cargo cc c++ cmake perl; do
    command -v "$tool" >/dev/null 2>&1 && continue
    echo "postrider needs $tool: install $(install_hint "$tool")" >&2
    missing=1
  done
  [ "$missing" = 0 ] || exit 1
}
