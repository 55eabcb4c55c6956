# Sourced by test.sh: runs suites, remembers how they ended, prints one summary.
# shellcheck shell=bash

suites_failed=0
suites_report=()

# suite NAME COMMAND…: runs the command, timed.
suite() {
  local name="$1" began=$SECONDS result=ok
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" || { result=FAILED; suites_failed=1; }
  suites_report+=("$(printf '%-9s %-30s %4d s' "$result" "$name" $((SECONDS - began)))")
}

# left_out NAME REASON: a suite that belongs to the whole and could not run here.
left_out() {
  local result="left out"
  if [ "${POSTRIDER_REQUIRE_CLUSTER:-}" = 1 ]; then
    result=MISSING
    suites_failed=1
  fi
  suites_report+=("$(printf '%-9s %-30s %s' "$result" "$1" "$2")")
}

# optional NAME REASON: as left_out, and never a failure.
optional() {
  suites_report+=("$(printf '%-9s %-30s %s' "left out" "$1" "$2")")
}

# Prints the summary and ends the script.
summary() {
  printf '\n== summary (%d s)\n' "$SECONDS"
  printf '%s\n' "${suites_report[@]}"
  if [ "$suites_failed" != 0 ]; then
    echo "make test: FAILED"
    exit 1
  fi
  echo "make test: all that ran passed"
}
