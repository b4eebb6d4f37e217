#!/bin/sh
# Measures training steps of warm beside PyTorch's on this machine: forward,
# Bradley-Terry loss, backward and AdamW of 16 pairs of 2 x 128 tokens.
#
#   deploy/peers/train.sh [--current] [--models minilm6x384,dec6x384] [--threads 2] [--processes 5]
#
# With --current PyTorch is today's from PyPI, in run.sh's virtual environment. Else it
# needs Debian's python3-torch and the OpenMP build of OpenBLAS, and installs them
# with apt where they are missing. Results: a table on stdout and train.json in the
# folder $PEERS_DIR (default /tmp/warm-peers). See README.md beside this file.
set -eu
export PYTHONDONTWRITEBYTECODE=1

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${PEERS_DIR:-/tmp/warm-peers}
mkdir -p "$dir/models"

case " $* " in *" --current "*) current=1 ;; *) current= ;; esac
python=/usr/bin/python3 # Debian's own: another Python does not see its packages
openblas=$(echo /usr/lib/*/openblas-openmp)
if [ -n "$current" ]; then
  python=$dir/venv/bin/python openblas=
  if ! "$python" -c 'import numpy, torch' 2>/dev/null; then
    echo "installing PyTorch from PyPI" >&2
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/pip" install -q torch numpy >"$dir/pip.log" 2>&1 || { cat "$dir/pip.log" >&2; exit 1; }
  fi
elif ! "$python" -c 'import numpy, torch' 2>/dev/null || [ ! -d "$openblas" ]; then
  echo "installing PyTorch and the OpenMP build of OpenBLAS (needs root)" >&2
  apt-get update >"$dir/apt.log" 2>&1
  apt-get install -y --no-install-recommends python3-numpy python3-torch libopenblas0-openmp >>"$dir/apt.log" 2>&1
  openblas=$(echo /usr/lib/*/openblas-openmp)
fi
(cd "$root" && CGO_ENABLED=0 go build -o "$dir/warm" ./cmd/warm)
exec "$python" "$here/train_bench.py" --dir "$dir" --warm "$dir/warm" --configs "$root/cmd/warm/testdata" --openblas "$openblas" "$@"
