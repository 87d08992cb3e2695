#!/usr/bin/env bash
# Run the test suites of transformers, pytorch-crf and seqeval over this package's classes; docs/peer-suites.md says what
# fails and why. Their source distributions are taken from the configured package index into a temporary folder, which is
# removed; nothing of them is kept.
#   scripts/peers.sh [suite ...]      suites: models tokenizer crf seqeval (default: all)
#   PYTORCH_CRF_TESTS=test_crf.py     pytorch-crf's test file of a clone, which its source distribution lacks
set -uo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() {  # NAME: unpack the source distribution of the installed version
    local version
    version=$(python -c "import importlib.metadata as m; print(m.version('$1'))") || return 1
    python -m pip download -q --no-deps --no-binary :all: --dest "$work/sdist" "$1==$version" || return 1
    tar -xzf "$work"/sdist/"${1//-/?}"-"$version".tar.gz -C "$work"
    mv "$work"/"${1//-/?}"-"$version" "$work/$1"
}

run() {  # TITLE FOLDER TESTS [PYTEST OPTION ...]: run a suite and name its failures
    echo "== $1"
    (cd "$work/$2" && PYTHONPATH="$work/$2:$here/scripts/peers:$here:$work/site" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
        python -m pytest -q -p no:cacheprovider --rootdir "$work" -c /dev/null -W ignore --tb=line -rf "${@:4}" $3) || true
}

for suite in "${@:-models tokenizer crf seqeval}"; do for name in $suite; do
    case $name in
    models | tokenizer)
        [ -d "$work/transformers" ] || fetch transformers || exit 1
        python -m pip install -q --target "$work/site" parameterized || exit 1
        # what the source distribution leaves out, and the fixture that the tokenizer's suite reads
        mkdir -p "$work"/transformers/tests/{exporters,generation,fixtures}
        echo "class ExportTesterMixin: pass" > "$work/transformers/tests/exporters/test_export.py"
        echo "class GenerationTesterMixin: pass" > "$work/transformers/tests/generation/test_utils.py"
        echo "患者面部红斑伴瘙痒。" > "$work/transformers/tests/fixtures/sample_text.txt"
        touch "$work"/transformers/tests/{,exporters/,generation/}__init__.py
        cp "$here/scripts/peers/transformers_$name.py" "$work/transformers/tests/test_adner_$name.py"
        run "transformers: $name" transformers "tests/test_adner_$name.py" ;;
    crf)
        if [ -z "${PYTORCH_CRF_TESTS:-}" ]; then echo "== pytorch-crf: skipped, set PYTORCH_CRF_TESTS"; continue; fi
        mkdir -p "$work/crf" && cp "$PYTORCH_CRF_TESTS" "$work/crf/test_crf.py"
        run pytorch-crf crf test_crf.py -p peer_crf ;;
    seqeval)
        fetch seqeval || exit 1
        # the two left out compare seqeval's lenient scores with a Perl script, for minutes
        run seqeval seqeval/tests "test_metrics.py test_v1.py" -p peer_seqeval \
            -k "not by_ground_truth and not statistical_tests" ;;
    *) echo "unknown suite $name; expected models, tokenizer, crf or seqeval" >&2; exit 2 ;;
    esac
done; done
