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

# Preferences. Whole debates are held out: the same arguments recur within one.
: "${VOTES:=$data/ukp/votes.jsonl.zst}" "${PAIRS:=$data/ukp/strict.jsonl.zst}"
: "${HELD:=ban-plastic-water-bottles_no-bad-for-the-economy,ban-plastic-water-bottles_yes-emergencies-only,pro-choice-vs-pro-life_pro-choice,pro-choice-vs-pro-life_pro-life}"

# Supervised fine-tuning, of which START are the checkpoints that are averaged into the
# base: sft is the last one, sft-1 and so on are those that --keep leaves along the way.
: "${SFT_FLAGS:=--keep 3 --lr 2e-4 --batch 32 --seed 1 --data-seed 1 --epochs 1}"
: "${START:=sft}"

# Members: low-rank changes of all linear layers.
: "${MEMBERS:=4}" "${LRS:=5e-4,1e-3}" "${DROPOUTS:=0,0.05}"
: "${LORA:=16,32,q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj}"
: "${MEMBER_FLAGS:=--votes draw --schedule linear --epochs 3 --batch 32 --seed 1 --data-seed 1 --split-seed 1}"
: "${EVAL_FLAGS:=--votes majority --split-seed 1}"

: "${MODEL:=$root/cmd/warm/embedded/model}"  # where the packed model goes
: "${LOG:=$here/recipe.log}"
log=$out/recipe.log

cd "$root"
go build -o "$out/warm" ./cmd/warm

# step RESULT COMMAND… runs a command unless its result is there, and logs it.
step() {
  local result=$1 begin=$SECONDS
  shift
  if [ -e "$out/$result" ]; then
    echo "$result is there" >&2
    return
  fi
  echo "+ $*" >&2
  "$@" 2>&1 | tee "$out/step.log"
  {
    echo "$ $*" | sed "s#$out/##g; s#$data/##g; s#$root/##g"
    grep -v '^{' "$out/step.log" | tail -n 12 | sed "s#$out/##g; s#$data/##g; s#$root/##g"
    echo "$((SECONDS - begin)) s"
    echo
  } >> "$log"
}

# seen writes the pairs of the debates that are not held out.
seen() {
  zstd -dcq "$PAIRS" | grep -vE "\"group\": ?\"(${HELD//,/|})\"" > "$out/sft.tmp"
  mv "$out/sft.tmp" "$out/sft.jsonl"
  wc -l < "$out/sft.jsonl"
}

# evaluate prints how members, their average and their ensemble do on the held-out debates.
evaluate() {
  # The flags are words on purpose.
  # shellcheck disable=SC2086
  "$out/warm" eval --data "$VOTES" --holdout "group=$HELD" $EVAL_FLAGS "${adapters[@]}" > "$out/eval.tmp"
  mv "$out/eval.tmp" "$out/eval.txt"
  cat "$out/eval.txt"
}

read -ra starts <<< "$START"
# shellcheck disable=SC2086
{
  step tok/tokenizer.json "$out/warm" train tokenizer --text "$TEXT" --vocab "$VOCAB" --context "$CONTEXT" --out "$out/tok"
  step base/config.json "$out/warm" train lm --tokenizer "$out/tok" --layers "$LAYERS" --hidden "$HIDDEN" --heads "$HEADS" \
    --context "$CONTEXT" --text "$TEXT" --out "$out/base" $LM_FLAGS
  step sft.jsonl seen
  step sft/config.json "$out/warm" train sft --base "$out/base" --pairs "$out/sft.jsonl" --out "$out/sft" $SFT_FLAGS
  # Adapters are trained over the base as it is stored, in bfloat16.
  step start/config.json "$out/warm" average --dtype bfloat16 --out "$out/start" "${starts[@]/#/$out/}"
  step members/summary.json "$out/warm" train members --base "$out/start" --train "$VOTES" --holdout "group=$HELD" \
    --m "$MEMBERS" --lrs "$LRS" --dropouts "$DROPOUTS" --lora "$LORA" --out "$out/members" $MEMBER_FLAGS
}
adapters=()
for i in $(seq "$MEMBERS"); do
  adapters+=("$out/members/member-$i-adapter")
done
step eval.txt evaluate
# The card's last lines are the table.
{ cat "$here/README.md" && echo '```' && cat "$out/eval.txt" && echo '```'; } > "$out/card.md"
go run ./cmd/warm/embedded/pack --base "$out/start" --card "$out/card.md" --out "$MODEL" "${adapters[@]}"
cp "$log" "$LOG"
go build -o "$out/warm" ./cmd/warm
du -sh "$MODEL" >&2
