#!/usr/bin/env bash
# Runs a Cassandra node for tests. The server takes this script's pid; whoever started it may stop, freeze or kill it.
#
#   scripts/cassandra.sh DIR [HOST]   keeps all in DIR; listens on HOST (127.0.0.1)
#   scripts/cassandra.sh --check      says in one line what is missing for that, if something is
#   scripts/cassandra.sh --fetch      as --check, and fetches the jars (67 MB) unless the cache has them
#
# It serves when DIR/cassandra.log has "Startup complete". Each start begins that file anew, but not at once: who starts a
# node again removes it first. DIR/stderr.log has what Java says, DIR/ports the lines `cql PORT` and `storage PORT`. The next
# start with the same DIR finds its data, and keeps the ports.
#
#   POSTRIDER_CASSANDRA_PORT, POSTRIDER_CASSANDRA_STORAGE_PORT   instead of DIR/ports or free ones
#   POSTRIDER_CASSANDRA_SYNC=batch      what was acknowledged is there after SIGKILL; otherwise not even the tables are
#   POSTRIDER_CASSANDRA_AUTH=password   asks for a login: cassandra, cassandra. The first start logs "Created default superuser
#                                       role" when it can be used, just before or after "Startup complete"
#   POSTRIDER_CASSANDRA_OPTS=-Xmx1g     more options for java
set -euo pipefail

server=Cassandra version=5.0.9 started="Startup complete"
usage="usage: scripts/cassandra.sh DIR [HOST] | --check | --fetch"
source "$(dirname "$0")/jars.sh"

# node_command DATA OPTION…: sets $command to the command line of a node with that data. Options are java's.
node_command() {
  local data="$1"
  shift
  find_classpath
  command=("$java" "@$config/jvm.options" -Djava.io.tmpdir="$dir/tmp" -Dcassandra.storagedir="$data"
    -Dcassandra.config="file:$dir/cassandra.yaml" -Dlogback.configurationFile="$config/logback.xml"
    "$@" -cp "$classpath" org.apache.cassandra.service.CassandraDaemon)
}

# Writes DIR/cassandra.yaml: the file of the repository, and what this start decides.
write_config() {
  {
    cat "$config/cassandra.yaml"
    cat <<END

# By scripts/cassandra.sh:
listen_address: $host
rpc_address: $host
native_transport_port: $cql_port
storage_port: $storage_port
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "$host:$storage_port"
$sync
$auth
END
  } >"$dir/cassandra.yaml"
}

# Java 24 dropped the security manager, without which Cassandra 5.0 does not start.
check 17 23
case "$dir" in
  --check) exit 0 ;;
  --fetch)
    fetch
    exit 0
    ;;
esac

case "${POSTRIDER_CASSANDRA_SYNC:-periodic}" in
  # The node's own tables, which hold the schema, are not flushed; a change of the schema takes a quarter of the time.
  periodic) sync=$'commitlog_sync: periodic\ncommitlog_sync_period: 10s' unsafe=true ;;
  # It takes no window in 5.0: a write waits for the next sync.
  batch) sync="commitlog_sync: batch" unsafe=false ;;
  *) die "POSTRIDER_CASSANDRA_SYNC: periodic or batch" ;;
esac
case "${POSTRIDER_CASSANDRA_AUTH:-none}" in
  none) auth=$'authenticator: AllowAllAuthenticator\nauthorizer: AllowAllAuthorizer' ;;
  password) auth=$'authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer' ;;
  *) die "POSTRIDER_CASSANDRA_AUTH: none or password" ;;
esac

# Not at a start that fails below: nobody is to take the last start's log for this one's.
rm -f "$dir/cassandra.log"
fetch
choose_port cql "${POSTRIDER_CASSANDRA_PORT:-}"
cql_port="$port"
choose_port storage "${POSTRIDER_CASSANDRA_STORAGE_PORT:-}"
storage_port="$port"
write_ports
write_config
if ! find_archive; then
  node_command "$dir/tmp/archive" -XX:ArchiveClassesAtExit="$new_archive"
  make_archive "${command[@]}"
  rm -rf "$dir/tmp/archive"
fi
options=(-Dcassandra.unsafesystem="$unsafe")
[ ! -s "$archive" ] || options+=(-XX:SharedArchiveFile="$archive")
# shellcheck disable=SC2206 # words of options
options+=(${POSTRIDER_CASSANDRA_OPTS:-})
node_command "$dir/data" "${options[@]}"
exec "${command[@]}" </dev/null >"$dir/cassandra.log" 2>"$dir/stderr.log"
