#!/usr/bin/env bash
# Builds on a machine with Go what check.sh wants of this checkout on a machine with a
# card, into deploy/gpu/bin, which git ignores. Under 18 MB: it is made to be copied.
#
#   deploy/gpu/build.sh
#
# The binaries are for amd64 unless GOARCH says otherwise, without debug information, and
# in one archive, as they have much in common; check.sh unpacks it with Python alone. In
# place of the weights of the embedded model, which do not compress and which no step
# reads, warm has empty files.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/deploy/gpu/bin
export CGO_ENABLED=0 GOOS=linux GOARCH=${GOARCH:-amd64}
mkdir -p "$bin"
rm -f "$bin"/*
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

: >"$work/empty"
{
  echo '{"Replace": {'
  find "$PWD/cmd/warm/embedded/model" -name '*.zst' | sort | sed 's|.*|"&": "'"$work/empty"'"|; $!s/$/,/'
  echo '}}'
} >"$work/overlay.json"

mkdir "$work/programs"
go test -c -ldflags '-s -w' -o "$work/programs/cuda.test" ./model/cuda
go test -c -ldflags '-s -w' -o "$work/programs/kernel.test" ./model/cuda/kernel
go build -overlay "$work/overlay.json" -ldflags '-s -w' -o "$work/programs/warm" ./cmd/warm
tar -C "$work/programs" -c kernel.test cuda.test warm | xz --x86 --lzma2=preset=6,dict=128MiB >"$bin/programs.tar.xz"
git rev-parse --short HEAD >"$bin/commit"
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo 'with changes' >>"$bin/commit"
du -ch "$bin"/* | tail -5
