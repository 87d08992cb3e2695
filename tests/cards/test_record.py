"""The record of a run, and what is no report."""

import pytest

from hf_adner.cards.record import UNNAMED_DATA, CardOptions, ReportError, record_of_run

from .reports import OPTIONS, explanations, metrics


def test_what_the_user_says_goes_first():
    record = record_of_run(metrics(), OPTIONS, model_id="me/derma")
    assert (record.title, record.dataset, record.license) == ("Derma tagger", "Derma notes", "apache-2.0")
    own = record_of_run(metrics())
    assert (own.title, own.dataset, own.license) == ("m-dscmg trained on derma", "derma", None)
    assert record_of_run({"labels": ["a"], "model": {"architecture": "bert-crf"}}).dataset == UNNAMED_DATA


def test_a_report_given_apart_goes_before_the_runs_own():
    known = metrics(explanations={"explainers": {}})
    assert record_of_run(known).explanations == {"explainers": {}}
    assert record_of_run(known, explanations=explanations()).explanations == explanations()


def test_settings_name_no_folder_and_nothing_unset():
    settings = record_of_run(metrics()).settings
    assert settings["word_vectors"] == "medical.txt" and settings["learning_rate"] == 5e-5
    assert "early_stopping_patience" not in settings and "lexicon" not in settings


def test_settings_that_say_nothing_are_left_out():
    training, model = {"max_steps": -1}, {"architecture": "bert-crf", "encoder": "a/b", "encoder_size": 128}
    assert "max_steps" not in record_of_run(metrics(training=training)).settings
    assert "encoder_size" not in record_of_run(metrics(model=model)).settings
    own = record_of_run(metrics(training={"max_steps": 9}, model={**model, "encoder": None})).settings
    assert (own["max_steps"], own["encoder_size"]) == (9, 128)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": []}, "names no labels"),
        ({"model": {}}, "names no architecture"),
        ({"training": [1]}, "training of the report is list, expected a mapping"),
        ({"test": {"documents": 3}}, "test of the report is no evaluation report: gold, strict, boundaries missing"),
    ],
)
def test_what_is_no_report_is_refused(changes, told):
    with pytest.raises(ReportError, match=told):
        record_of_run(metrics(**changes))


def test_test_split_goes_before_validation():
    assert record_of_run(metrics()).scored_split == "test"
    assert record_of_run(metrics(test=None)).scored_split == "validation"
    assert record_of_run(metrics(test=None, validation=None)).scored_split is None
    assert set(record_of_run(metrics()).scores) == {"test", "validation"}


@pytest.mark.parametrize("wrong", [{"base_model": "/home/me/model"}, {"dataset_ids": ["a b"]}, {"energy_kwh": -1.0}])
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match="expected|must not be negative"):
        CardOptions(**wrong)
