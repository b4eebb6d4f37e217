#!/usr/bin/env bash
# Runs the tests that need PyTorch with TRL, or Ray, and prints what they saw:
#
#   deploy/members/trl/run.sh [trl|ray]...
#
# trl trains a plan's members by TRL's RewardTrainer and compares what is served of them
# with transformers' scores (3 GB to install, ten minutes on two cores); ray goes through
# a fleet's life on a cluster of this machine (0.5 GB, two minutes); both unless named. Each
# is a virtual environment in $HEAVY_DIR (default /tmp/warm-heavy), made once; PYTHON makes
# them (default python3, 3.10 or later). WARM_TRL_PYTHON and WARM_RAY_PYTHON name others.
# It fails when a test fails or is skipped.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
dir=${HEAVY_DIR:-/tmp/warm-heavy}
mkdir -p "$dir"
[ $# -gt 0 ] || set -- trl ray

# environment NAME PACKAGE... makes a virtual environment and prints its Python.
environment() {
	local name=$1
	shift
	if [ ! -e "$dir/$name/done" ]; then
		echo "installing $name: $*" >&2
		"${PYTHON:-python3}" -m venv "$dir/$name"
		"$dir/$name/bin/pip" install -q "$@" >&2
		touch "$dir/$name/done"
	fi
	echo "$dir/$name/bin/python"
}

# wants PYTHON MODULE... says what an environment of the caller's lacks, before minutes are spent.
wants() {
	"$1" - "${@:2}" <<-'PY'
		import importlib.util, sys
		missing = [m for m in sys.argv[1:] if importlib.util.find_spec(m) is None]
		if missing:
		    sys.exit("run.sh: %s has no %s: install that there, or leave WARM_TRL_PYTHON and WARM_RAY_PYTHON unset" % (sys.executable, ", ".join(missing)))
	PY
}

# tests NAMES runs tests of the commands, none of which may be skipped.
tests() {
	local log="$dir/test.log"
	(cd "$root" && CGO_ENABLED=0 go test -tags integration -count=1 -v -timeout 40m -run "$1" ./cmd/warm) | tee "$log"
	! grep -q -- '--- SKIP' "$log" || { echo "a test was skipped" >&2; return 1; }
}

for name in "$@"; do
	case $name in
	trl)
		[ -n "${WARM_TRL_PYTHON:-}" ] || WARM_TRL_PYTHON=$(environment trl torch 'transformers>=5' 'trl>=1.16' peft)
		export WARM_TRL_PYTHON
		wants "$WARM_TRL_PYTHON" torch transformers trl peft accelerate
		tests '^(TestMembersOfTRLAverage|TestMembersOfTRLGoOnWhereTheyWereStopped)$'
		;;
	ray)
		[ -n "${WARM_RAY_PYTHON:-}" ] || WARM_RAY_PYTHON=$(environment ray 'ray[serve]')
		export WARM_RAY_PYTHON
		wants "$WARM_RAY_PYTHON" ray ray.serve
		tests '^TestRayStartsWatchesAndScalesProcesses$'
		;;
	*) echo "run.sh: no tests $name: want trl or ray" >&2; exit 2 ;;
	esac
done
