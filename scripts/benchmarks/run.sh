#!/usr/bin/env bash
# Print the tables of costs in short settings, on made-up texts and random encoders: ratios, equal results checked first.
#
#     scripts/benchmarks/run.sh [--model CHECKPOINT] [--before PATH]
#
# CHECKPOINT (that of `adner demo`, say) is also exported and compared with its exports. PATH is the root of another
# checkout, whose m-dscmg takes part: git worktree add --detach ../before COMMIT. After each table its processor time.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
model="" before=()
while [ $# -gt 0 ]; do
    case $1 in
    --model) model=${2:?--model needs a checkpoint} ;;
    --before) before=(--before "${2:?--before needs a folder}") ;;
    *)
        echo "unknown option $1; expected --model CHECKPOINT or --before PATH" >&2
        exit 2
        ;;
    esac
    shift 2
done
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
TIMEFORMAT='(%U s of processor time)'

table() { # heading, script, options
    printf '## %s\n\n' "$1"
    { time "${PYTHON:-python}" "$here/$2" "${@:3}" 2>&3; } 3>&2 2>&1
    echo
}

table "CRF" crf.py --repeats 3 --threads 1
table "Lexicon" lexicon.py --repeats 2 --characters 100000
table "Training step" training_step.py --batch 8 --repeats 2 --threads 1
table "Nested entities" tagging.py --layers 1 --repeats 3
table "Pipelines" pipeline.py --sentences 100 --batch-sizes 1 8 --steps 20 --repeats 2 --threads 1
table "Explanations" explanations.py --layers 2 --size 256 --samples 20 --repeats 2 --threads 1
table "Architectures" architectures.py --turns 2 ${before[@]+"${before[@]}"}
if [ -n "$model" ]; then
    table "Exports" export.py "$model" --documents 40 --rounds 2
fi
