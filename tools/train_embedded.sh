#!/bin/sh
# Remake the embedded stack from nothing: pairs, generator with refiner, planner, critic, verifier, and their figures.
#   sh tools/train_embedded.sh [RUNS]      (default runs/embedded)
# Every part goes on where it stopped. The sizes below are meant for a GPU and many cores; two CPU cores train some 15
# planner examples, 25 of the critic's, 40 of the generator's, 190 of its refiner's and 60 of the verifier's a second, one
# at a time. Sizes are environment variables: PAIRS, CROWDS, LOOK, PLANNER, CRITIC, VERIFIER, GENERATOR, REFINER, WALKS,
# LONG (walks for the refiner), CHAINED, PAINTINGS; WORKERS are the processes that make data (default: all but one core); COMPILE= leaves compiling out.
# Nothing is copied into the package: see the last lines.
set -eu
runs="${1:-runs/embedded}"
cli="${ITK_EMBODIED:-.venv/bin/itk-embodied}"
python="${PYTHON:-.venv/bin/python}"
workers="${WORKERS:-$(($(nproc) > 1 ? $(nproc) - 1 : 1))}"
data="$runs/data"
compile="${COMPILE---compile}"
mkdir -p "$runs"

say() { printf '\n== %s\n' "$*" >&2; }

say "Pairs from the simulator"
"$cli" train data pairs --out "$data/pairs" --pairs "${PAIRS:-60000}" --workers "$workers"
"$cli" train data pairs --out "$data/pairs" --pairs "${CROWDS:-10000}" --first 1000 --kind "into a crowd" \
    --kind "out of a crowd" --workers "$workers"
say "Generator"
"$cli" train generator --data "$data/pairs" --out "$runs/generator-pairs" --samples "${GENERATOR:-1500000}" \
    --workers "$workers"
say "Walks, painted by it, and the generator on them"
"$cli" train data walks --out "$data/walks" --checkpoint "$runs/generator-pairs/pipeline" --walks "${WALKS:-20000}" \
    --workers "$workers"
"$cli" train generator --data "$data/pairs" --walks "$data/walks" --start "$runs/generator-pairs/pipeline" \
    --out "$runs/generator" --samples "${CHAINED:-500000}" --workers "$workers"
say "What it paints, for its refiner"
paint() { # CHECKPOINT OUT
    for split in train held-out; do
        "$python" -m itk_embodied.training.critic_generated --data "$data/pairs" --checkpoint "$1" --out "$2" \
            --split "$split" --count "$([ $split = train ] && echo "${PAINTINGS:-20000}" || echo 1000)"
    done
}
paint "$runs/generator/pipeline" "$data/painted"
say "Long walks, painted by it, for its refiner: edits over edits are what chains are made of"
"$cli" train data walks --out "$data/walks-long" --checkpoint "$runs/generator/pipeline" --walks "${LONG:-4000}" \
    --more-share 1 --most-more 25 --rough --workers "$workers"
say "Refiner: the generator's second look"
"$cli" train refiner --generator "$runs/generator/pipeline" --data "$data/pairs" --generated "$data/painted" \
    --walks "$data/walks-long" --out "$runs/refiner" --samples "${REFINER:-2500000}" --workers "$workers"
say "Looking: what planner and critic have in common"
"$cli" train tiny look --data "$data/pairs" --out "$runs/look" --examples "${LOOK:-100000}" --workers "$workers" $compile
say "Planner"
"$cli" train tiny planner --data "$data/pairs" --start "$runs/look/checkpoint" --out "$runs/planner" \
    --examples "${PLANNER:-200000}" --workers "$workers" $compile
say "What the generator paints now, for the critic"
paint "$runs/refiner/pipeline" "$data/generated"
say "Verifier: the critic's second opinion"
"$cli" train verifier --generator "$runs/refiner/pipeline" --data "$data/pairs" --generated "$data/generated" \
    --walks "$data/walks" --out "$runs/verifier" --samples "${VERIFIER:-300000}" --workers "$workers"
say "Critic"
"$cli" train tiny critic --data "$data/pairs" --start "$runs/look/checkpoint" --out "$runs/critic" \
    --examples "${CRITIC:-200000}" --workers "$workers" $compile
say "Figures"
"$python" -m itk_embodied.training.planner_eval --data "$data/pairs" --checkpoint "$runs/planner/checkpoint" --batched \
    --tasks 400 --json "$runs/planner.json"
"$python" -m itk_embodied.training.critic_eval --data "$data/pairs" --generated "$data/generated" \
    --rollouts "$data/rollouts" --walks "$data/walks" --checkpoint "$runs/critic/checkpoint" --pairs 400 \
    --looks 3 --verifier "$runs/verifier/checkpoint" --weight 4 --threshold 0.40 --json "$runs/critic.json"
cat >"$runs/stack.toml" <<TOML
name = "remade"

[planner]
kind = "qwen3vl"
checkpoint = "$(realpath "$runs")/planner/checkpoint"
prompt = "embedded-planner"
max_new_tokens = 1024
max_think_chars = 800

[generator]
kind = "composite-flow"
checkpoint = "$(realpath "$runs")/refiner/pipeline"

[critic]
kind = "panel"
accept_threshold = 0.40

[[critic.members]]
kind = "qwen3vl"
checkpoint = "$(realpath "$runs")/critic/checkpoint"
prompt = "embedded-critic"
max_new_tokens = 512
max_think_chars = 600
looks = 3

[[critic.members]]
kind = "edit-verifier"
checkpoint = "$(realpath "$runs")/verifier/checkpoint"
weight = 4.0

[pipeline]
max_attempts = 5
TOML
say "Use it: $cli demo --stack $runs/stack.toml; measure it: $cli eval --suite single --episodes 100 --stack $runs/stack.toml"
