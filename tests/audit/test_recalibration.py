"""Calibration on development documents: maps against their formulas, the conformal threshold against its definition,
budgets against counts, and the command from documents to a calibrated checkpoint.
"""

import itertools
import json
import math
import random
from array import array
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Document, Entity
from hf_adner.audit.calibrated_config import write_calibration
from hf_adner.audit.conformal import LEAST_CANDIDATE, MARGIN, candidate_threshold, mean_covered
from hf_adner.audit.predict_files import predict_to_file
from hf_adner.audit.prediction import predict_documents
from hf_adner.audit.recalibration import LEAST_DOCUMENTS, calibrate, report_markdown
from hf_adner.audit.review import budget_threshold, corpus_cutoff, with_budget
from hf_adner.audit.score_maps import (
    FittedMaps,
    Outcome,
    Outcomes,
    choose_maps,
    cross_validated_scores,
    fit_maps,
    fit_platt,
    fit_temperature,
    labels_of_own,
    log_losses,
)
from hf_adner.cli import main
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.model.calibration_adner import ScoreMap, log_odds, logistic


def drawn(slope: float, intercept: float, count: int = 3000, label: str = "a", seed: int = 0, spread: float = 2.0):
    """Entities that are right as often as a map of their posteriors says, ten a document."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        posterior = logistic(rng.gauss(0.5, spread))
        is_right = rng.random() < ScoreMap(slope, intercept)(posterior)
        rows.append(Outcome(number // 10, label, posterior, is_right))
    return rows


def test_maps_are_found_again():
    outcomes = Outcomes.of(drawn(0.5, -0.7))
    platt, temperature = fit_platt(outcomes), fit_temperature(outcomes)
    assert platt == pytest.approx((0.5, -0.7), abs=0.12)
    assert temperature.intercept == 0 and 0 < temperature.slope < 1
    grid = [ScoreMap(platt.slope + a, platt.intercept + b) for a in (-0.02, 0, 0.02) for b in (-0.02, 0, 0.02)]
    losses = [log_losses(FittedMaps("x", one).scores(outcomes), outcomes).sum() for one in grid]
    assert min(losses) >= losses[4] - 0.1  # the targets of Platt differ a little from 0 and 1


def test_scores_are_those_of_the_pipelines_maps():
    rows = drawn(0.5, -0.7, 40) + drawn(1, 0, 40, "b") + [Outcome(9, "a", 0.0, False), Outcome(9, "b", 1.0, True)]
    maps = FittedMaps("x", ScoreMap(0.3, 0.1), {"b": ScoreMap(2.0, -1.0)})
    expected = [maps.labels.get(one.label, maps.shared)(one.posterior) for one in rows]
    np.testing.assert_allclose(maps.scores(Outcomes.of(rows)), expected, atol=1e-12)


def test_all_right_and_inverted_posteriors():
    certain = Outcomes.of([Outcome(number, "a", 0.9 + number / 1000, True) for number in range(60)])
    assert fit_platt(certain) is None and 1 < fit_temperature(certain).slope < math.inf
    inverted = Outcomes.of([Outcome(number, "a", p, p < 0.5) for number, p in enumerate([0.1, 0.9] * 40)])
    assert fit_platt(inverted) is None and fit_temperature(inverted) is None
    assert choose_maps(inverted).method == "unchanged"


def test_the_criterion_chooses():
    assert choose_maps(Outcomes.of(drawn(1.0, 0.0))).method == "unchanged"
    assert choose_maps(Outcomes.of(drawn(0.4, 0.0)), ("temperature",)).method == "temperature"
    assert choose_maps(Outcomes.of(drawn(1.0, -2.0))).method == "Platt"
    mixed = Outcomes.of(drawn(0.3, 0.5) + drawn(2.0, -0.5, label="b", seed=1) + drawn(1.0, 0.0, 20, "few"))
    maps = choose_maps(mixed)
    assert maps.method == "Platt per label" and set(maps.labels) == {"a", "b"}
    assert maps.labels["a"].slope < 1 < maps.labels["b"].slope


def test_labels_with_enough_entities():
    counts = {"enough": (40, 10), "few": (30, 19), "few wrong": (60, 9), "few right": (9, 60)}
    rows = [
        Outcome(number, label, 0.5, number < right)
        for label, (right, wrong) in counts.items()
        for number in range(right + wrong)
    ]
    assert labels_of_own(Outcomes.of(rows)) == ["enough"]
    assert fit_maps("Platt per label", Outcomes.of(rows)).labels.keys() == {"enough"}


def test_cross_validated_scores_do_not_see_their_own_documents():
    rows = drawn(0.4, -0.5, 300)
    scores = cross_validated_scores(Outcomes.of(rows))
    changed = [one._replace(is_correct=not one.is_correct) if one.document == 3 else one for one in rows]
    again = cross_validated_scores(Outcomes.of(changed))
    own = np.array([one.document == 3 for one in rows])
    np.testing.assert_array_equal(scores[own], again[own])
    assert (scores != again).any()


# ---- conformal candidates ---------------------------------------------------------------------------------------

values = st.floats(0, 1).map(lambda value: round(value, 2))


@given(st.lists(st.lists(values, min_size=1, max_size=5), min_size=5, max_size=30), st.sampled_from([0.5, 0.7, 0.8]))
def test_the_threshold_is_the_largest_that_is_allowed(gold, coverage):
    def bound(threshold):
        return (sum(1 - mean_covered([one], threshold) for one in gold) + 1) / (len(gold) + 1)

    grid = [one for one in sorted({value for row in gold for value in row}) if one > LEAST_CANDIDATE]
    allowed = [one for one in grid if bound(one * (1 - MARGIN)) <= 1 - coverage + 1e-12]
    if not allowed:
        with pytest.raises(ValueError, match=f"coverage {coverage:g} cannot be met"):
            candidate_threshold(gold, coverage)
        return
    found = candidate_threshold(gold, coverage)
    assert found < max(allowed) and found == pytest.approx(max(allowed), rel=2 * MARGIN)
    assert bound(found) <= 1 - coverage + 1e-12


def test_coverage_holds_in_expectation():
    rng = np.random.default_rng(0)

    def documents(count):
        difficulty = rng.beta(2, 2, count)
        return [rng.beta(4 * (1 - d) + 0.3, 1, rng.integers(1, 8)).tolist() for d in difficulty]

    shares = [mean_covered(documents(200), candidate_threshold(documents(40), 0.8)) for _ in range(300)]
    assert 0.8 <= np.mean(shares) + 2 * np.std(shares) / math.sqrt(len(shares)) and np.mean(shares) < 0.84


def test_a_coverage_that_cannot_be_met_is_said():
    with pytest.raises(ValueError, match="at most 0.833 can; 0.9 needs 9 documents or more"):
        candidate_threshold([[1.0]] * 5, 0.9)
    with pytest.raises(ValueError, match="at most 0.458 can, since gold entities have posteriors of 0.0001 or less"):
        candidate_threshold([[0.0, 1.0]] * 11, 0.9)
    for wrong in (0, 1, 1.5, "high"):
        with pytest.raises(ValueError, match="coverage must be in"):
            candidate_threshold([[1.0]] * 50, wrong)


# ---- budgets ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50, unique=True), st.floats(0, 1))
def test_a_budget_flags_its_share(scores, budget):
    threshold = budget_threshold(scores, budget)
    assert 0 <= threshold <= 1
    flagged = sum(score < threshold for score in scores)
    wanted = round(budget * len(scores))
    assert flagged <= wanted and (flagged == wanted or threshold in (*scores, 1))


def scored(*rows):
    """Predicted documents with these scores."""
    return [
        Document(f"d{place}", "红" * 20, tuple(Entity(at, at + 1, "a", None, {"score": s}) for at, s in enumerate(row)))
        for place, row in enumerate(rows)
    ]


@given(st.lists(st.lists(values, max_size=6), max_size=8), st.floats(0, 1))
def test_a_corpus_budget_flags_exactly_its_share_of_the_lowest(rows, budget):
    documents = scored(*rows)
    found = list(with_budget(lambda: iter(documents), budget))
    flags = [(one.meta["score"], one.meta["needs_review"]) for document in found for one in document.entities]
    assert sum(flag for _, flag in flags) == round(budget * len(flags))
    kept = [score for score, flag in flags if not flag]
    assert all(score <= min(kept, default=1) for score, flag in flags if flag)
    assert [one.spans for one in found] == [one.spans for one in documents]


def test_of_equal_scores_the_first_are_flagged():
    assert corpus_cutoff(array("d", [0.5, 0.2, 0.5, 0.5]), 0.5) == (0.5, 1)
    (document,) = with_budget(lambda: scored([0.50001, 0.2, 0.5, 0.50002]), 0.5)
    assert [one.meta["needs_review"] for one in document.entities] == [True, True, False, False]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, "some"])
def test_a_budget_is_a_share(wrong):
    with pytest.raises(ValueError, match="the review budget must be a share in"):
        budget_threshold([0.5], wrong)


# ---- a checkpoint -----------------------------------------------------------------------------------------------

CHARACTERS = "患者反复红斑三年外用他克莫司软膏瘙痒丘疹好转"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts([CHARACTERS])
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["病", "药"], "bilstm-crf", **sizes)
    with torch.no_grad():
        model.head.classifier.weight.mul_(40)
    folder = tmp_path_factory.mktemp("checkpoint")
    for part in (model, tokenizer):
        part.save_pretrained(folder)
    return folder


def load(folder) -> AdnerPipeline:
    model = AdnerForTokenClassification.from_pretrained(folder)
    return AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(folder), device="cpu")


@pytest.fixture(scope="module")
def pipe(folder):
    return load(folder)


@pytest.fixture(scope="module")
def gold(pipe):
    """Development documents whose gold entities are the model's where a map of its posterior says so."""
    rng = random.Random(1)
    texts = ["".join(rng.choices(CHARACTERS, k=rng.randint(4, 12))) for _ in range(40)]
    documents = []
    for number, (text, found) in enumerate(zip(texts, pipe(texts), strict=True)):
        right = [one for one in found if rng.random() < logistic(0.5 * log_odds(one["score"]) + 1.5)]
        documents.append(
            Document(f"g{number}", text, tuple(Entity(one["start"], one["end"], one["entity_group"]) for one in right))
        )
    return documents


