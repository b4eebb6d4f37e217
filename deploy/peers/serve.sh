#!/bin/sh
# Measures what the server loses of the engine's speed: one sample a request, a
# new connection each, as reinforcement-learning stacks ask, natively and with
# OpenRLHF's body, beside the engine alone at the batch shape that formed:
#
#   deploy/peers/serve.sh [--quick] [--models minilm6x384,qwen3-0.6b] [FLAG…]
#
# 6x384 with 256 clients, two windows of 60 s for each body, and three times the
# capacity; 0.6 B parameters with 24 clients, one window each. Eleven minutes, two
# with --quick. Other flags go to warm bench serve (--help explains the table).
# Tables on stdout; the same as JSON in $PEERS_DIR (default /tmp/warm-peers).
# The machine must do nothing else.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${PEERS_DIR:-/tmp/warm-peers}
mkdir -p "$dir"

models=minilm6x384,qwen3-0.6b
window=60s
settle=15s
rounds=2
while [ $# -gt 0 ]; do
  case $1 in
    --quick) window=10s settle=5s rounds=1 ;;
    --models) models=${2:?--models needs names}; shift ;;
    *) break ;;
  esac
  shift
done

(cd "$root" && CGO_ENABLED=0 go build -o "$dir/warm" ./cmd/warm)

run() {
  name=$1
  shift
  echo
  "$dir/warm" bench serve --random "$root/cmd/warm/testdata/$name.json" --duration $window --report "$dir/serve-$name.json" "$@"
}

echo "load average before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
for model in $(echo "$models" | tr , ' '); do
  case $model in
    qwen3-0.6b) run "$model" --clients 24 --warmup $settle --rounds 1 --engine-rounds 5 "$@" ;;
    *) run "$model" --clients 256 --warmup 5s --rounds $rounds --overload "$@" ;;
  esac
done
