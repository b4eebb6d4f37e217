#!/bin/bash
# Makes PTX of the kernels with clang++-19 alone, without a CUDA SDK: into the folder ptx
# beside this file, or into the one that is named.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-ptx}
mkdir -p "$out"

ptx() { # a source, the card's generation, the version of PTX, the module, and options
	clang++-19 -x cuda --cuda-device-only "--cuda-gpu-arch=$2" -nocudainc -nocudalib "--cuda-feature=+ptx$3" \
		-std=c++20 -O3 -ffp-contract=off -fno-jump-tables -fno-ident -Wall -Wextra -Werror -Wno-unknown-cuda-version \
		-S -o "$out/$4.ptx" "src/$1.cu" "${@:5}"
}

# Any card from Ampere on.
ptx rows sm_80 71 rows
ptx simt sm_80 71 simt
ptx attend sm_80 71 attend
ptx mixture sm_80 71 mixture

# The same from Hopper on, where they may start before the kernel ahead of them has ended.
ptx rows sm_90 78 rows_90

# e4m3, which cards have from Ada on.
ptx quantize sm_89 81 quantize
ptx quantize sm_90 78 quantize_90
ptx product80 sm_89 84 product_mma_e4m3 -DE4M3

# mma.sync and cp.async: Ampere and later. Hopper's own instructions: sm_90a alone. Each
# epilogue of its products is a module and each size of its heads, so that a model compiles
# those that it needs.
ptx product80 sm_80 71 product_mma
ptx attend80 sm_80 71 attend_mma
ptx product90 sm_90a 83 wgmma_store -DEPILOGUE=0
ptx product90 sm_90a 83 wgmma_residual -DEPILOGUE=1
ptx product90 sm_90a 83 wgmma_gated -DEPILOGUE=2
ptx product90 sm_90a 83 wgmma_heads -DEPILOGUE=3
ptx product90 sm_90a 83 wgmma_heads64 -DEPILOGUE=3 -DHEAD=64
# Those that RMSNorm is a part of, with its sums of squares.
ptx product90 sm_90a 83 wgmma_residual_normed -DNORMED -DEPILOGUE=1
ptx product90 sm_90a 83 wgmma_gated_normed -DNORMED -DEPILOGUE=2
ptx product90 sm_90a 83 wgmma_heads_normed -DNORMED -DEPILOGUE=3
ptx product90 sm_90a 83 wgmma_heads64_normed -DNORMED -DEPILOGUE=3 -DHEAD=64
ptx squares sm_90 78 squares
# Sums of e4m3.
ptx product90 sm_90a 83 wgmma_store_e4m3 -DE4M3 -DEPILOGUE=0
ptx product90 sm_90a 83 wgmma_residual_e4m3 -DE4M3 -DEPILOGUE=1
ptx product90 sm_90a 83 wgmma_gated_e4m3 -DE4M3 -DEPILOGUE=2
ptx product90 sm_90a 83 wgmma_heads_e4m3 -DE4M3 -DEPILOGUE=3
ptx product90 sm_90a 83 wgmma_heads64_e4m3 -DE4M3 -DEPILOGUE=3 -DHEAD=64
for d in 64 96 128 256; do
	ptx attend90 sm_90a 83 attend_wgmma_$d -DHEAD=$d
done
