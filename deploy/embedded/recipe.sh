#!/bin/bash
# Trains the reward model that is part of the program and packs it:
#
#   deploy/embedded/recipe.sh DATA OUT
#
# DATA holds text/gutenberg-60M.txt.zst, text/openstax_ccby.txt.zst, text/peps.txt.zst,
# ukp/votes.jsonl.zst and ukp/strict.jsonl.zst; the card (README.md beside this file) says what they are.
# OUT takes every intermediate result. A step whose result is there is left out, and a
# training that was interrupted goes on, so that the same command may be given again.
# At the end cmd/warm/embedded/model holds the model and recipe.log beside this file
# says what was done; "go build ./cmd/warm" puts both into the program.
#
# Settings are variables: NAME=value deploy/embedded/recipe.sh DATA OUT
set -euo pipefail
if [ $# -ne 2 ]; then
  sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)

# The language model.
: "${TEXT:=$data/text/gutenberg-60M.txt.zst,$data/text/openstax_ccby.txt.zst,$data/text/peps.txt.zst}"
: "${VOCAB:=8192}" "${CONTEXT:=512}"
: "${LAYERS:=4}" "${HIDDEN:=256}" "${HEADS:=4}"
: "${LM_FLAGS:=--window 256 --lr 2e-3 --bf16 --batch 32 --seed 1 --data-seed 1 --epochs 1 --save-every 200 --eval-every 1000}"

# Preferences: single votes of crowd workers to learn from, their verdicts to be judged by. Whole debates are held out,
# since the same arguments recur within one.
: "${VOTES:=$data/ukp/votes.jsonl.zst}" "${PAIRS:=$data/ukp/strict.jsonl.zst}"
: "${HELD:=evolution-vs-creation,human-growth-and-development-should-parents-use-spanking-as-an-option-to-discipline-,is-it-better-to-have-a-lousy-father-or-to-be-fatherless-,pro-choice-vs-pro-life}"

# Supervised fine-tuning, of which START are the checkpoints that are averaged into the
# base: sft is the last one, sft-1 and so on are those that --keep leaves along the way.
: "${SFT_FLAGS:=--keep 3 --lr 2e-4 --batch 32 --seed 1 --data-seed 1 --epochs 1 --bf16}"
: "${START:=sft}"

# Members.
: "${MEMBERS:=4}" "${LRS:=2e-4,3e-4,4e-4}" "${DROPOUTS:=0,0.05,0.1}"
: "${MEMBER_FLAGS:=--votes soft --schedule linear --warmup 0.05 --steps 150 --batch 32 --bf16 --parallel 2 --seed 1 --data-seed 1 --split-seed 1}"
: "${EVAL_FLAGS:=--baseline-train $out/data/strict-train.jsonl}"

: "${MODEL:=$root/cmd/warm/embedded/model}"  # where the packed model goes
: "${LOG:=$here/recipe.log}"
log=$out/recipe.log

cd "$root"
go build -o "$out/warm" ./cmd/warm

# step RESULT COMMAND… runs a command unless its result is there, and logs it with the end of what it says to people.
step() {
  local result=$1 begin=$SECONDS
  shift
  if [ -e "$out/$result" ]; then
    echo "$result is there" >&2
    return
  fi
  echo "+ $*" >&2
  "$@" 2>&1 > "$out/step.out" | tee "$out/step.log" >&2
  {
    echo "$ $*"
    tail -n 24 "$out/step.log"
    echo "$((SECONDS - begin)) s"
    echo
  } | sed "s#$out/##g; s#$data/##g; s#$root/##g" >> "$log"
}

# split writes the preferences of the debates that are held out (near) and of the others (train).
split() {
  local held="\"debate\": ?\"(${HELD//,/|})\""
  mkdir -p "$out/data"
  zstd -dcq "$VOTES" | grep -vE "$held" > "$out/data/votes-train.jsonl"
  zstd -dcq "$PAIRS" | grep -vE "$held" > "$out/data/strict-train.jsonl"
  zstd -dcq "$PAIRS" | grep -E "$held" > "$out/data/near.tmp"
  mv "$out/data/near.tmp" "$out/data/strict-near.jsonl"
  wc -l "$out"/data/*.jsonl
}

# pack fills the folder of the program's model.
pack() {
  go run ./cmd/warm/embedded/pack --base "$out/start" --card "$1" --out "$MODEL" "${members[@]}"
  go build -o "$out/warm" ./cmd/warm
}

# evaluate prints how the packed members, their average and their ensemble do on the held-out debates.
evaluate() {
  # The flags are words on purpose.
  # shellcheck disable=SC2086
  "$out/warm" eval --data "$out/data/strict-near.jsonl" $EVAL_FLAGS embedded: > "$out/eval.tmp"
  mv "$out/eval.tmp" "$out/eval.txt"
  sed '/^$/q' "$out/eval.txt" >&2
}

read -ra starts <<< "$START"
# shellcheck disable=SC2086
{
  step tok/tokenizer.json "$out/warm" train tokenizer --text "$TEXT" --vocab "$VOCAB" --context "$CONTEXT" --out "$out/tok"
  step base/config.json "$out/warm" train lm --tokenizer "$out/tok" --layers "$LAYERS" --hidden "$HIDDEN" --heads "$HEADS" \
    --context "$CONTEXT" --text "$TEXT" --out "$out/base" $LM_FLAGS
  step base/chat_template.jinja cp "$here/chat_template.jinja" "$out/base/chat_template.jinja"
  step data/strict-near.jsonl split
  step sft/config.json "$out/warm" train sft --base "$out/base" --pairs "$out/data/strict-train.jsonl" --out "$out/sft" $SFT_FLAGS
  # Members begin at the base as it is stored, in bfloat16.
  step start/config.json "$out/warm" average --dtype bfloat16 --out "$out/start" "${starts[@]/#/$out/}"
  step members/summary.json "$out/warm" train members --base "$out/start" --train "$out/data/votes-train.jsonl" \
    --test "$out/data/strict-near.jsonl" --m "$MEMBERS" --lrs "$LRS" --dropouts "$DROPOUTS" --out "$out/members" $MEMBER_FLAGS
}
members=()
for i in $(seq "$MEMBERS"); do
  members+=("$out/members/member-$i")
done
if [ ! -e "$out/eval.txt" ]; then
  pack "$here/README.md"
fi
step eval.txt evaluate
# The card's last lines are the report's first table.
{ cat "$here/README.md" && echo '```' && sed '/^$/,$d' "$out/eval.txt" && echo '```'; } > "$out/card.md"
pack "$out/card.md"
cp "$log" "$LOG"
du -sh "$MODEL" >&2
