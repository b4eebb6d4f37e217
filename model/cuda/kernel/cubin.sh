#!/bin/bash
# Makes machine code of the committed PTX for cards of the capabilities that are named, as in
# "cubin.sh 80 86 89 90", with ptxas: into ptx/sm_80 and so on, where the build embeds it, under
# the name of the PTX that it is of, so that none outlives its source. Without them the driver
# compiles PTX itself, once for each machine; its compiler may be newer than ptxas.
set -euo pipefail
cd "$(dirname "$0")/ptx"
for capability in "$@"; do
	rm -rf "sm_$capability"
	mkdir "sm_$capability"
	for source in *.ptx; do
		arch=sm_$capability
		target=$(sed -n 's/^\.target \(sm_[0-9a-z]*\).*/\1/p' "$source")
		case $target in
		"${arch}a") arch=$target ;;
		*a) continue ;; # of another card alone
		esac
		sum=$(sha256sum "$source")
		"${PTXAS:-ptxas}" -O3 -arch="$arch" -o "sm_$capability/${source%.ptx}-${sum:0:16}.cubin" "$source"
	done
done
