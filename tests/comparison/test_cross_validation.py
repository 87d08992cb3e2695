"""Cross-validation by document, with finished folds skipped."""

import json

import pytest

from hf_adner.comparison.cross_validation import (
    RESULTS_FILE,
    TABLE_FILE,
    CrossValidationArguments,
    cross_validate,
    cross_validation_table,
)

from ..corpora import quick, tiny_model, write_corpus


def test_every_document_is_held_out_once_and_finished_folds_are_kept(tmp_path):
    arguments = write_corpus(tmp_path)
    folds = CrossValidationArguments(["bilstm-crf"], folds=2)
    results = cross_validate(folds, arguments, tiny_model(), quick(tmp_path / "folds", max_steps=2))
    assert [fold["test_documents"] for fold in results["bilstm-crf"]] == [20, 20]
    table = (tmp_path / "folds" / TABLE_FILE).read_text(encoding="utf-8")
    assert table == cross_validation_table(results) and "| bilstm-crf | 2 |" in table
    assert json.loads((tmp_path / "folds" / RESULTS_FILE).read_text(encoding="utf-8")).keys() == results.keys()

    first = tmp_path / "folds" / "bilstm-crf" / "fold-0" / "scores.json"
    marked = json.loads(first.read_text(encoding="utf-8")) | {"mark": True}
    first.write_text(json.dumps(marked), encoding="utf-8")
    again = cross_validate(folds, arguments, tiny_model(), quick(tmp_path / "folds", max_steps=2))
    assert again["bilstm-crf"][0]["mark"] and again["bilstm-crf"][1] == results["bilstm-crf"][1]
    for options, told in (({"seed": 7}, "seed"), ({"head_learning_rate": 1e-4}, "training")):
        with pytest.raises(ValueError, match=rf"other arguments \({told}\)"):
            cross_validate(folds, arguments, tiny_model(), quick(tmp_path / "folds", **{"max_steps": 2, **options}))
    path = tmp_path / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"Disease"', '"Finding"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"other arguments \(documents\)"):
        cross_validate(folds, arguments, tiny_model(), quick(tmp_path / "folds", max_steps=2))


def test_the_table_has_mean_and_sample_deviation():
    folds = [{"strict": {"precision": p, "recall": 0.5, "f1": p}} for p in (0.5, 0.7)]
    row = cross_validation_table({"bert-crf": folds}).splitlines()[2]
    assert row == "| bert-crf | 2 | 60.00 ± 14.14 | 50.00 ± 0.00 | 60.00 ± 14.14 | 50.00 70.00 |"


def test_more_folds_than_documents_is_refused(tmp_path):
    arguments = write_corpus(tmp_path, train=4, test=2)
    with pytest.raises(ValueError, match="number of groups"):
        cross_validate(CrossValidationArguments(["bilstm-crf"], 7), arguments, tiny_model(), quick(tmp_path / "folds"))
