# Sourced by test.sh: one Cassandra node and one Kafka broker for the whole run, each in a directory of its own.
# Of each server there are $NAME_dir, $NAME_pid, and $NAME_missing: why it cannot be started here.
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by name

cassandra_dir=
cassandra_pid=
cassandra_missing=
kafka_dir=
kafka_pid=
kafka_missing=

# Starts the node in the background, so that it is there when the build is. POSTRIDER_TEST_CQL names one that runs already.
start_cassandra() {
  may_start cassandra "${POSTRIDER_TEST_CQL:-}" POSTRIDER_CASSANDRA || return 0
  cassandra_dir="$(make_cassandra_dir)"
  # A node for all tests is never killed by one, whatever the environment asks of their own.
  start_server cassandra POSTRIDER_CASSANDRA_SYNC=periodic POSTRIDER_CASSANDRA_AUTH=none
}

# Waits for the node and exports POSTRIDER_TEST_CQL and POSTRIDER_CASSANDRA, or sets $cassandra_missing.
wait_for_cassandra() {
  wait_for_server cassandra Cassandra "Startup complete" || return 0
  POSTRIDER_TEST_CQL="$(address_of cassandra cql)"
  export POSTRIDER_TEST_CQL POSTRIDER_CASSANDRA="$root/scripts/cassandra.sh"
}

# As start_cassandra. POSTRIDER_TEST_KAFKA names a broker that runs already.
start_kafka() {
  may_start kafka "${POSTRIDER_TEST_KAFKA:-}" POSTRIDER_KAFKA || return 0
  # Not in memory: topics are made as fast on a disk, and a test under load may fill them.
  kafka_dir="$(mktemp -d "${TMPDIR:-/tmp}/postrider-kafka.XXXXXX")"
  # With a second listener for tests of logins and rights.
  start_server kafka POSTRIDER_KAFKA_AUTH=sasl POSTRIDER_KAFKA_CLUSTER=
}

# Waits for the broker and exports POSTRIDER_TEST_KAFKA and POSTRIDER_KAFKA, or sets $kafka_missing.
wait_for_kafka() {
  wait_for_server kafka Kafka "Kafka Server started" || return 0
  POSTRIDER_TEST_KAFKA="$(address_of kafka kafka)"
  POSTRIDER_TEST_KAFKA_SASL="$(address_of kafka sasl)"
  export POSTRIDER_TEST_KAFKA POSTRIDER_TEST_KAFKA_SASL POSTRIDER_KAFKA="$root/scripts/kafka.sh"
  # Kafka's own console tools are among the jars.
  export POSTRIDER_KAFKA_JARS="$cache/cluster/kafka-$(sed -n 's/^server=Kafka version=\([^ ]*\).*/\1/p' "$root/scripts/kafka.sh")"
}

# Prints a new directory for the node's data: in memory where 2 GiB are free (it takes 0.1 to 0.3), because DROP and TRUNCATE
# flush many small files. TMPDIR names another place.
make_cassandra_dir() {
  local dir free
  free="$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" || free=0
  if [ -z "${TMPDIR:-}" ] && [ "${free:-0}" -ge 2097152 ] &&
    dir="$(mktemp -d /dev/shm/postrider-cassandra.XXXXXX 2>/dev/null)"; then
    # The node loads libraries from it.
    printf '#!/bin/sh\n' >"$dir/probe"
    chmod +x "$dir/probe"
    if "$dir/probe" 2>/dev/null; then
      rm "$dir/probe"
      echo "$dir"
      return
    fi
    rm -rf "$dir"
  fi
  mktemp -d "${TMPDIR:-/tmp}/postrider-cassandra.XXXXXX"
}

# may_start NAME ADDRESS VARIABLE: returns 1 where a server cannot be started, and sets $NAME_missing; or need not, because one
# runs at ADDRESS. For the tests that start one of their own VARIABLE then is the script.
may_start() {
  local script="$root/scripts/$1.sh" reason
  if ! reason="$("$script" --check 2>&1)"; then
    printf -v "$1_missing" %s "$reason"
    return 1
  fi
  if [ -n "$2" ]; then
    # A first test should not wait for a download.
    if "$script" --fetch; then export "$3=$script"; fi
    return 1
  fi
}

# start_server NAME VARIABLE=VALUE…: starts it in $NAME_dir with these variables.
start_server() {
  local name="$1" dir="$1_dir"
  dir="${!dir}"
  shift
  trap stop_servers EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  env "$@" "$root/scripts/$name.sh" "$dir" </dev/null >"$dir/start.log" 2>&1 &
  printf -v "${name}_pid" %s $!
}

# wait_for_server NAME TITLE STARTED: waits until its log says that it serves. Returns 1 if it was not started, or does not
# serve: then it sets $NAME_missing. One that was started and does not serve is a failed suite.
wait_for_server() {
  local name="$1" pid="$1_pid" dir="$1_dir" missing="$1_missing" i
  pid="${!pid}" dir="${!dir}"
  [ -n "$pid" ] || return 1
  # Without a log java was not reached: the jars could not be fetched.
  for ((i = 0; i < 3000; i++)); do
    if [ -e "$dir/$name.log" ] || ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  if [ ! -e "$dir/$name.log" ]; then
    printf -v "$missing" %s "$(tail -n 1 "$dir/start.log")"
    [ -n "${!missing}" ] || printf -v "$missing" %s "its jars were not fetched within five minutes"
    return 1
  fi
  suite "$2 starts" server_serves "$@"
  [ -z "${!missing}" ]
}

# server_serves NAME TITLE STARTED: waits up to two minutes until it serves; prints the end of its log if it does not.
server_serves() {
  local name="$1" pid="$1_pid" dir="$1_dir" i
  pid="${!pid}" dir="${!dir}"
  for ((i = 0; i < 1200; i++)); do
    if grep -q "$3" "$dir/$name.log"; then return; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  printf -v "${name}_missing" %s "$2 did not start"
  echo "$2 did not start; the end of its logs:" >&2
  tail -n 20 "$dir/stderr.log" "$dir/$name.log" >&2
  return 1
}

# address_of NAME LISTENER: prints host:port.
address_of() {
  local dir="$1_dir"
  echo "127.0.0.1:$(awk -v listener="$2" '$1 == listener { print $2 }' "${!dir}/ports")"
}

# Ends the servers, of which nothing is to be kept, and removes their directories. The script's exit code stays.
stop_servers() {
  local name pid dir
  for name in cassandra kafka; do
    pid="${name}_pid" dir="${name}_dir"
    pid="${!pid}" dir="${!dir}"
    if [ -n "$pid" ]; then
      if [ -e "$dir/$name.log" ]; then
        kill -KILL "$pid" 2>/dev/null || :
      else
        # Still the script, which may have a process of its own to end.
        kill -TERM "$pid" 2>/dev/null || :
      fi
      wait "$pid" 2>/dev/null || :
    fi
    [ -z "$dir" ] || rm -rf "$dir"
  done
}