@pytest.fixture(scope="module")
def fit(pipe, gold):
    return calibrate(pipe, gold, coverage=0.6, review_budget=0.25, progress=False)


def test_the_fit_is_that_of_the_predictions(fit, pipe, gold):
    found = [(number, one) for number, row in enumerate(pipe([one.text for one in gold])) for one in row]
    assert (fit.documents, fit.entities, fit.gold) == (40, len(found), sum(len(one.entities) for one in gold))
    rows = [
        Outcome(number, one["entity_group"], one["score"],
                (one["start"], one["end"], one["entity_group"]) in gold[number].spans)
        for number, one in found
    ]  # fmt: skip
    assert fit.score == choose_maps(Outcomes.of(rows)) and fit.score.method != "unchanged"
    assert fit.measured["score"].right == sum(one.is_correct for one in rows)
    assert fit.measured["score"].log_loss[1] < fit.measured["score"].log_loss[0]
    assert sum(one.entities for one in fit.labels.values()) == fit.entities
    assert fit.review.flagged == pytest.approx(0.25, abs=0.02)


def test_the_candidate_set_covers_what_the_fit_says(fit, pipe, gold):
    found = pipe([one.text for one in gold], candidates=fit.candidates.threshold)
    shares = [
        sum(span in {(one["start"], one["end"], one["entity_group"]) for one in row
                     if one["score"] > fit.candidates.threshold} for span in document.spans) / len(document.spans)
        for document, row in zip(gold, found) if document.spans
    ]  # fmt: skip
    assert np.mean(shares) == pytest.approx(fit.candidates.covered) and fit.candidates.covered >= 0.6
    assert fit.candidates.documents == len(shares)


