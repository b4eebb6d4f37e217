#!/usr/bin/env bash
# Checks warm on this machine's NVIDIA card, beside PyTorch where python3 has it: tests on
# the card, speeds, the server under load, swaps, a killed worker, a model that does not fit.
#
#   deploy/gpu/check.sh [STEP…]
#
# It needs the driver, bash, python3, this checkout and what build.sh has put into
# deploy/gpu/bin; under 4 minutes on an H200. The table is printed and written to
# $OUT/check.md (default deploy/gpu/out), beside the logs of all steps, which are: tests
# kernels speeds torch serve live fp8 fold. Exit status 1 if something failed; a speed below its
# target is "missed" and no failure. README.md beside this file says more.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v python3 >/dev/null || { echo "check.sh needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/check.py" "$@"
