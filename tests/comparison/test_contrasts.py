"""Records of runs and paired statistics of arms, against worked and enumerated cases."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.audit.prediction import scored_spans
from hf_adner.comparison.contrasts import Records
from hf_adner.comparison.record import (
    MEASURES,
    SEEN,
    UNSEEN,
    RunRecord,
    common_difference,
    explanation_figures,
    mean_figure,
)
from hf_adner.data.records import Document, Entity
from hf_adner.metrics.significance import holm, micro_f1

from ..corpora import note
from .records import GOLD, record

PLAIN = [(1, 2, 1, 2), (2, 1, 0, 3)]
FULL = [(2, 2, 1, 3), (2, 3, 1, 3)]


def records(model="bert-crf", corpus="notes", full=FULL, **options):
    return [
        record(arm, seed, correct, model=model, corpus=corpus, **options)
        for arm, runs in (("plain", PLAIN), ("full", full))
        for seed, correct in enumerate(runs)
    ]


def f1_differences(first, second):
    return [(sum(a) - sum(b)) / sum(GOLD) for a, b in zip(first, second, strict=True)]


def test_a_contrast_equals_a_worked_example():
    slower = [record("full", seed, correct, train_seconds=17.0, peak_memory=1500) for seed, correct in enumerate(FULL)]
    found = Records([*records()[:2], *slower]).contrasts("full", "plain", resamples=200)
    assert len(found) == 1 and (found[0].corpus, found[0].model, found[0].seeds) == ("notes", "bert-crf", (0, 1))
    assert found[0].per_seed == pytest.approx(f1_differences(FULL, PLAIN))
    assert found[0].f1.difference == pytest.approx(np.mean(f1_differences(FULL, PLAIN)))
    assert (found[0].seconds_ratio, found[0].memory_ratio) == (1.7, 1.5)
    assert found[0].f1.low <= found[0].f1.difference <= found[0].f1.high


def test_the_interval_and_the_p_value_are_those_of_all_resamples():
    contrast = Records(records()).contrasts("full", "plain", resamples=8000)[0]
    counts = {arm: np.array([run.counts["clean"] for run in records() if run.arm == arm]) for arm in ("full", "plain")}
    samples = []
    for documents in itertools.product(range(4), repeat=4):
        apart = micro_f1(counts["full"][:, documents].sum(1)) - micro_f1(counts["plain"][:, documents].sum(1))
        samples += [apart[list(seeds)].mean() for seeds in itertools.product(range(2), repeat=2)]
    limits = [np.quantile(samples, share, method="inverted_cdf") for share in (0.025, 0.975)]
    assert (contrast.f1.low, contrast.f1.high) == pytest.approx(limits, abs=0.03)
    samples = np.array(samples)
    expected = 2 * min(np.mean(samples <= 0), np.mean(samples >= 0))
    assert contrast.p_value == pytest.approx(expected, abs=0.02)


def test_variation_between_seeds_is_not_evidence():
    """The first arm is far ahead on all documents, but in one of two seeds only."""
    arms = {"full": [wide([2] * 30), wide([0] * 29 + [1])], "plain": [wide([1] * 30), wide([1] * 30)]}
    runs = [record(arm, seed, counts=counts) for arm, seeds in arms.items() for seed, counts in enumerate(seeds)]
    [found] = Records(runs).contrasts("full", "plain", resamples=999)
    assert found.p_value > 0.3 and found.decision == "none"


def test_only_cells_with_both_arms_and_common_seeds_count():
    runs = [*records(), record("full", 2, (2, 3, 1, 4)), *records("stock")[:2]]
    table = Records(runs)
    assert [contrast.seeds for contrast in table.contrasts("full", "plain", 50)] == [(0, 1)]
    assert table.cells == [("notes", "bert-crf"), ("notes", "stock")] and table.arms == ["plain", "full"]
    assert table.contrasts("r-drop", "plain", 50) == [] and table.pooled("r-drop", "plain", resamples=50) is None


def wide(correct):
    """Thirty documents of two entities each."""
    return {"clean": [[right, 2, 2] for right in correct], "unseen": [], "seen": []}


def test_decisions_are_corrected_over_the_cells():
    clear = [wide([2] * 30), wide([0] * 15 + [1] * 15)]  # full far above plain
    near = [wide([1] * 29 + [2]), wide([1] * 30)]
    worse = clear[::-1]
    runs = []
    for model, (full, plain) in zip(("a", "b", "c"), (clear, near, worse), strict=True):
        runs += [record("full", model=model, counts=full), record("plain", model=model, counts=plain)]
    found = Records(runs).contrasts("full", "plain", resamples=999)
    assert [contrast.decision for contrast in found] == ["better", "none", "worse"]
    assert [contrast.outcome for contrast in found] == ["win", "tie", "loss"]
    assert [contrast.adjusted for contrast in found] == holm([contrast.p_value for contrast in found])["adjusted"]
    assert found[0].adjusted > found[0].p_value


def test_the_pooled_difference_is_the_mean_over_cells():
    runs = [*records(), *records("stock", full=FULL[::-1]), *records(corpus="news")]
    table = Records(runs)
    found = table.pooled("full", "plain", resamples=300)
    each = [contrast.f1.difference for contrast in table.contrasts("full", "plain", 10)]
    assert found.difference == pytest.approx(np.mean(each)) and found.low < found.difference < found.high
    unseen = table.pooled("full", "plain", UNSEEN, resamples=300)
    recalls = [table.mean(lambda run: run.unseen_recall, arm) for arm in ("full", "plain")]
    assert unseen.difference == pytest.approx(recalls[0] - recalls[1])


def test_differences_of_other_figures():
    runs = [
        *(record("plain", seed, calibration={"ece": 0.2}) for seed in range(3)),
        *(record("full", seed, calibration={"ece": value}) for seed, value in enumerate((0.1, 0.15, None))),
    ]
    table = Records(runs)
    found = table.difference(lambda a, b: a.calibrated("ece") - b.calibrated("ece"), "full", "plain", 200)
    assert found.difference == pytest.approx(-0.075) and found.low == pytest.approx(-0.1)
    assert table.mean(lambda run: run.calibrated("ece"), "full") == pytest.approx(0.125)
    assert table.difference(lambda a, b: math.nan, "full", "plain", 10) is None
    single = Records(runs[:1] + runs[3:4]).difference(lambda a, b: a.seed - b.seed + 0.5, "full", "plain", 10)
    assert single.difference == 0.5 and math.isnan(single.low) and math.isnan(single.high)


SEED_0 = record("plain").settings["train_digest"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"initial_weights": "others"}, r"notes/bert-crf: arms of seeds \[0\] began with different weights"),
        ({"settings": {"digest": "e"}}, "different documents"),
        ({"settings": {"digest": "d", "train_digest": "other"}}, "notes: runs were made on different documents"),
        ({"settings": {"digest": "e"}, "model": "stock"}, "notes: runs were made on different documents"),
        (
            {"settings": {"digest": "d", "train_digest": SEED_0, "training": {"learning_rate": 1}}},
            "plain and full differ in learning_rate",
        ),
        ({"arm": "plain", "seed": 1, "settings": {"digest": "d", "training": {"ramp_share": 1}}}, "differ in ramp_sh"),
        ({"arm": "plain"}, "recorded twice"),
    ],
)
def test_records_that_cannot_be_compared(changed, message):
    fields = {"arm": "full", "seed": 0, **changed}
    with pytest.raises(ValueError, match=message):
        Records([record("plain"), record(fields.pop("arm"), fields.pop("seed"), **fields)])


def test_arms_may_differ_in_what_they_set():
    def settings(**training):
        return {"digest": "d", "training": {"learning_rate": 1, **training}}

    first = record("plain", settings=settings(stability_share=0, ramp_share=0.5))
    second = record("full:ramp_share=0.2", settings=settings(stability_share=1, ramp_share=0.2))
    assert len(Records([first, second]).of(first.cell)) == 2
    with pytest.raises(ValueError, match="differ in boundary_scale"):
        Records([first, record("full", settings=settings(boundary_scale=8)), second])


def test_records_survive_saving_and_loading(tmp_path):
    made = record("full", 3, explanations={"occlusion": {"agreement": {"0/1": 0.25}}})
    made.save(tmp_path / "run.json")
    assert RunRecord.load(tmp_path / "run.json") == made


def test_nan_is_saved_as_null(tmp_path):
    record("full", calibration={"ece": math.nan, "brier": math.nan, "aurc": math.nan}).save(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["calibration"]["ece"] is None
    assert math.isnan(RunRecord.load(tmp_path / "run.json").calibrated("ece"))


@pytest.mark.parametrize("content", ["{}", "[", '{"speed": 1}', "[1]"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.json(: (not JSON|expected a JSON object)| is not a record of a run)"):
        RunRecord.load(tmp_path / "run.json")


def test_figures_equal_a_worked_example():
    made = record("full")
    assert made.cell == ("notes", "bert-crf") and made.families == ["confusions"]
    assert made.f1() == 0.6 and made.f1(SEEN) == 1.0
    assert made.unseen_recall == made.f1(UNSEEN) == pytest.approx(2 / 6)
    assert made.f1("confusions") == pytest.approx(2 / 8) and made.clean_f1_of("confusions") == pytest.approx(5 / 8)
    assert made.degradation == pytest.approx(1 - 2 / 5)


def test_figures_that_there_are_not():
    nothing = {**record("full").counts, UNSEEN: [[0, 0, 0]] * 4, "confusions": []}
    made = record("full", perturbed={"confusions": []})
    made = RunRecord(**{**vars(made), "counts": nothing})
    assert math.isnan(made.unseen_recall) and math.isnan(made.degradation) and made.families == []


A = {"occlusion": {"agreement": {"0/0": 0.5, "0/1": 0.1}}}
B = {"occlusion": {"agreement": {"0/0": 0.2, "1/0": 0.9}}}


def test_only_common_entities_are_compared():
    assert common_difference(A, B, "occlusion", "agreement") == pytest.approx(0.3)
    assert mean_figure(A, "occlusion", "agreement") == pytest.approx(0.3)
    assert math.isnan(common_difference(A, {}, "occlusion", "agreement"))
    assert math.isnan(mean_figure(A, "lime", "agreement"))


def test_explanation_figures_are_keyed_by_entity():
    texts = [note(number).text for number in range(3)]
    tokenizer = AdnerTokenizer.from_texts(texts)
    torch.manual_seed(0)
    encoder = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
               "intermediate_size": 24}  # fmt: skip
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["Disease", "Symptom"], "bert-crf", encoder_config=encoder
    )
    predicted = scored_spans(model, tokenizer, texts)
    documents = [
        Document(str(number), text, tuple(Entity(span.start, span.end, span.label) for span in spans))
        for number, (text, spans) in enumerate(zip(texts, predicted, strict=True))
    ]
    names = {f"{number}/{index}" for number, row in enumerate(documents) for index in range(len(row.entities))}
    figures = explanation_figures(model, tokenizer, documents, ["grad-x-input"], entities=4)
    assert set(figures) == {"grad-x-input"} and set(figures["grad-x-input"]) == set(MEASURES)
    assert set(MEASURES) == {"discriminative_faithfulness", "replaced_agreement", "cosine"}
    for values in figures["grad-x-input"].values():
        assert values and set(values) <= names and all(-2 <= value <= 2 for value in values.values())
