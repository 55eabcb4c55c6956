# Sourced by test.sh: tools and client libraries of other languages, at pinned versions, kept in the cache.
# shellcheck shell=bash

buf_version=1.75.0
standardwebhooks_py_version=1.1.0
standardwebhooks_npm_version=1.1.1
# Kafka for Python: on librdkafka, and without it.
confluent_kafka_version=2.16.1
kafka_python_version=3.0.12

# python_venv NAME REQUIREMENT…: makes the venv unless it is complete; prints its path, or a reason on failure.
python_venv() {
  local dir="$cache/py/$1" log
  shift
  if [ -e "$dir/.complete" ] && "$dir/bin/python" -c '' 2>/dev/null; then
    echo "$dir"
    return
  fi
  command -v python3 >/dev/null 2>&1 || { echo "python3 is not installed"; return 1; }
  log="$(mktemp)"
  rm -rf "$dir"
  if python3 -m venv "$dir" >"$log" 2>&1 && "$dir/bin/pip" install --quiet "$@" >>"$log" 2>&1; then
    touch "$dir/.complete"
    rm -f "$log"
    echo "$dir"
  else
    echo "pip could not install $*: $(tail -n 1 "$log")"
    rm -f "$log"
    return 1
  fi
}

# Sets $buf, or $buf_missing and returns 1.
find_buf() {
  local venv
  if buf="$(command -v buf)"; then
    return
  fi
  if venv="$(python_venv "buf-$buf_version" "buf-bin==$buf_version")"; then
    buf="$venv/bin/buf"
  else
    buf_missing="no buf on PATH, and $venv"
    return 1
  fi
}

# Exports POSTRIDER_PY_VENV, or sets $python_missing and returns 1.
setup_python_clients() {
  local venv name
  name="clients-$standardwebhooks_py_version-$confluent_kafka_version-$kafka_python_version"
  if venv="$(python_venv "$name" "standardwebhooks==$standardwebhooks_py_version" \
    "confluent-kafka==$confluent_kafka_version" "kafka-python==$kafka_python_version")"; then
    export POSTRIDER_PY_VENV="$venv"
  else
    python_missing="$venv"
    return 1
  fi
}

# Exports POSTRIDER_NODE_MODULES, or sets $node_missing and returns 1.
setup_node_client() {
  local version=$standardwebhooks_npm_version dir log tool
  for tool in node npm; do
    command -v "$tool" >/dev/null 2>&1 || { node_missing="$tool is not installed"; return 1; }
  done
  dir="$cache/node/standardwebhooks-$version"
  if [ ! -e "$dir/.complete" ]; then
    log="$(mktemp)"
    rm -rf "$dir"
    mkdir -p "$dir"
    echo '{"private":true}' >"$dir/package.json"
    if ! npm install --prefix "$dir" --no-audit --no-fund --no-package-lock \
      "standardwebhooks@$version" >"$log" 2>&1; then
      node_missing="npm could not install standardwebhooks: $(tail -n 1 "$log")"
      rm -f "$log"
      return 1
    fi
    rm -f "$log"
    touch "$dir/.complete"
  fi
  export POSTRIDER_NODE_MODULES="$dir/node_modules"
}
