#!/usr/bin/env bash
# Run the tests that take seconds (-m slow: the others). Arguments are passed to pytest.
# PYTHON, VENV and WHEELHOUSE: see environment.sh. HF_ADNER_DATA: folder of real corpora for the tests marked data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
ensure_environment test
# Two workers, one thread each: more threads than cores make small tensors slower, not faster.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
workers=()
"$VENV/bin/python" -c 'import xdist' 2>/dev/null && workers=(-n 2 --dist worksteal)
exec "$VENV/bin/python" -m pytest ${workers[@]+"${workers[@]}"} -m "not slow" "$@"
