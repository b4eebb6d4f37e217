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

# Preferences: single votes of crowd workers to learn from, their verdicts to be judged by. Each fold holds whole debates
# out, since the same arguments recur within one. What the first fold trains becomes part of the program; the others
# only say how good the recipe is: every debate is judged once by members that never saw it.
: "${VOTES:=$data/ukp/votes.jsonl.zst}" "${PAIRS:=$data/ukp/strict.jsonl.zst}"
: "${FOLDS:=
  evolution-vs-creation,human-growth-and-development-should-parents-use-spanking-as-an-option-to-discipline-,is-it-better-to-have-a-lousy-father-or-to-be-fatherless-,pro-choice-vs-pro-life
  christianity-or-atheism-,firefox-vs-internet-explorer,personal-pursuit-or-advancing-the-common-good-
  ban-plastic-water-bottles,gay-marriage-right-or-wrong,is-porn-wrong-
  if-your-spouse-committed-murder-and-he-or-she-confided-in-you-would-you-turn-them-in-,india-has-the-potential-to-lead-the-world-,should-physical-education-be-mandatory-in-schools-,william-farquhar-ought-to-be-honoured-as-the-rightful-founder-of-singapore}"

# Supervised fine-tuning. sft-1, sft-2 and so on are the checkpoints that --keep leaves along the way, sft is the last one.
# Members start at STARTS in turn (Baklava); the program's base is the last one.
: "${SFT_FLAGS:=--keep 3 --lr 1e-4 --batch 16 --seed 1 --data-seed 1 --epochs 1 --bf16}"
: "${STARTS:=sft-1 sft-2 sft-3 sft}"

# Members.
: "${MEMBERS:=4}" "${LRS:=2e-4,3e-4,4e-4}" "${DROPOUTS:=0,0.1,0.2}"
: "${MEMBER_FLAGS:=--votes soft --schedule linear --warmup 0.05 --steps 150 --batch 32 --dropout-token 0.15 --bf16 --parallel 2 --seed 1 --data-seed 1 --split-seed 1}"

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

# split writes the preferences of a fold: of the debates that it holds out (test) and of the others (train).
split() {
  local dir=$out/$1/data held="\"debate\": ?\"(${2//,/|})\""
  mkdir -p "$dir"
  zstd -dcq "$VOTES" | grep -vE "$held" > "$dir/votes-train.jsonl"
  zstd -dcq "$PAIRS" | grep -vE "$held" > "$dir/strict-train.jsonl"
  zstd -dcq "$PAIRS" | grep -E "$held" > "$dir/test.tmp"
  mv "$dir/test.tmp" "$dir/strict-test.jsonl"
  (cd "$dir" && wc -l ./*.jsonl)
}

# fold trains the members of a fold.
fold() {
  local dir=$1 starts=()
  for s in $STARTS; do
    starts+=("$out/$dir/$s")
  done
  step "$dir/data/strict-test.jsonl" split "$dir" "$2"
  # The flags are words on purpose.
  # shellcheck disable=SC2086
  step "$dir/sft/config.json" "$out/warm" train sft --base "$out/base" --pairs "$out/$dir/data/strict-train.jsonl" --out "$out/$dir/sft" $SFT_FLAGS
  # shellcheck disable=SC2086
  step "$dir/members/summary.json" "$out/warm" train members --bases "$(IFS=,; echo "${starts[*]}")" --train "$out/$dir/data/votes-train.jsonl" \
    --test "$out/$dir/data/strict-test.jsonl" --m "$MEMBERS" --lrs "$LRS" --dropouts "$DROPOUTS" --out "$out/$dir/members" $MEMBER_FLAGS
}

# judge measures members on the debates that their fold held out.
judge() {
  local dir=$out/$1
  shift
  "$out/warm" eval --json --data "$dir/data/strict-test.jsonl" --baseline-train "$dir/data/strict-train.jsonl" "$@" > "$dir/eval.tmp"
  mv "$dir/eval.tmp" "$dir/eval.json"
}

# pack fills the folder of the program's model.
pack() {
  go run ./cmd/warm/embedded/pack --base "$out/start" --card "$1" --out "$MODEL" "$out"/fold-1/members/member-*
  go build -o "$out/warm" ./cmd/warm
}

# evaluate prints how the packed members do on the debates that they never saw.
evaluate() {
  "$out/warm" eval --data "$out/fold-1/data/strict-test.jsonl" --baseline-train "$out/fold-1/data/strict-train.jsonl" embedded: > "$out/eval.tmp"
  mv "$out/eval.tmp" "$out/eval.txt"
  sed '/^ *reliability/,$d' "$out/eval.txt" >&2
}

# pool prints how members do over all folds.
pool() {
  "$out/warm" eval --pool "$(IFS=,; echo "$*")" > "$out/pool.tmp"
  mv "$out/pool.tmp" "$out/pool.txt"
  sed '/^ *group/,$d' "$out/pool.txt" >&2
}

read -rd '' -a folds <<< "$FOLDS" || true
# shellcheck disable=SC2086
{
  step tok/tokenizer.json "$out/warm" train tokenizer --text "$TEXT" --vocab "$VOCAB" --context "$CONTEXT" --out "$out/tok"
  step base/config.json "$out/warm" train lm --tokenizer "$out/tok" --layers "$LAYERS" --hidden "$HIDDEN" --heads "$HEADS" \
    --context "$CONTEXT" --text "$TEXT" --out "$out/base" $LM_FLAGS
}
step base/chat_template.jinja cp "$here/chat_template.jinja" "$out/base/chat_template.jinja"
reports=()
for i in "${!folds[@]}"; do
  dir=fold-$((i + 1))
  fold "$dir" "${folds[i]}"
  if [ "$i" = 0 ]; then
    # The program's base is stored in bfloat16.
    step start/config.json "$out/warm" average --dtype bfloat16 --out "$out/start" "$out/$dir/${STARTS##* }"
    if [ ! -e "$out/eval.txt" ]; then
      rm -rf "$out/packed"
      pack "$here/README.md"
    fi
    step eval.txt evaluate
    # Packing rounds members, by a little: what is judged is what the program holds.
    step packed/base/config.json "$out/warm" embedded "$out/packed"
    step "$dir/eval.json" judge "$dir" "$out"/packed/member-*
  else
    step "$dir/eval.json" judge "$dir" "$out/$dir"/members/member-*
  fi
  reports+=("$out/$dir/eval.json")
done
step pool.txt pool "${reports[@]}"
# The card's last lines are the reports' first tables.
{
  cat "$here/README.md"
  printf '%s\n\n' 'Over all folds, each of the 14 debates judged by members of this recipe that were trained without it:'
  echo '```' && sed '/^$/,$d' "$out/pool.txt" && echo && sed '1,/^$/d;/^$/,$d' "$out/pool.txt" && echo '```'
  printf '\n%s\n\n' 'The members that are embedded, those of the first fold, on its four debates:'
  echo '```' && sed '/^$/,$d' "$out/eval.txt" && echo '```'
} > "$out/card.md"
pack "$out/card.md"
cp "$log" "$LOG"
du -sh "$MODEL" >&2
