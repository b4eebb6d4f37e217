#!/usr/bin/env bash
# Builds the images of a release: NAME:VERSION, the static binary alone, and NAME:VERSION-cuda, with the
# C library by which NVIDIA's driver is loaded, each for amd64 and arm64.
#
#   deploy/images/build.sh NAME [VERSION]     VERSION is the commit's tag, else its hash
#
# Without more both go to dist/ as OCI archives, an index of both platforms each. PUSH=1 pushes them to
# where NAME says; PLATFORMS=linux/amd64 LOAD=1 leaves them with this machine's engine. It wants Docker's
# buildx, with a builder that can do several platforms (docker buildx create --use); nothing is emulated.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 1 ] && [ $# -le 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
name=$1
commit=$(git rev-parse HEAD)
version=${2:-$(git describe --tags --exact-match 2>/dev/null || git rev-parse --short=12 HEAD)}
[[ $version =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || { echo "build.sh: $version cannot be a tag" >&2; exit 2; }
[ -z "$(git status --porcelain)" ] || { echo "build.sh: what is not committed would be in the image: commit or remove it first" >&2; exit 1; }
platforms=${PLATFORMS:-linux/amd64,linux/arm64}
mkdir -p dist
for target in static cuda; do
	tag=$version
	[ "$target" = static ] || tag=$version-$target
	if [ -n "${PUSH:-}" ]; then
		output=(--push)
	elif [ -n "${LOAD:-}" ]; then
		output=(--load)
	else
		output=(--output "type=oci,dest=dist/$(basename "$name")-$tag.tar")
	fi
	# The commit's own time, so that the same sources give the same labels and binary.
	docker buildx build --platform "$platforms" --target "$target" --tag "$name:$tag" \
		--build-arg "VERSION=$version" --build-arg "COMMIT=$commit" --build-arg "TIME=$(git log -1 --format=%cI)" \
		"${output[@]}" .
	echo "$name:$tag for $platforms"
done
