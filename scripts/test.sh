#!/usr/bin/env bash
# Every check and test. A suite that fails does not hide the ones after it; a suite that cannot run is named with its reason.
# POSTRIDER_REQUIRE_CLUSTER=1 makes such a suite a failure. POSTRIDER_LONG=1 runs the long forms. POSTRIDER_TEST_CQL=host:port
# is a Cassandra or ScyllaDB to use instead of starting one, POSTRIDER_TEST_KAFKA=host:port such a Kafka.
set -euo pipefail
source "$(dirname "$0")/env.sh"
source scripts/suites.sh
source scripts/clients.sh
source scripts/cluster.sh
need_build_tools
start_cassandra
start_kafka

# The tour that was built, without a viewer: its summary is enough, unless it fails.
demo() {
  local said
  if said="$("${CARGO_TARGET_DIR:-target}/ci/postrider" demo </dev/null 2>&1)"; then
    sed -n '/^Summary/,$p' <<<"$said"
  else
    printf '%s\n' "$said"
    return 1
  fi
}

# Clippy runs in the tests' profile: build scripts, macros and the bundled C are compiled once for both.
suite "format" cargo fmt --all --check
suite "clippy" cargo clippy --workspace --all-targets --profile ci --locked -- -D warnings

if find_buf; then
  suite "buf lint" "$buf" lint
else
  left_out "buf lint" "$buf_missing"
fi

if ! command -v cargo-deny >/dev/null 2>&1; then
  optional "cargo deny" "cargo-deny is not installed (cargo install cargo-deny); the tidy tests check the edges"
else
  suite "cargo deny" cargo deny --offline --log-level error check bans licenses sources
fi

# The e2e suite drives the real binaries, which `cargo test` alone would not build; --all-targets
# keeps the features of the tests, so nothing is compiled twice.
suite "build" cargo build --workspace --all-targets --profile ci --locked
suite "demo" demo

setup_python_clients || left_out "clients in Python" "$python_missing"
setup_node_client || left_out "standardwebhooks for Node" "$node_missing"
wait_for_cassandra
wait_for_kafka
suite "tests" cargo test --workspace --profile ci --locked

if [ -n "${POSTRIDER_TEST_CQL:-}" ]; then
  # --workspace: with other features everything would be compiled again. The faults have a node of their own; producers, workers
  # and doctor are on Kafka whatever the rest is on: they ran above.
  suite "e2e on Cassandra" env POSTRIDER_E2E_STORE=scylla \
    cargo test --workspace --profile ci --locked --test e2e -- --skip store_faults --skip producers:: --skip workers:: --skip doctor:: --skip brokers::
else
  left_out "tests on Cassandra" "$cassandra_missing"
fi

if [ -z "${POSTRIDER_TEST_KAFKA:-}" ]; then
  left_out "tests on Kafka" "$kafka_missing"
elif [ -n "${POSTRIDER_TEST_CQL:-}" ]; then
  # Two processes with the API and three workers for each scenario. Left out, since a worker counts an endpoint's health for itself: what is about
  # the one worker's count over all shards, and about its network.
  suite "e2e on Kafka, roles apart" env POSTRIDER_E2E_LOG=kafka POSTRIDER_E2E_STORE=scylla POSTRIDER_E2E_ROLES=apart \
    cargo test --workspace --profile ci --locked --test e2e -- --skip store_faults --skip producers:: --skip workers:: --skip doctor:: --skip brokers:: \
    --skip one_attempt_out_and_not_one_a_shard --skip are_our_own_trouble
fi

summary