def test_report_and_field_are_json(fit):
    field = json.loads(json.dumps(fit.config(), sort_keys=True))
    assert report_markdown(field["report"]) == fit.to_markdown()
    for table in fit.to_markdown().split("\n\n")[1:4:2]:
        assert {row.count("|") for row in table.splitlines()} == {10}
    assert "exchangeable" in fit.to_markdown() and "cross-validation" in fit.to_markdown()


def test_refusals(pipe, gold):
    with pytest.raises(ValueError, match="none of the 3 documents has a gold entity"):
        calibrate(pipe, [Document(f"d{n}", "红斑") for n in range(3)], progress=False)
    with pytest.raises(ValueError, match="'g0' has entities of the labels .*'Other'.*its labels are"):
        calibrate(pipe, [Document("g0", "红斑", (Entity(0, 1, "Other"),)), *gold], progress=False)
    with pytest.raises(ValueError, match=f"calibration needs 50 in {LEAST_DOCUMENTS} documents or more"):
        calibrate(pipe, gold[:5], progress=False)
    with pytest.raises(ValueError, match="coverage 0.999 cannot be met"):
        calibrate(pipe, gold, coverage=0.999, progress=False)
    for wrong, told in (({"review_budget": 2}, "review budget must be a share"), ({"coverage": 1}, "coverage must be")):
        with pytest.raises(ValueError, match=told):
            calibrate(None, None, **wrong, progress=False)  # before any work


def test_a_label_that_is_never_right_is_said(fit, pipe, gold):
    without = [replace(one, entities=tuple(own for own in one.entities if own.label != "药")) for one in gold]
    told = calibrate(pipe, without, progress=False).to_markdown()
    number = fit.labels["药"].entities
    assert f"None of the predicted entities is right of 药 ({number})." in told and "病 (" not in told
    assert "None of the predicted entities" not in fit.to_markdown()


