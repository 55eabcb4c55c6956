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

version=5.0.9
usage="usage: scripts/cassandra.sh DIR [HOST] | --check | --fetch"
die() {
  echo "$1" >&2
  exit 1
}

[ $# -ge 1 ] && [ $# -le 2 ] || die "$usage"
dir="$1" host="${2:-127.0.0.1}"
case "$dir" in
  --check | --fetch) ;;
  -* | "") die "$usage" ;;
  *)
    mkdir -p "$dir/tmp"
    dir="$(cd "$dir" && pwd)"
    ;;
esac
source "$(dirname "$0")/env.sh"
config="$root/scripts/cluster/cassandra"
jars="$cache/cluster/cassandra-$version"
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"

# Stops with one line unless java is one that runs this Cassandra, and the jars are there or can be fetched.
check() {
  local hint="install JDK 17 (Debian: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17)" major
  java_version="$("$java" -version 2>&1)" || die "Cassandra needs Java: $hint"
  major="$(sed -n 's/.* version "\([0-9]*\).*/\1/p' <<<"$java_version" | head -n 1)"
  # 24 dropped the security manager, without which Cassandra 5.0 does not start.
  [ "${major:-0}" -ge 17 ] && [ "$major" -le 23 ] || die "Cassandra needs Java 17 to 23, $java is ${major:-unknown}: $hint"
  [ -e "$jars/.complete" ] || command -v mvn >/dev/null 2>&1 ||
    die "Maven fetches Cassandra: install maven (Debian: apt-get install maven; macOS: brew install maven)"
}

# Puts the jars into the cache. Two may do so at once: the folder appears as a whole, and the later one goes.
fetch() {
  local log
  [ ! -e "$jars/.complete" ] || return 0
  mkdir -p "$cache/cluster"
  rm -rf "$jars"
  new="$(mktemp -d "$jars.XXXXXX")"
  trap 'rm -rf "$new"' EXIT
  log="$new/mvn.log"
  if ! mvn -q -B -f "$config/pom.xml" dependency:copy-dependencies -Dcassandra.version="$version" \
    -DincludeScope=runtime -DoutputDirectory="$new" >"$log" 2>&1; then
    echo "mvn could not fetch Cassandra $version: $(grep -m 1 ERROR "$log" || tail -n 1 "$log")" >&2
    exit 1
  fi
  rm "$log"
  touch "$new/.complete"
  trap - EXIT
  mv "$new" "$jars"
  rm -rf "${jars:?}/${new##*/}"
}

# Sets $command to a node's command line: its data in $1, the rest is options for java.
node_command() {
  local data="$1" jar classpath=
  shift
  # In one order, because an archive of classes holds only for the class path that it was made with.
  for jar in "$jars"/*.jar; do classpath+="${classpath:+:}$jar"; done
  command=("$java" "@$config/jvm.options" -Djava.io.tmpdir="$dir/tmp" -Dcassandra.storagedir="$data"
    -Dcassandra.config="file:$dir/cassandra.yaml" -Dlogback.configurationFile="$config/logback.xml"
    "$@" -cp "$classpath" org.apache.cassandra.service.CassandraDaemon)
}

# Sets $archive to an archive of the loaded classes (a third off a start's CPU time), made once for each version of Java. An
# empty file says that it could not be made here. Java starts without one that does not fit.
class_archive() {
  archive="$jars/classes-$(cksum <<<"$java_version" | cut -d ' ' -f 1).jsa"
  [ ! -e "$archive" ] || return 0
  new="$archive.$$"
  node_command "$dir/tmp/archive" -XX:ArchiveClassesAtExit="$new"
  "${command[@]}" >"$dir/archive.log" 2>&1 &
  pid=$!
  trap 'kill -KILL "$pid" 2>/dev/null || :; rm -f "$new"' EXIT
  for ((i = 0; i < 600; i++)); do
    if grep -qs "Startup complete" "$dir/archive.log" || ! kill -0 "$pid" 2>/dev/null; then break; fi
    sleep 0.1
  done
  # The archive is written at an orderly end; one that takes longer than a minute is not waited for.
  kill -TERM "$pid" 2>/dev/null || :
  for ((i = 0; i < 600; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || :
  wait "$pid" 2>/dev/null || :
  trap - EXIT
  [ -s "$new" ] || : >"$new"
  mv -f "$new" "$archive"
  rm -rf "$dir/tmp/archive" "$dir/archive.log"
}

# Prints a port of $host on which nothing listens. Below 32768, where no system takes ports for outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM % 12000)))
    (: <"/dev/tcp/$host/$port") 2>/dev/null || break
  done
  echo "$port"
}

# Sets $cql_port and $storage_port, and writes them to DIR/ports.
choose_ports() {
  local name port
  cql_port="${POSTRIDER_CASSANDRA_PORT:-}" storage_port="${POSTRIDER_CASSANDRA_STORAGE_PORT:-}"
  if [ -e "$dir/ports" ]; then
    while read -r name port; do
      case "$name" in
        cql) : "${cql_port:=$port}" ;;
        storage) : "${storage_port:=$port}" ;;
      esac
    done <"$dir/ports"
  fi
  : "${cql_port:=$(free_port)}"
  while [ -z "$storage_port" ] || [ "$storage_port" = "$cql_port" ]; do storage_port="$(free_port)"; done
  printf 'cql %s\nstorage %s\n' "$cql_port" "$storage_port" >"$dir/ports.new"
  mv "$dir/ports.new" "$dir/ports"
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

check
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
choose_ports
write_config
class_archive
options=(-Dcassandra.unsafesystem="$unsafe")
[ ! -s "$archive" ] || options+=(-XX:SharedArchiveFile="$archive")
# shellcheck disable=SC2206 # words of options
options+=(${POSTRIDER_CASSANDRA_OPTS:-})
node_command "$dir/data" "${options[@]}"
exec "${command[@]}" </dev/null >"$dir/cassandra.log" 2>"$dir/stderr.log"
