#!/usr/bin/env bash
# Runs a Kafka broker for tests. The server takes this script's pid; whoever started it may stop, freeze or kill it.
#
#   scripts/kafka.sh DIR [HOST]   keeps all in DIR; listens on HOST (127.0.0.1)
#   scripts/kafka.sh --check      says in one line what is missing for that, if something is
#   scripts/kafka.sh --fetch      as --check, and fetches the jars (44 MB) unless the cache has them
#
# It serves when DIR/kafka.log has "Kafka Server started". Each start begins that file anew, but not at once: who starts a
# broker again removes it first. DIR/stderr.log has what Java says, DIR/ports the lines `kafka PORT` and `controller PORT`.
# The next start with the same DIR finds its data, and keeps the ports. What was acknowledged is there after SIGKILL.
#
#   POSTRIDER_KAFKA_PORT, POSTRIDER_KAFKA_CONTROLLER_PORT, POSTRIDER_KAFKA_SASL_PORT   instead of DIR/ports or free ones
#   POSTRIDER_KAFKA_AUTH=sasl      one more listener, `sasl PORT` in DIR/ports: SASL_PLAINTEXT, mechanism PLAIN. There
#                                  admin (admin-secret) may do everything, postrider (postrider-secret) what ACLs allow.
#                                  Without a login, on the other port, one may do everything
#   POSTRIDER_KAFKA_OPTS=-Xmx1g    more options for java
#   POSTRIDER_KAFKA_CLUSTER=1@HOST:PORT,2@HOST:PORT,3@HOST:PORT   one of three brokers, which are told the same: each one's
#                                  number, and the port of its controller. Topics then have three copies, of which two must
#                                  be there. End the last two with SIGKILL: without a quorum SIGTERM takes five minutes
#   POSTRIDER_KAFKA_NODE=2         which of them this is
set -euo pipefail

server=Kafka version=4.4.0 started="Kafka Server started"
usage="usage: scripts/kafka.sh DIR [HOST] | --check | --fetch"
source "$(dirname "$0")/jars.sh"

# node_command HOME OPTION…: sets $command to the command line of the broker whose files are in HOME. Options are java's.
node_command() {
  local home="$1"
  shift
  java_command "$@"
  command+=(kafka.Kafka "$home/server.properties")
}

# java_command OPTION…: sets $command to java with the jars, without a class to run.
java_command() {
  find_classpath
  command=("$java" "@$config/jvm.options" -Djava.io.tmpdir="$dir/tmp"
    -Dlog4j2.configurationFile="$config/log4j2.properties" "$@" -cp "$classpath")
}

# write_config HOME NODE VOTERS: writes HOME/server.properties: the file of the repository, and what this start decides.
write_config() {
  local home="$1" node="$2" voters="$3" more=
  local copies=1 in_sync=1 listeners="PLAINTEXT://$host:$kafka_port,CONTROLLER://$host:$controller_port"
  mkdir -p "$home"
  if [ "$(tr -cd , <<<"$voters" | wc -c)" -ge 2 ]; then copies=3 in_sync=2; fi
  if [ -n "$sasl_port" ]; then
    listeners+=",SASL_PLAINTEXT://$host:$sasl_port"
    more+="$(cat "$config/sasl.properties")"
  fi
  case "$voters" in *,*) more+=$'\n'"$(cat "$config/cluster.properties")" ;; esac
  {
    cat "$config/server.properties"
    cat <<END

# By scripts/kafka.sh:
node.id=$node
controller.quorum.voters=$voters
listeners=$listeners
log.dirs=$home/data
default.replication.factor=$copies
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$copies
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync
$more
END
  } >"$home/server.properties"
}

# format HOME ID OPTION…: makes HOME/data, with the cluster's id, unless it was made.
format() {
  local home="$1" id="$2"
  shift 2
  [ ! -e "$home/data/meta.properties" ] || return 0
  java_command "$@"
  if ! "${command[@]}" kafka.tools.StorageTool format --cluster-id "$id" --config "$home/server.properties" \
    </dev/null >"$dir/format.log" 2>&1; then
    echo "Kafka could not format $home/data:" >&2
    tail -n 20 "$dir/format.log" >&2
    exit 1
  fi
}

check 17
case "$dir" in
  --check) exit 0 ;;
  --fetch)
    fetch
    exit 0
    ;;
esac

sasl=
case "${POSTRIDER_KAFKA_AUTH:-none}" in
  none) ;;
  sasl) sasl=1 ;;
  *) die "POSTRIDER_KAFKA_AUTH: none or sasl" ;;
esac
cluster="${POSTRIDER_KAFKA_CLUSTER:-}" node="${POSTRIDER_KAFKA_NODE:-1}"
# Brokers of one cluster have one id; those of two runs do not, so that a client can tell them apart.
cluster_id="$(printf 'postrider-%011dA' "$(cksum <<<"${cluster:-$(date +%s) $$ $RANDOM}" | cut -d ' ' -f 1)")"
controller_port="${POSTRIDER_KAFKA_CONTROLLER_PORT:-}"
if [ -n "$cluster" ]; then
  controller_port="$(tr , '\n' <<<"$cluster" | sed -n "s/^$node@.*:\([0-9]*\)$/\1/p")"
  [ -n "$controller_port" ] || die "POSTRIDER_KAFKA_CLUSTER has no $node@HOST:PORT: it is $cluster"
fi

# Not at a start that fails below: nobody is to take the last start's log for this one's.
rm -f "$dir/kafka.log"
fetch
choose_port kafka "${POSTRIDER_KAFKA_PORT:-}"
kafka_port="$port"
choose_port controller "$controller_port"
controller_port="$port" sasl_port=
if [ -n "$sasl" ]; then
  choose_port sasl "${POSTRIDER_KAFKA_SASL_PORT:-}"
  sasl_port="$port"
fi
write_ports
if ! find_archive; then
  write_config "$dir/tmp/archive" 1 "1@$host:$controller_port"
  format "$dir/tmp/archive" "$cluster_id"
  node_command "$dir/tmp/archive" -XX:ArchiveClassesAtExit="$new_archive"
  make_archive "${command[@]}"
  rm -rf "$dir/tmp/archive"
fi
# A crash of Java leaves its report here, not in the tree.
options=(-XX:ErrorFile="$dir/crash.log")
[ ! -s "$archive" ] || options+=(-XX:SharedArchiveFile="$archive")
write_config "$dir" "$node" "${cluster:-1@$host:$controller_port}"
format "$dir" "$cluster_id" "${options[@]}"
# shellcheck disable=SC2206 # words of options
options+=(${POSTRIDER_KAFKA_OPTS:-})
node_command "$dir" "${options[@]}"
exec "${command[@]}" </dev/null >"$dir/kafka.log" 2>"$dir/stderr.log"