@pytest.fixture
def copy(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_calibrated_checkpoint(fit, pipe, gold, copy):
    (copy / "pipeline_adner.py").write_text("old")
    before = json.loads((copy / "config.json").read_text())
    changes = write_calibration(copy, fit)
    assert "calibration added" in changes[0] and "pipeline_adner.py" in changes[1]
    after = json.loads((copy / "config.json").read_text())
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == {"calibration"}
    calibrated = load(copy)
    texts = [one.text for one in gold]
    for row, plain in zip(calibrated(texts, needs_review=True, candidates=True), pipe(texts)):
        path = [one for one in row if one["on_path"]]
        assert [one["posterior"] for one in path] == [one["score"] for one in plain]
        assert all(one["needs_review"] == (one["score"] < fit.review.threshold) for one in path)
    again = calibrate(calibrated, gold, review_budget=0.1, progress=False)
    assert again.score == fit.score and again.measured == fit.measured
    (change,) = write_calibration(copy, again)
    assert "calibration replaced" in change and "candidate_threshold of the calibration before removed" in change


def test_the_commands(folder, copy, gold, tmp_path, capsys, monkeypatch):
    dev, output = tmp_path / "dev.jsonl", tmp_path / "found.jsonl"
    write_documents(gold, dev)
    where = ["--device", "cpu"]
    assert main(["calibrate", str(copy), str(dev), "--coverage", "0.6", "--review-budget", "0.2", *where]) == 0
    printed = capsys.readouterr().out
    assert "| score |" in printed and "config.json: calibration added" in printed
    config = tmp_path / "elsewhere.json"
    assert main(["calibrate", str(folder), str(dev), "--output", str(config), *where]) == 0
    old, new = json.loads((folder / "config.json").read_text()), json.loads(config.read_text())
    assert {name for name in {*old, *new} if old.get(name) != new.get(name)} == {"calibration"}
    capsys.readouterr()
    assert main(["predict", str(copy), str(dev), "--review-budget", "0.3", "--candidates", *where]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    options = ["--review-budget", "0.3", "--output", str(output), "--block-size", "7", "--batch-size", "3", *where]
    assert main(["predict", str(copy), str(dev), *options]) == 0
    written = list(read_documents(output))
    flags = [[one["meta"]["needs_review"] for one in row["entities"]] for row in printed]
    assert flags == [[one.meta["needs_review"] for one in document.entities] for document in written]
    assert sum(map(sum, flags)) == round(0.3 * sum(map(len, flags)))
    keys = {"start", "end", "label", "score", "posterior", "on_path"}
    assert all(set(one) == keys for row in printed for one in row["meta"]["candidates"])
    assert any(not one["on_path"] for row in printed for one in row["meta"]["candidates"])
    both = ["--review-budget", "0.3", "--review-threshold", "0.5"]
    for options, message in (
        (both, "--review-threshold and --review-budget each say what to flag"),
        (["--candidates", "--output", str(tmp_path / "x.tsv")], "has no place for them; write .jsonl"),
        (["--review-budget", "3"], "the review budget must be a share"),
    ):
        assert main(["predict", str(copy), str(dev), *options, *where]) == 1
        assert message in capsys.readouterr().err
    monkeypatch.setattr("hf_adner.hub.reachable._ask", lambda name, revision: None)  # the Hub has every model
    assert main(["calibrate", "owner/name", str(dev)]) == 1
    assert "name a file with --output" in capsys.readouterr().err


def test_a_budget_does_not_depend_on_blocks_or_interruptions(pipe, gold, tmp_path):
    outputs = []
    for number, (block, batch) in enumerate(((3, 2), (100, 16))):
        path = tmp_path / f"{number}.jsonl"
        predict_to_file(pipe, gold, path, block_size=block, batch_size=batch, review_budget=0.4, progress=False)
        outputs.append([[one.meta["needs_review"] for one in row.entities] for row in read_documents(path)])
    assert outputs[0] == outputs[1]
    assert sum(map(sum, outputs[0])) == round(0.4 * sum(map(len, outputs[0])))
    with pytest.raises(ValueError, match="must be a share"):
        predict_to_file(pipe, gold, tmp_path / "x.jsonl", review_budget=-1)


def test_candidates_do_not_replace_what_a_document_says(pipe, gold):
    documents = [Document("a", gold[0].text, meta={"candidates": 3})]
    with pytest.raises(ValueError, match="document 'a' has 'candidates' in its meta already"):
        list(itertools.islice(predict_documents(pipe, documents, candidates=0.01), 1))
