#!/bin/bash
# Measures warm rl beside transformers and TRL, on one machine in one run, and prints a table:
# tokens a second of generation against transformers' generate, and one GRPO step (answers,
# the reference's likelihoods, one update of all weights) against TRL's GRPOTrainer. Both have the
# same weights in float32, prompts, number and length of answers, and threads. Processes take
# turns; a figure is the quickest of all rounds, in wall time and in processor time, which other
# work on the machine disturbs less.
#
#   BASE=/bases/smollm2-135m-instruct PYTHON=/venv/bin/python deploy/lab/trl_speed.sh
#
#   BASE     a causal language model as transformers reads it
#   PYTHON   of an environment with torch, transformers and trl
#   PROMPTS  a file of JSON Lines with a "prompt"; default four of a debate's title and side
#   ANSWERS  to each prompt; default 8
#   TOKENS   of an answer; default 32. No answer ends before: the end token of the copy that both
#            read is one that is never drawn
#   THREADS  default 1
#   PASSES   processes of each, in turn; default 2
#   ROUNDS   measured rounds of each, behind one that warms up; default 2
#
# It wants 10 GB of memory and, on two quiet cores, less than ten minutes.
set -euo pipefail
: "${BASE:?set BASE to the directory of a causal language model}"
: "${PYTHON:?set PYTHON to a python with torch, transformers and trl}"
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export ANSWERS="${ANSWERS:-8}" TOKENS="${TOKENS:-32}" ROUNDS="${ROUNDS:-2}" POLICY="$dir/policy"
threads="${THREADS:-1}" peer="$root/deploy/lab/trl_speed.py"
if [ -z "${PROMPTS:-}" ]; then
	PROMPTS="$dir/prompts.jsonl"
	cat > "$PROMPTS" <<-'END'
		{"prompt": "Ban plastic water bottles?\nNo, bad for the economy\n"}
		{"prompt": "Ban plastic water bottles?\nYes, emergencies only\n"}
		{"prompt": "Should physical education be mandatory?\nYes\n"}
		{"prompt": "Should physical education be mandatory?\nNo\n"}
	END
fi
export PROMPTS HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
"$PYTHON" "$peer" prepare --base "$BASE" --out "$POLICY"
(cd "$root" && CGO_ENABLED=0 go test -c -o "$dir/rl.test" ./trainer/rl)
for what in generate step; do
	for _ in $(seq "${PASSES:-2}"); do
		WARM_RL_SPEED=$what GOMAXPROCS=$threads "$dir/rl.test" -test.run 'TestSpeedBesideTRL$' -test.timeout 60m \
			| grep '^{' >> "$dir/$what-warm"
		OMP_NUM_THREADS=$threads "$PYTHON" "$peer" $what --model "$POLICY" --prompts "$PROMPTS" --answers "$ANSWERS" \
			--tokens "$TOKENS" --rounds "$ROUNDS" --threads "$threads" --out "$dir/trl" 2> "$dir/log" \
			| grep '^{"versions' >> "$dir/$what-peer" || { cat "$dir/log" >&2; exit 1; }
	done
done
"$PYTHON" "$peer" table --out "$dir" --answers "$ANSWERS" --tokens "$TOKENS" --threads "$threads" --prompts "$PROMPTS"
