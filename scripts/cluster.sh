# Sourced by test.sh: one Cassandra node for the whole run, in a directory of its own.
# shellcheck shell=bash

cassandra_dir=
cassandra_pid=
cassandra_missing=

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

# Starts the node in the background, so that it is there when the build is. POSTRIDER_TEST_CQL names one that runs already.
# Sets $cassandra_missing where a node cannot be started.
start_cassandra() {
  local script="$root/scripts/cassandra.sh" reason
  if ! reason="$("$script" --check 2>&1)"; then
    cassandra_missing="$reason"
  elif [ -n "${POSTRIDER_TEST_CQL:-}" ]; then
    # For the tests that start a node of their own; a first test should not wait for a download.
    if "$script" --fetch; then export POSTRIDER_CASSANDRA="$script"; fi
  else
    trap stop_cassandra EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    cassandra_dir="$(make_cassandra_dir)"
    # A node for all tests is never killed by one, whatever the environment asks of their own.
    POSTRIDER_CASSANDRA_SYNC=periodic POSTRIDER_CASSANDRA_AUTH=none \
      "$script" "$cassandra_dir" </dev/null >"$cassandra_dir/start.log" 2>&1 &
    cassandra_pid=$!
  fi
}

# Waits for the node and exports POSTRIDER_TEST_CQL and POSTRIDER_CASSANDRA, or sets $cassandra_missing. A node that was
# started and does not serve is a failed suite.
wait_for_cassandra() {
  [ -n "$cassandra_pid" ] || return 0
  local i
  # Without a log java was not reached: the jars could not be fetched.
  for ((i = 0; i < 3000; i++)); do
    if [ -e "$cassandra_dir/cassandra.log" ] || ! kill -0 "$cassandra_pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  if [ ! -e "$cassandra_dir/cassandra.log" ]; then
    cassandra_missing="$(tail -n 1 "$cassandra_dir/start.log")"
    : "${cassandra_missing:=its jars were not fetched within five minutes}"
    return
  fi
  suite "Cassandra starts" cassandra_serves
  if [ -z "$cassandra_missing" ]; then
    POSTRIDER_TEST_CQL="127.0.0.1:$(awk '$1 == "cql" { print $2 }' "$cassandra_dir/ports")"
    export POSTRIDER_TEST_CQL POSTRIDER_CASSANDRA="$root/scripts/cassandra.sh"
  fi
}

# Waits up to two minutes until the node serves; prints the end of its log if it does not.
cassandra_serves() {
  local i
  for ((i = 0; i < 1200; i++)); do
    if grep -q "Startup complete" "$cassandra_dir/cassandra.log"; then return; fi
    kill -0 "$cassandra_pid" 2>/dev/null || break
    sleep 0.1
  done
  cassandra_missing="the node did not start"
  echo "Cassandra did not start; the end of its logs:" >&2
  tail -n 20 "$cassandra_dir/stderr.log" "$cassandra_dir/cassandra.log" >&2
  return 1
}

# Ends the node, of which nothing is to be kept, and removes its directory. The script's exit code stays.
stop_cassandra() {
  if [ -n "$cassandra_pid" ]; then
    if [ -e "$cassandra_dir/cassandra.log" ]; then
      kill -KILL "$cassandra_pid" 2>/dev/null || :
    else
      # Still the script, which may have a process of its own to end.
      kill -TERM "$cassandra_pid" 2>/dev/null || :
    fi
    wait "$cassandra_pid" 2>/dev/null || :
  fi
  [ -z "$cassandra_dir" ] || rm -rf "$cassandra_dir"
}
