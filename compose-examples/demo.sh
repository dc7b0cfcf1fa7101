#!/bin/bash
# Shows orc on this machine: the `counter` example up, its containers, its page twice, and down again; then `visits`,
# whose image orc builds.
# Keeps everything under its own roots, so that an orc that runs already is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/target/release:$PATH"
export ORC_DATA_ROOT=$PWD/target/demo/data ORC_RUN_ROOT=/run/orc-demo ORC_CGROUP_PARENT=/orc-demo

show() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

import() { # ARCHIVE REFERENCE
    local changes=()
    while IFS= read -r line; do changes+=(--change "$line"); done <"images/$1.changes"
    orc image inspect "$2" >/dev/null 2>&1 || show orc import "${changes[@]}" "target/images/$1.tar" "$2"
}

trap 'orc daemon stop >/dev/null 2>&1 || true' EXIT
import python example/python:bookworm
import redis example/redis:7
cd compose-examples/counter
trap 'orc down -v >/dev/null 2>&1; orc daemon stop >/dev/null 2>&1 || true' EXIT
show orc up -d --wait
show orc ps
show curl -sS localhost:5000
show curl -sS localhost:5000
show orc down -v
cd ../visits
trap 'orc down -v --rmi local >/dev/null 2>&1; orc daemon stop >/dev/null 2>&1 || true' EXIT
show orc up -d --wait
show curl -sS localhost:5000
show orc down --rmi local
