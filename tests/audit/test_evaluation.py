"""evaluate_documents: right numbers on full nested and flattened gold, from a pipeline whose answers are known.

evaluate's evaluators with our pipeline and with our model.

Calibration reports of predicted documents, against numbers worked out by hand.
"""

import json
from dataclasses import replace

import evaluate
import pytest
from datasets import Dataset

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Document, Entity
from hf_adner.audit.calibration import calibration_report
from hf_adner.audit.evaluation import AdnerEvaluator, EvaluationReport, evaluate_documents, f1_interval
from hf_adner.metrics.tag_f1 import TagF1, tag_f1
from hf_adner.model.labels_adner import spans_to_bio

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


TEXTS = ["面部红斑伴瘙痒", "否认发热，有湿疹"]


@pytest.fixture(scope="module")
def pipe() -> AdnerPipeline:
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Disease", "Symptom"], "bilstm-crf")
    return AdnerPipeline(model=model, tokenizer=tokenizer)


def found_tags(pipe: AdnerPipeline, text: str) -> list[str]:
    return spans_to_bio([(one["start"], one["end"], one["entity_group"]) for one in pipe(text)], len(text))


def dataset(pipe: AdnerPipeline) -> Dataset:
    """The first text with what the pipeline finds as gold, the second with other labels."""
    gold = [found_tags(pipe, TEXTS[0]), spans_to_bio([(2, 4, "Symptom"), (6, 8, "Disease")], len(TEXTS[1]))]
    return Dataset.from_dict({"tokens": [list(text) for text in TEXTS], "ner_tags": gold})


def test_scores_are_those_of_the_pipeline(pipe):
    data = dataset(pipe)
    scores = AdnerEvaluator().compute(pipe, data=data)
    wanted = tag_f1([found_tags(pipe, text) for text in TEXTS], data["ner_tags"])
    assert wanted["predicted"] > 0 and {name: scores[name] for name in wanted} == wanted
    assert scores["total_time_in_seconds"] > 0


def test_a_folder_and_a_model_will_do(pipe, tmp_path):
    data = dataset(pipe)
    pipe.model.save_pretrained(tmp_path)
    pipe.tokenizer.save_pretrained(tmp_path)
    wanted = AdnerEvaluator().compute(pipe, data=data)["f1"]
    assert AdnerEvaluator().compute(str(tmp_path), data=data)["f1"] == wanted
    assert AdnerEvaluator().compute(pipe.model, tokenizer=pipe.tokenizer, data=data, metric=TagF1())["f1"] == wanted


def test_evaluates_own_evaluator_takes_model_and_tokenizer(pipe):
    data = dataset(pipe)
    scores = evaluate.evaluator("token-classification").compute(
        pipe.model, tokenizer=pipe.tokenizer, data=data, metric=TagF1(), join_by=""
    )
    assert scores["support"] == tag_f1(data["ner_tags"], data["ner_tags"])["support"]
    assert 0 <= scores["f1"] <= 1


def test_words_of_several_characters():
    entities = [{"start": 1, "end": 5, "entity_group": "a"}, {"start": 5, "end": 6, "entity_group": "a"}]
    words = [["甲", "乙丙", "丁戊", "己", "庚"]]
    labels = AdnerEvaluator().predictions_processor([entities], words, "")["predictions"]
    assert labels == [["O", "B-a", "I-a", "B-a", "O"]]


def test_of_overlapping_entities_the_longest_count():
    """No label sequence has all of them, and none may be torn into pieces."""
    places = [(0, 4, "a"), (1, 2, "b"), (3, 6, "b"), (3, 6, "c"), (7, 8, "b")]
    entities = [{"start": start, "end": end, "entity_group": label} for start, end, label in places]
    labels = AdnerEvaluator().predictions_processor([entities], [list("甲乙丙丁戊己庚辛")], "")["predictions"]
    assert labels == [["B-a", "I-a", "I-a", "I-a", "O", "O", "O", "B-b"]]


TEXT = "红斑瘙痒发热咳嗽"
CALIBRATION_GOLD = Document("a", TEXT, (Entity(0, 2, "Sign"), Entity(2, 4, "Symptom"), Entity(4, 6, "Symptom")))


def predicted(*found) -> Document:
    return Document("a", TEXT, tuple(Entity(*span, None, meta={"score": score}) for *span, score in found))


def test_figures():
    found = calibration_report(
        [predicted((0, 2, "Sign", 0.9), (2, 4, "Sign", 0.6))], [CALIBRATION_GOLD], bins=1, resamples=20
    )
    assert (found.documents, found.entities, found.gold) == (1, 2, 3)
    assert found.coverage == pytest.approx(1 / 3) and found.accuracy == 0.5
    assert found.ece == pytest.approx(abs(0.5 - 0.75)) and found.brier == pytest.approx((0.1**2 + 0.6**2) / 2)
    assert found.aurc == found.best_aurc == pytest.approx(0.25)
    assert [row["risk"] for row in found.risk_coverage] == [0.0] * 7 + [0.5] * 3
    assert set(found.intervals) == {"ece", "brier", "aurc"}


def test_intervals_hold_the_value_where_documents_agree():
    documents = [predicted((0, 2, "Sign", 0.8))] * 5
    found = calibration_report(documents, [CALIBRATION_GOLD] * 5, resamples=30)
    assert found.intervals["brier"]["low"] == pytest.approx(0.04) == found.intervals["brier"]["high"]


def test_json_and_markdown():
    found = calibration_report([predicted((0, 2, "Sign", 0.9))], [CALIBRATION_GOLD], resamples=10)
    assert json.loads(json.dumps(found.to_dict()))["entities"] == 1
    assert "| ece |" in found.to_markdown() and "1 predicted entities of 1 documents" in found.to_markdown()


def test_nothing_predicted():
    found = calibration_report([Document("a", TEXT)], [CALIBRATION_GOLD], resamples=10)
    assert found.entities == 0 and found.coverage == 0 and found.ece != found.ece
    assert found.to_dict()["ece"] is None
    assert found.risk_coverage == [] and found.intervals == {} and "| ece | – | – | – |" in found.to_markdown()


def test_errors():
    with pytest.raises(ValueError, match="'b' has another text than gold document 'a'"):
        calibration_report([Document("b", "红")], [CALIBRATION_GOLD])
    with pytest.raises(ValueError, match="document 'a': entity 0-2 has no score"):
        calibration_report([Document("a", TEXT, (Entity(0, 2, "Sign"),))], [CALIBRATION_GOLD])
    with pytest.raises(ValueError):
        calibration_report([], [CALIBRATION_GOLD])


def test_the_interval_of_f1_is_over_documents():
    right = [
        Document(str(number), "红斑瘙痒", (Entity(0, 2, "Symptom"), Entity(2, 4, "Symptom"))) for number in range(20)
    ]
    half = [replace(document, entities=document.entities[:1]) for document in right]
    interval = f1_interval(right[:10] + half[:10], right, resamples=500)
    assert interval["value"] == pytest.approx(2 * 30 / (30 + 40))
    assert interval["low"] < interval["value"] < interval["high"] < 1
    same = f1_interval(half, right, resamples=50)
    assert same["low"] == same["value"] == same["high"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError):
        f1_interval(right, half[:5])
