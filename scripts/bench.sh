#!/usr/bin/env bash
# Builds the release binary and the benchmark, measures, prints a table and writes a report. Arguments go to the benchmark
# (`make bench ARGS='--seconds 30 --only single'`; --help lists them). A Kafka broker is started for the scenario `kafka`.
set -euo pipefail
source "$(dirname "$0")/env.sh"
source scripts/cluster.sh
need_build_tools
[ "$(uname)" = Linux ] || { echo "make bench needs Linux: CPU time and memory are read from /proc" >&2; exit 1; }

# What cluster.sh says of a server, where there is no summary of suites.
suite() { shift && "$@"; }

# wants_kafka ARGUMENT…: whether the scenario is among those asked for.
wants_kafka() {
  local wanted=1 argument before=
  for argument in "$@"; do
    case "$before$argument" in
      --help | -h) return 1 ;;
      --only=* | --only\ *) case "$argument" in *kafka*) wanted=1 ;; *) wanted= ;; esac ;;
    esac
    before=
    [ "$argument" != --only ] || before="--only "
  done
  [ -n "$wanted" ]
}

echo "Building postrider and the benchmark (release); the first build takes some minutes." >&2
cargo build --release --locked --package postrider --package postrider-load --bins
kafka=()
if wants_kafka "$@"; then
  start_kafka
  if wait_for_kafka; [ -n "${kafka_pid:-}" ] && [ -z "$kafka_missing" ]; then
    kafka=(--kafka "$POSTRIDER_TEST_KAFKA" --kafka-process "$kafka_pid")
  else
    kafka=(--kafka-missing "${kafka_missing:-POSTRIDER_TEST_KAFKA names a broker whose CPU time cannot be read: unset it}")
  fi
fi
# Not exec: the broker is stopped at the end.
"${CARGO_TARGET_DIR:-target}/release/postrider-load" "${kafka[@]}" "$@"
