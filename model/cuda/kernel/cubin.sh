#!/bin/bash
# Makes machine code of the committed PTX for cards of the capabilities that are named, as in
# "cubin.sh 80 86 89 90", with ptxas of CUDA 12.4 (as Debian's nvidia-cuda-toolkit has it, or PyPI's
# nvidia-cuda-nvcc-cu12): into cubin/sm_80 and so on beside this file, or below the folder $OUT, where
# the build embeds it, under the name of the PTX that it is of, so that none outlives its source.
# The same ptxas gives the same bytes. Where there is none for a card, or the driver takes it not,
# it compiles PTX itself, once for each machine; its compiler may be newer than ptxas.
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${OUT:-cubin}")
cd ptx
for capability in "$@"; do
	rm -rf "$out/sm_$capability"
	mkdir -p "$out/sm_$capability"
	for source in *.ptx; do
		arch=sm_$capability
		target=$(sed -n 's/^\.target sm_\([0-9a-z]*\).*/\1/p' "$source")
		case $target in
		"${capability}a") arch=${arch}a ;;
		*a) continue ;; # of another card alone
		*) [ "$target" -le "$capability" ] || continue ;;
		esac
		sum=$(sha256sum "$source")
		to=$out/sm_$capability/${source%.ptx}-${sum:0:16}.cubin
		"${PTXAS:-ptxas}" -O3 -arch="$arch" -o "$to" "$source"
		gzip -9n "$to"
	done
done
