#!/usr/bin/env bash
# Trains a small model on made-up notes, scores it and tags a sample note. Arguments go to `adner demo`.
# PYTHON, VENV and WHEELHOUSE: see environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
ensure_environment
exec "$VENV/bin/adner" demo "$@"
