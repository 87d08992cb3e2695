"""The quickstart, on a fraction of its corpus."""

import re
from dataclasses import replace

import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.training import run as demo
from hf_adner.training.run import (
    METRICS_FILE,
    REPORT_FILE,
    SAMPLE_NOTE,
    checkpoint_to_resume,
    demo_arguments,
    entity_lines,
    run_demo,
    write_report,
)


@pytest.fixture
def fraction(monkeypatch):
    """Make the demo train for two steps on a few documents."""
    dataset, model, _ = demo_arguments("unused")
    dataset.max_train_documents = dataset.max_validation_documents = dataset.max_test_documents = 8

    def arguments(output, seed=42):
        training = replace(demo_arguments(output, seed)[2], max_steps=2, use_cpu=True, disable_tqdm=True)
        return dataset, replace(model, encoder_size=32, encoder_layers=1), training

    monkeypatch.setattr(demo, "demo_arguments", arguments)


def test_the_demo_leaves_checkpoint_scores_and_report(fraction, tmp_path):
    metrics = run_demo(str(tmp_path / "run"))
    assert metrics["documents"] == {"train": 8, "validation": 8, "test": 8}
    assert (tmp_path / "run" / METRICS_FILE).exists()
    page = (tmp_path / "run" / REPORT_FILE).read_text(encoding="utf-8")
    assert SAMPLE_NOTE in re.sub("<[^>]*>", "", page)
    note = write_report(str(tmp_path / "run"))
    assert note.text == SAMPLE_NOTE and len(entity_lines(note)) == len(note.entities)


def test_an_interrupted_demo_goes_on(fraction, tmp_path):
    run_demo(str(tmp_path / "run"))
    (tmp_path / "run" / METRICS_FILE).unlink()
    assert checkpoint_to_resume(demo_arguments(str(tmp_path / "run"))[2]) is not None
    assert run_demo(str(tmp_path / "run"))["steps"] == 2


def test_a_line_tells_label_place_posterior_and_surface():
    entity = Entity(0, 2, "BodySite", meta={"score": 0.98765})
    assert entity_lines(Document("a", "面部红斑", (entity,))) == ["BodySite      0-2    0.988  面部"]
