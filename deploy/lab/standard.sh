#!/bin/bash
# Runs the experiments of docs/lab/plan.md, at size standard, and goes on where an
# earlier call ended: what is measured is left alone, a member that was being trained
# loses 25 steps at most. End it at any time (Ctrl-C, SIGTERM, power).
#
#   WARM_DATA=/data LAB=/lab BASES=/bases deploy/lab/standard.sh [EXPERIMENT …]
#
#   WARM_DATA  directory of the data sets ("warm lab --help" says what is in it)
#   LAB        directory of the laboratories, one a base: LAB/minilm, LAB/smollm2
#   BASES      directory of the bases: minilm-l6 (all-MiniLM-L6-v2 without 1_Pooling, so
#              that the head reads the pooler's output) and smollm2-135m-instruct
#   WORKERS    members that learn side by side, each by one thread; default 1. No bit
#              depends on it. Two of SmolLM2 hold 10 GB, and Go lets as much again
#              be garbage where there is memory: GOMEMLIMIT=13GiB keeps it below 16
#   WARM       the program; default warm
#
# Members open in transformers, and the averages in the tables are those that a server makes:
# served.sh compares both.
#
# An EXPERIMENT is BASE/NAME, as in minilm/members; default all, in the plan's order.
set -euo pipefail
: "${WARM_DATA:?set WARM_DATA to the directory of the data sets}"
: "${LAB:?set LAB to a directory for what is made}"
: "${BASES:?set BASES to the directory of the bases}"
export WARM_DATA
warm="${WARM:-warm}" workers="${WORKERS:-1}"
[ "$#" -gt 0 ] || set -- minilm/members minilm/corruption minilm/connectivity minilm/shift \
	minilm/soups minilm/curve minilm/cost minilm/bon smollm2/members smollm2/cost minilm/rl minilm/pareto
failed=0
for one; do
	base="${one%%/*}" name="${one#*/}"
	case "$base" in
	minilm) dir="$BASES/minilm-l6" ;;
	smollm2) dir="$BASES/smollm2-135m-instruct" ;;
	*) echo "standard.sh: $one: want minilm/NAME or smollm2/NAME" >&2; exit 2 ;;
	esac
	if [ -e "$dir/1_Pooling" ]; then
		echo "standard.sh: $dir has a 1_Pooling, by which the head would be read: take a copy without it" >&2
		exit 2
	fi
	more=()
	case "$name" in # SmolLM2 answers, and judges
	bon | rl) more=(--policy "$BASES/smollm2-135m-instruct" --control "$BASES/smollm2-135m-instruct") ;;
	esac
	# 130: it was ended and goes on when this is run again. Another failure stops no other experiment.
	"$warm" lab "$name" --size standard --base "$dir" --out "$LAB/$base" --workers "$workers" ${more[@]+"${more[@]}"} || {
		code=$?
		[ "$code" -ne 130 ] || exit 130
		failed=1
	}
done
exit "$failed"
