#!/usr/bin/env bash
# Runs the clients of other stacks, the real ones, against warm serve, one step or
# call each, compares their rewards with the model's own, and prints a table:
#
#   deploy/stacks/run.sh [light|trl|rl]...
#
# light are API clients (1 GB), trl is TRL with PyTorch (6 GB), rl are the clients of
# whole training stacks, whose engines need a GPU and are left out (7 GB); all three
# unless named. Each is a virtual environment in $STACKS_DIR (default
# /tmp/warm-stacks), made once, which may be removed when its rows are done; PYTHON
# makes them (default python3, 3.11 or later). What does not install is skipped, and
# the table says why. Half an hour on two cores the first time, ten minutes after
# that. It fails when a reward differs.
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1 LITELLM_LOCAL_MODEL_COST_MAP=True

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${STACKS_DIR:-/tmp/warm-stacks}
mkdir -p "$dir"
[ $# -gt 0 ] || set -- light trl rl

say() { echo "$*" >&2; }

# get NAME ARGUMENT... installs into an environment.
get() { "$dir/$1/bin/pip" install -q "${@:2}" >"$dir/$1-pip.log" 2>&1; }

# environment NAME PACKAGE... makes a virtual environment, or goes on with one that
# was interrupted; a package that does not install costs itself alone. A package
# behind -- comes without what it depends on.
environment() {
  local name=$1 deps=""
  shift
  [ ! -e "$dir/$name/installed" ] || return 0
  say "installing $name: $*"
  [ -x "$dir/$name/bin/pip" ] || "${PYTHON:-python3}" -m venv "$dir/$name"
  for package in "$@"; do
    if [ "$package" = -- ]; then
      deps=--no-deps
    elif ! get "$name" $deps "$package" && ! get "$name" $deps --ignore-requires-python "$package"; then
      say "skipped: $package does not install: $(tail -1 "$dir/$name-pip.log")"
    fi
  done
  touch "$dir/$name/installed"
}

for name in "$@"; do
  case $name in
  light) environment light openai litellm cohere langchain-openai langchain-cohere infinity_client numpy 'tritonclient[http]' huggingface_hub verifiers ;;
  trl) environment trl torch transformers trl ;;
  # Their engines (vLLM, SGLang, DeepSpeed, Megatron) and what these pin stay away.
  rl) environment rl torch 'transformers<5' 'datasets<4.8.5' accelerate 'peft<0.21' ray omegaconf hydra-core aiohttp requests pandas scipy \
    msgspec tensordict codetiming pylatexenc dacite orjson fastapi itsdangerous openai uvicorn opentelemetry-api json_repair pillow rich modelscope \
    -- openrlhf verl llamafactory ms_swift nemo-gym ;;
  *) say "run.sh: no environment $name: want light, trl or rl"; exit 2 ;;
  esac
done

say "building and starting warm"
(cd "$root" && CGO_ENABLED=0 go build -o "$dir/warm" ./cmd/warm)
rm -rf "$dir/demo"
"$dir/warm" embedded "$dir/demo" >/dev/null
export WARM_DEMO=$dir/demo
"$dir/warm" serve --addr 127.0.0.1:0 --any-model-name 2>"$dir/serve.log" &
server=$!
trap 'kill $server' EXIT
url=
for _ in $(seq 100); do
  url=$(sed -n 's/.*msg=listening addr=\(http[^ ]*\).*/\1/p' "$dir/serve.log")
  [ -z "$url" ] || ! curl -sf "$url/readyz" >/dev/null || break
  sleep 0.2
done
[ -n "$url" ] || { cat "$dir/serve.log" >&2; exit 1; }

# Each row runs in a process of its own: what one stubs another may need.
: >"$dir/rows.jsonl"
for name in "$@"; do
  while read -r row; do
    say "$row"
    # Trainers load nothing from a hub; huggingface_hub itself must reach the server.
    offline=1
    [ "$name" != light ] || offline=0
    HF_HUB_OFFLINE=$offline timeout 300 "$dir/$name/bin/python" "$here/clients.py" "$url" "$row" </dev/null >"$dir/row.out" 2>"$dir/row.err" || true
    if grep '^{"row":' "$dir/row.out" >>"$dir/rows.jsonl"; then continue; fi
    printf '{"row": "%s", "outcome": "FAILED", "why": "it ended or was ended after 300 s"}\n' "$row" >>"$dir/rows.jsonl"
  done < <("${PYTHON:-python3}" "$here/clients.py" --list "$name")
done
"${PYTHON:-python3}" "$here/clients.py" --table "$dir/rows.jsonl"
