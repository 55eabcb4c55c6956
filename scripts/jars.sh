# Sourced by cassandra.sh and kafka.sh: a server for tests in one Java process, from jars that Maven fetches. It reads the
# script's arguments and sets $dir and $host. The script has set $usage, $server (its name), $version, and $started, which
# the server logs once it serves.
# shellcheck shell=bash

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
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
name="$(tr '[:upper:]' '[:lower:]' <<<"$server")"
config="$root/scripts/cluster/$name"
jars="$cache/cluster/$name-$version"
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"

# check MIN [MAX]: stops with one line unless java has such a version, and the jars are there or can be fetched. Sets
# $java_version.
check() {
  local hint="install JDK 17 (Debian: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk@17)"
  local wanted="$1 or later" major
  [ -z "${2:-}" ] || wanted="$1 to $2"
  java_version="$("$java" -version 2>&1)" || die "$server needs Java: $hint"
  major="$(sed -n 's/.* version "\([0-9]*\).*/\1/p' <<<"$java_version" | head -n 1)"
  [ "${major:-0}" -ge "$1" ] && [ "$major" -le "${2:-$major}" ] ||
    die "$server needs Java $wanted, $java is ${major:-unknown}: $hint"
  [ -e "$jars/.complete" ] || command -v mvn >/dev/null 2>&1 ||
    die "Maven fetches $server: install maven (Debian: apt-get install maven; macOS: brew install maven)"
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
  if ! mvn -q -B -f "$config/pom.xml" dependency:copy-dependencies -D"$name.version=$version" \
    -DincludeScope=runtime -DoutputDirectory="$new" >"$log" 2>&1; then
    echo "mvn could not fetch $server $version: $(grep -m 1 ERROR "$log" || tail -n 1 "$log")" >&2
    exit 1
  fi
  rm "$log"
  touch "$new/.complete"
  trap - EXIT
  mv "$new" "$jars"
  rm -rf "${jars:?}/${new##*/}"
}

# Sets $classpath, in one order: an archive of classes holds only for the class path that it was made with.
find_classpath() {
  local jar
  classpath=
  for jar in "$jars"/*.jar; do classpath+="${classpath:+:}$jar"; done
}

# Sets $archive to an archive of the loaded classes, which is made once for each version of Java and saves a third of a start's
# CPU time or more. An empty file says that it could not be made here. Java starts without one that does not fit. Where there
# is none yet, it returns 1: then a server is to write $new_archive, and make_archive runs it.
find_archive() {
  archive="$jars/classes-$(cksum <<<"$java_version" | cut -d ' ' -f 1).jsa"
  new_archive="$archive.$$"
  [ -e "$archive" ]
}

# make_archive COMMAND…: runs a server that writes $new_archive at its end, until it serves.
make_archive() {
  local pid i
  "$@" </dev/null >"$dir/archive.log" 2>&1 &
  pid=$!
  # shellcheck disable=SC2064 # this process
  trap "kill -KILL $pid 2>/dev/null || :; rm -f '$new_archive'" EXIT
  for ((i = 0; i < 600; i++)); do
    if grep -qs "$started" "$dir/archive.log" || ! kill -0 "$pid" 2>/dev/null; then break; fi
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
  [ -s "$new_archive" ] || : >"$new_archive"
  mv -f "$new_archive" "$archive"
  rm -f "$dir/archive.log"
}

# choose_port LISTENER WANTED: sets $port to the wanted one, or to what DIR/ports has, or to a free one; notes it in $ports.
choose_port() {
  port="$2"
  if [ -z "$port" ] && [ -e "$dir/ports" ]; then
    port="$(awk -v listener="$1" '$1 == listener { print $2 }' "$dir/ports")"
  fi
  while [ -z "$port" ]; do
    port="$(free_port)"
    ! grep -q " $port$" <<<"$ports" || port=
  done
  ports+="$1 $port"$'\n'
}
ports=

# Writes the chosen ports to DIR/ports.
write_ports() {
  printf '%s' "$ports" >"$dir/ports.new"
  mv "$dir/ports.new" "$dir/ports"
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
