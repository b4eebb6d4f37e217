#!/bin/sh
# Measures warm beside PyTorch, ONNX Runtime and llama.cpp on this machine:
#
#   deploy/peers/run.sh [--current] [--quick] [--models a,b] [--engines "warm f32,ort f32 fused"]
#
# With --current the peers are today's PyTorch, OpenVINO and ONNX Runtime from PyPI, in a
# virtual environment, in float32, bfloat16 and int8, instead of Debian's and npm's.
# Twelve minutes at most on two cores, four with --quick, after the first run's
# installation. Results: a table on stdout, peers.md and peers.json in the folder
# $PEERS_DIR (default /tmp/warm-peers, 16 GB). See README.md beside this file.
set -eu
export PYTHONDONTWRITEBYTECODE=1

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${PEERS_DIR:-/tmp/warm-peers}
configs=$root/cmd/warm/testdata
mkdir -p "$dir/models"

say() { echo "$*" >&2; }

case " $* " in *" --current "*) current=--current ;; *) current= ;; esac
llama= version= openblas=
if [ -n "$current" ]; then
  python=$dir/venv/bin/python
  if ! "$python" -c 'import numpy, nncf, onnx, onnxruntime, openvino, torch' 2>/dev/null; then
    say "installing PyTorch, OpenVINO, NNCF and ONNX Runtime from PyPI"
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/pip" install -q torch numpy onnx onnxruntime openvino nncf >"$dir/pip.log" 2>&1 || { cat "$dir/pip.log" >&2; exit 1; }
  fi
  command -v go >/dev/null || { say "run.sh needs go"; exit 1; }
else
  python=/usr/bin/python3 # Debian's own: another Python does not see its packages
  openblas=$(echo /usr/lib/*/openblas-openmp)
  if ! "$python" -c 'import numpy, onnx, torch' 2>/dev/null || [ ! -d "$openblas" ]; then
    say "installing PyTorch, ONNX and the OpenMP build of OpenBLAS (needs root)"
    apt-get update >"$dir/apt.log" 2>&1
    apt-get install -y --no-install-recommends python3-numpy python3-onnx python3-torch libopenblas0-openmp gcc libc6-dev git >>"$dir/apt.log" 2>&1
    openblas=$(echo /usr/lib/*/openblas-openmp)
  fi
  for tool in node npm gcc git go; do
    command -v "$tool" >/dev/null || { say "run.sh needs $tool"; exit 1; }
  done

  if [ ! -d "$dir/node_modules/onnxruntime-node" ] || [ ! -d "$dir/node_modules/node-llama-cpp" ]; then
    say "installing ONNX Runtime and llama.cpp from npm"
    # Their install scripts fetch builds for graphics cards, which are not measured.
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel error onnxruntime-node@1.30.0 node-llama-cpp@3.22.1 >"$dir/npm.log" 2>&1 || { cat "$dir/npm.log" >&2; exit 1; }
  fi
fi

say "building warm"
(cd "$root" && CGO_ENABLED=0 go build -o "$dir/warm" ./cmd/warm)

if [ -z "$current" ]; then
  # llama.cpp: the libraries that node-llama-cpp ships, one for each level of
  # processor, driven by a program of ours through llama.cpp's own headers.
  case $(uname -m) in x86_64) llama=x64 ;; aarch64) llama=arm64 ;; *) llama= ;; esac
  llama=$dir/node_modules/@node-llama-cpp/linux-$llama/bins/linux-$llama
  if [ -e "$llama/libggml-base.so" ]; then
    source=$dir/node_modules/node-llama-cpp/llama
    version=$(sed -n 's/.*"tag": *"\([^"]*\)".*/\1/p' "$source/llama.cpp.info.json")
    if [ ! -d "$dir/llama.cpp" ]; then
      git clone -q "$source/gitRelease.bundle" "$dir/llama.cpp" 2>/dev/null
    fi
    gcc -O2 -o "$dir/llama_bench" "$here/llama_bench.c" -I"$dir/llama.cpp/include" -I"$dir/llama.cpp/ggml/include" \
      "$llama"/libllama.*so "$llama"/libggml.*so "$llama/libggml-base.so" -Wl,-rpath,"$llama" -Wl,--allow-shlib-undefined
  else
    say "no build of llama.cpp for this machine in its npm package: left out"
    llama=
  fi
fi

models=minilm6x384,bert12x768,dec12x768,qwen3-0.6b
previous=
for argument in "$@"; do
  [ "$previous" = --models ] && models=$argument
  previous=$argument
done
for model in $(echo "$models" | tr , ' '); do
  folder=$dir/models/$model
  if [ ! -e "$folder/done$current" ]; then
    say "writing $model for the other engines"
    rm -rf "$folder"
    "$dir/warm" bench checkpoint --random "$configs/$model.json" "$folder"
    "$python" "$here/onnx_graph.py" "$folder" $current >"$dir/onnx.log" 2>&1 || { cat "$dir/onnx.log" >&2; exit 1; }
    [ -z "$llama" ] || "$python" "$here/gguf.py" "$folder"
    touch "$folder/done$current"
  fi
done

case " $* " in *" --quick "*) seconds=200 ;; *) seconds=640 ;; esac
PEERS_NODE=$dir exec "$python" "$here/bench.py" --dir "$dir" --warm "$dir/warm" --configs "$configs" --openblas "$openblas" \
  --llama "$llama" --llama-version "$version" --seconds "$seconds" "$@"
