"""evaluate_documents: right numbers on full nested and flattened gold, from a pipeline whose answers are known."""

import json

import pytest

from hf_adner.audit.evaluation import EvaluationReport, evaluate_documents
from hf_adner.data.records import Document, Entity

GOLD = [
    Document("a", "急性湿疹伴瘙痒", (Entity(0, 4, "dis"), Entity(2, 4, "sym"), Entity(5, 7, "sym"))),
    Document("b", "外用药膏", (Entity(2, 4, "dru"),)),
    Document("c", ""),
]
ANSWERS = {
    "急性湿疹伴瘙痒": [(0, 4, "dis"), (5, 6, "sym")],
    "外用药膏": [(2, 4, "dis")],
    "": [],
}


class KnownPipeline:
    """Answers as a pipeline does, from `ANSWERS`."""

    def __init__(self):
        self.calls = []

    def __call__(self, texts, **parameters):
        self.calls.append(parameters)
        for text in texts:
            yield [self.entity(text, *span) for span in ANSWERS[text]]

    def entity(self, text, start, end, label):
        scores = {"score": 0.5, "start_score": 0.5, "end_score": 0.5, "needs_review": True}
        return {"entity_group": label, "word": text[start:end], "start": start, "end": end, **scores}


@pytest.fixture
def report() -> EvaluationReport:
    return evaluate_documents(KnownPipeline(), GOLD, progress=False)


def test_counts(report):
    assert (report.documents, report.characters) == (3, 11)
    assert (report.predicted, report.gold, report.flattened_gold) == (3, 4, 3)


def test_strict_scores_on_full_and_flattened_gold(report):
    # one right of three predicted; four gold entities, three of them outermost
    assert (report.strict["precision"], report.strict["recall"]) == (1 / 3, 1 / 4)
    assert report.f1 == report.strict["f1"] == pytest.approx(2 / 7)
    assert (report.strict_flattened["precision"], report.strict_flattened["recall"]) == (1 / 3, 1 / 3)
    per_label = report.strict["per_label"]
    assert per_label["dis"]["precision"] == 0.5 and per_label["dis"]["recall"] == 1
    assert per_label["sym"]["support"] == 2 and report.strict_flattened["per_label"]["sym"]["support"] == 1
    assert per_label["dru"]["f1"] == 0


def test_boundary_scores(report):
    untyped = report.boundaries["untyped"]
    assert (untyped["start"]["correct"], untyped["end"]["correct"], untyped["both"]["correct"]) == (3, 2, 2)
    assert report.boundaries["typed"]["both"]["f1"] == report.f1


def test_dictionary_is_json(report):
    assert EvaluationReport(**json.loads(json.dumps(report.to_dict()))) == report


def test_markdown(report):
    lines = report.to_markdown().splitlines()
    assert lines[0] == "3 documents, 11 characters, 4 gold entities (1 of them nested), 3 predicted."
    assert "| dis | 0.5000 | 1.0000 | 0.6667 | 1 | 2 | 1 |" in lines
    assert "| **all** | 0.3333 | 0.2500 | 0.2857 | 1 | 3 | 4 |" in lines
    assert "| **all** | 0.3333 | 0.3333 | 0.3333 | 1 | 3 | 3 |" in lines
    assert "| start | 1.0000 | 0.7500 | 0.8571 | 3 | 3 | 4 |" in lines
    for table in report.to_markdown().split("\n\n")[1:]:
        assert {row.count("|") for row in table.strip().splitlines()} == {8}


def test_parameters_and_progress(capsys):
    pipe = KnownPipeline()
    evaluate_documents(pipe, iter(GOLD), 4, threshold=0.3)
    assert pipe.calls == [{"batch_size": 4, "needs_review": True, "threshold": 0.3}]
    assert "3document" in capsys.readouterr().err.replace(" ", "")
    evaluate_documents(pipe, GOLD, progress=False)
    assert capsys.readouterr().err == ""


def test_no_documents():
    report = evaluate_documents(KnownPipeline(), [], progress=False)
    assert (report.documents, report.gold, report.f1) == (0, 0, 0)
    assert report.to_markdown().startswith("0 documents")


def test_a_wrong_item_is_refused():
    with pytest.raises(TypeError, match="document 3 is dict, expected Document"):
        evaluate_documents(KnownPipeline(), [*GOLD, {"text": ""}], progress=False)
