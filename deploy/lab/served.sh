#!/bin/bash
# Serves what a laboratory trained and compares: each member's rewards with transformers', and the
# average's with those of a model whose weights transformers' were averaged to by torch. Prints the
# revision, which is the one in the laboratory's table, and fails beyond 1e-4 (relative to rewards
# larger than 1).
#
#   WARM=warm PYTHON=/venv/bin/python deploy/lab/served.sh TRAINING SET [PAIRS]
#
#   TRAINING  a directory of LAB/BASE/runs, with member-1, member-2, …
#   SET       a file of LAB/BASE/sets: pairs in JSON Lines
#   PAIRS     of it, the first so many; default 50
#   WARM      the program; default warm
#   PYTHON    of an environment with torch and transformers
set -euo pipefail
: "${PYTHON:?set PYTHON to a python with torch and transformers}"
training="${1:?which training? see the head of this file}" set="${2:?which set?}" pairs="${3:-50}"
warm="${WARM:-warm}"
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
members=$(printf '%s\n' "$training"/member-* | grep -E '/member-[0-9]+$' | sort -V | paste -sd,)

url() { # where a server in that mode, wa or ens, is ready
	until grep -qs 'model is live' "$dir/$1"; do
		[ -n "$(jobs -rp)" ] || { cat "$dir/$1" >&2; exit 1; }
		sleep 0.2
	done
	sed -n 's/.*listening addr=\(http[^ ]*\).*/\1/p' "$dir/$1"
}
for mode in wa ens; do
	"$warm" serve --addr 127.0.0.1:0 --device cpu --mode $mode --model "lab=$members" 2>"$dir/$mode" &
done
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 TOKENIZERS_PARALLELISM=false
"$PYTHON" "$(dirname "$0")/served.py" "$(url wa)" "$(url ens)" "$members" "$set" "$pairs"
