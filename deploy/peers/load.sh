#!/bin/sh
# Measures how fast checkpoints of the Qwen3-0.6B shape become one served model, and
# the same average in PyTorch:
#
#   deploy/peers/load.sh [F32|BF16] [MEMBERS] [ROUNDS]
#
# MEMBERS is how many, six by default; ROUNDS is how often all is measured in turn, once by
# default, and medians follow. The checkpoints hold random weights and are
# deleted at the end: 2.4 GB each in float32, half of that in bfloat16. They and one
# model more must fit into memory, because a cached start is what is measured. Run
# run.sh first; PyTorch is the one of run.sh --current where that ran.
set -eu
export PYTHONDONTWRITEBYTECODE=1

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${PEERS_DIR:-/tmp/warm-peers}
stored=${1:-F32} count=${2:-6} rounds=${3:-1}
config=$root/cmd/warm/testdata/qwen3-0.6b.json
work=$dir/load
case $stored in F32) gb=$((count * 24 / 10 + 1)) ;; BF16) gb=$((count * 12 / 10 + 1)) ;; *) echo "load.sh: $stored is neither F32 nor BF16" >&2; exit 2 ;; esac

mkdir -p "$work"
server=
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
disk=$(df --output=avail -BG "$work" | tail -1 | tr -dc 0-9)
memory=$(awk '/MemAvailable/ {print int($2 / 1000000)}' /proc/meminfo)
if [ "$disk" -lt $((gb + 1)) ] || [ "$memory" -lt $((gb + 3)) ]; then
  echo "load.sh: needs $((gb + 1)) GB of disk and $((gb + 3)) GB of memory, has $disk and $memory; try BF16" >&2
  exit 1
fi
(cd "$root" && CGO_ENABLED=0 go build -o "$dir/warm" ./cmd/warm)

echo "writing $count checkpoints in $stored" >&2
members=
for seed in $(seq "$count"); do
  "$dir/warm" bench checkpoint --random "$config" --seed $seed --dtype "$stored" "$work/$seed"
  members=$members,$work/$seed
done
members=${members#,}
sync # or the first start shares the disk and the processors with what was written

# serve DTYPE: starts the server and prints when the model is live, and what it spent on it.
serve() {
  cat "$work"/*/*.safetensors >/dev/null # a cached start
  start=$(date +%s.%N)
  "$dir/warm" serve --addr 127.0.0.1:0 --log json --dtype "$1" --model "load=$members" 2>"$work/$1.log" &
  server=$!
  until grep -qs '"model is live"' "$work/$1.log"; do
    kill -0 $server 2>/dev/null || { cat "$work/$1.log" >&2; exit 1; }
    sleep 0.01
  done
  end=$(date +%s.%N)
  memory=$(awk '/VmRSS|RssAnon/ {printf "%s %d MB  ", $1, $2 / 1024}' /proc/$server/status)
  cpu=$(awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); printf "%.2f", ($12 + $13) / hz}' /proc/$server/stat)
  live=$(awk "BEGIN {printf \"%.2f\", $end - $start}")
  parts=$(sed -n 's/.*"loaded".*"seconds":\([0-9.]*\).*"read_seconds":\([0-9.]*\).*"hash_seconds":\([0-9.]*\).*"store_seconds":\([0-9.]*\).*/\1 \2 \3 \4/p' "$work/$1.log")
  echo "$live $parts" >>"$work/$1.times"
  echo "$live $parts" | awk -v d="$1" '{printf "warm serve %s: live after %.2f s, loaded in %.2f (each worker: average %.2f, hash %.2f, pack %.2f); ", d, $1, $2, $3, $4, $5}'
  echo "$cpu s of processor time; $memory"
  kill $server
  wait $server 2>/dev/null || true
  server=
}

# median FILE COLUMN
median() { sort -n -k"$2,$2" "$1" | awk -v c="$2" '{v[NR] = $c} END {printf "%.2f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'; }

python=$dir/venv/bin/python
"$python" -c 'import torch' 2>/dev/null || python=/usr/bin/python3
for _ in $(seq "$rounds"); do
  for dtype in float32 bfloat16 int8; do
    serve $dtype
  done
  cat "$work"/*/*.safetensors >/dev/null
  echo "PyTorch, average alone (nothing packed):"
  OMP_NUM_THREADS=$(nproc) "$python" "$here/average.py" "$(nproc)" "$work"/[0-9]* | tee "$work/torch.json"
  sed 's/.*"seconds": \([0-9.]*\).*/\1/' "$work/torch.json" >>"$work/torch.times"
done
for dtype in float32 bfloat16 int8; do
  echo "median of $rounds, warm serve $dtype: live after $(median "$work/$dtype.times" 1) s, packing $(median "$work/$dtype.times" 5) s"
done
echo "median of $rounds, PyTorch: $(median "$work/torch.times" 1) s"
