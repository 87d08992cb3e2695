#!/usr/bin/env bash
# Compare the costs of architectures in short settings.
#
#     scripts/benchmarks/run.sh [--before PATH]
#
# PATH is the root of another checkout: git worktree add --detach ../before COMMIT
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
for size in 256 128; do
    echo "## Streams of $size"
    "${PYTHON:-python}" "$here/architectures.py" --stream-size "$size" --turns 3 "$@"
    echo
done
