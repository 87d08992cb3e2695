"""Calibrated scores: maps that keep the order, configurations with and without them, and every span above a bound."""

import itertools
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import AdnerConfig, AdnerForTokenClassification, AdnerPipeline
from hf_adner.model.calibration_adner import Calibration, ScoreMap, log_odds, logistic
from hf_adner.model.labels_adner import tags_to_spans
from hf_adner.model.windows_adner import Window, owned_entities

FIELD = {
    "method": "Platt per label",
    "score": {"slope": 0.5, "intercept": -0.25},
    "labels": {"Drug": {"slope": 2.0, "intercept": 0.1}},
    "start": {"slope": 0.7, "intercept": 0.0},
    "end": {"slope": 1.5, "intercept": 0.3},
    "review_threshold": 0.6,
    "candidate_threshold": 0.02,
}
posteriors = st.floats(0, 1)


@given(posteriors, posteriors, st.floats(0.01, 20), st.floats(-10, 10))
def test_a_map_keeps_the_order_and_stays_a_probability(first, second, slope, intercept):
    score = ScoreMap(slope, intercept)
    assert 0 <= score(first) <= 1
    assert score(first) <= score(second) if first <= second else score(first) >= score(second)


def test_a_map_is_what_it_says():
    assert ScoreMap(0.5, -0.25)(0.9) == pytest.approx(1 / (1 + math.exp(-(0.5 * math.log(9) - 0.25))))
    assert [ScoreMap()(value) for value in (0.0, 0.3, 1.0)] == [0.0, 0.3, 1.0]
    assert logistic(log_odds(0.3)) == pytest.approx(0.3) and math.isfinite(log_odds(0.0)) and logistic(-1e4) == 0


def test_a_configuration_keeps_it(build, tokenizer, tmp_path):
    model = build("bert-crf")
    model.config.calibration = FIELD
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["calibration"] == FIELD
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path)
    assert loaded.config.calibration == FIELD
    found = Calibration.from_config(loaded.config.calibration, loaded.config.entity_types)
    assert (found.labels["Drug"], found.end, found.review_threshold) == (ScoreMap(2.0, 0.1), ScoreMap(1.5, 0.3), 0.6)
    del model.config.calibration
    model.save_pretrained(tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    config.pop("calibration", None)
    assert AdnerConfig(**config).calibration is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"score": {"slope": -1.0, "intercept": 0.0}}, "score needs a positive slope"),
        ({"score": {"slope": float("nan"), "intercept": 0.0}}, "score needs a positive slope"),
        ({"start": {"slope": 1.0}}, "start must have a slope and an intercept"),
        ({"end": 3}, "end must have a slope and an intercept"),
        ({"labels": {"Unknown": {"slope": 1.0, "intercept": 0.0}}}, "must map labels of"),
        ({"review_threshold": 1.5}, "review_threshold must be a number in"),
        ({"candidate_threshold": "low"}, "candidate_threshold must be a number in"),
    ],
)
def test_a_damaged_calibration_is_refused(build, wrong, message):
    with pytest.raises(ValueError, match=message):
        AdnerConfig(**{**build("bert-crf").config.to_dict(), "calibration": {**FIELD, **wrong}})


@pytest.fixture
def pipes(build, tokenizer):
    """The same model uncalibrated and calibrated."""
    plain, calibrated = build("bert-crf"), build("bert-crf")
    calibrated.config.calibration = FIELD
    return [AdnerPipeline(model, tokenizer, device="cpu") for model in (plain, calibrated)]


def spans(entities):
    return [(one["start"], one["end"], one["entity_group"]) for one in entities]


def test_the_pipeline_maps_every_score(pipes, texts):
    plain, calibrated = pipes
    seen = set()
    for before, after in zip(plain(texts), calibrated(texts), strict=True):
        assert spans(before) == spans(after)
        for one, other in zip(before, after):
            own = ScoreMap(2.0, 0.1) if one["entity_group"] == "Drug" else ScoreMap(0.5, -0.25)
            assert "posterior" not in one and other["posterior"] == pytest.approx(one["score"], abs=1e-6)
            assert other["score"] == pytest.approx(own(one["score"]), abs=1e-5)
            assert other["start_score"] == pytest.approx(ScoreMap(0.7)(one["start_score"]), abs=1e-5)
            assert other["end_score"] == pytest.approx(ScoreMap(1.5, 0.3)(one["end_score"]), abs=1e-5)
            seen.add(one["entity_group"])
    assert seen == {"Disease", "Drug"}
    assert calibrated(texts, calibrated=False) == plain(texts)


def test_threshold_and_review_read_the_calibrated_score(pipes, texts):
    plain, calibrated = pipes
    entities = [one for found in calibrated(texts, needs_review=True) for one in found]
    assert [one["needs_review"] for one in entities] == [one["score"] < 0.6 for one in entities]
    assert {one["needs_review"] for one in entities} == {True, False}
    kept = [one for found in calibrated(texts, threshold=0.6) for one in found]
    assert [one["score"] for one in kept] == [one["score"] for one in entities if not one["needs_review"]]
    entities = [one for found in plain(texts, needs_review=True) for one in found]
    assert [one["needs_review"] for one in entities] == [one["score"] < 0.8 for one in entities]


def test_flags_do_not_depend_on_the_batch(pipes, texts):
    calibrated, expected = pipes[1], {}
    for size in (1, 2, 7, 32):
        for text, found in zip(texts * 3, calibrated(texts * 3, batch_size=size, needs_review=True, candidates=True)):
            flags = [(*span, one["needs_review"], one["on_path"]) for span, one in zip(spans(found), found)]
            assert expected.setdefault(text, flags) == flags


@pytest.mark.parametrize("options", [{"tag_scheme": "bioes"}, {"tag_scheme": "bio"}])
def test_every_span_above_a_bound_is_found(options, build, label_paths):
    head = build("bert-crf", **options).head
    torch.manual_seed(3)
    emissions = 1.5 * torch.randn(3, 4, len(head.label_states.states))
    lengths = (4, 1, 3)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    for bound in (1e-4, 0.03, 0.4):
        wanted, edges = {}, {}
        for row, length in enumerate(lengths):
            for tags, probability in label_paths(head, emissions[row, :length]):
                found = tags_to_spans(tags)
                for span in found:
                    wanted[row, *span] = wanted.get((row, *span), 0.0) + probability
                keys = {key for start, end, _ in found for key in ((row, "start", start), (row, "end", end))}
                for key in keys:
                    edges[key] = edges.get(key, 0.0) + probability
        wanted = {key: value for key, value in wanted.items() if value > bound}
        found = head.likely_entities(emissions, mask, bound)
        posteriors = {(one.row, one.start, one.end, one.type): one.posterior for one in found}
        assert posteriors == pytest.approx(wanted, abs=1e-6)
        assert wanted and found == sorted(found)
        for one in found:
            assert one.start_prob == pytest.approx(edges[one.row, "start", one.start], abs=1e-6)
            assert one.end_prob == pytest.approx(edges[one.row, "end", one.end], abs=1e-6)


def test_spans_of_independent_labels(build):
    head = build("bert-softmax").head
    torch.manual_seed(0)
    log_probs = torch.randn(2, 4, len(head.label_states.labels)).log_softmax(-1)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    every = [
        (row, start, end, name)
        for row, length in enumerate((4, 2))
        for start, end in itertools.combinations(range(length + 1), 2)
        for name in ("Disease", "Drug")
    ]
    values = head.entity_log_posteriors(log_probs, mask, every).exp().tolist()
    wanted = {entity: value for entity, value in zip(every, values) if value > 0.01}
    found = head.likely_entities(log_probs, mask, 0.01)
    assert {(one.row, one.start, one.end, one.type): one.posterior for one in found} == pytest.approx(wanted, abs=1e-6)
    assert 0 < len(wanted) < len(every)


def test_extreme_scores_and_long_spans(build):
    head = build("bert-crf").head
    states = head.label_states.states
    emissions = torch.full((1, 60, len(states)), -40.0)
    emissions[..., states.index("I-Drug")] = 40.0  # one entity over the whole text
    mask = torch.ones(1, 60, dtype=torch.bool)
    (one,) = head.likely_entities(emissions, mask, 0.5)
    assert (one.start, one.end, one.type) == (0, 60, "Drug") and one.posterior == pytest.approx(1, abs=1e-4)


def test_candidates_are_the_best_path_and_what_exceeds_the_threshold(pipes, texts):
    for pipe, asked, least in ((pipes[0], 0.05, 0.05), (pipes[1], True, 0.02)):
        for text, path, found in zip(texts, pipe(texts), pipe(texts, candidates=asked), strict=True):
            assert spans([one for one in found if one["on_path"]]) == spans(path)
            assert spans(found) == sorted(set(spans(found)))
            others = [one for one in found if not one["on_path"]]
            assert all(one.get("posterior", one["score"]) > least for one in others)
            assert all(one["word"] == text[one["start"] : one["end"]] for one in found)
    assert sum(len(found) for found in pipe(texts, candidates=0.001)) > sum(map(len, pipe(texts)))
    with pytest.raises(ValueError, match="adner calibrate --coverage"):
        pipes[0](texts, candidates=True)
    with pytest.raises(ValueError, match="give threshold or candidates, not both"):
        pipe(texts, candidates=True, threshold=0.5)
    for wrong in (0.0, 1.0, "all"):
        with pytest.raises(ValueError, match="candidates must be True or a posterior"):
            pipe(texts, candidates=wrong)


def test_candidates_of_long_texts_are_found_once(pipes):
    pipe = pipes[1]
    text = "四肢红斑块，他克莫司软膏。" * 8
    found = pipe(text, candidates=0.01, window_size=30, window_overlap=20)
    assert len(spans(found)) == len(set(spans(found))) and spans(found) == sorted(spans(found))
    assert spans([one for one in found if one["on_path"]]) == spans(pipe(text, window_size=30, window_overlap=20))
    assert max(one["start"] for one in found) > 60


def test_each_window_gives_the_entities_it_owns():
    windows = [Window(0, 10), Window(6, 16)]
    rows = [[(0, 3), (2, 5), (7, 9), (8, 10)], [(6, 8), (7, 9), (8, 10), (9, 12)]]
    assert owned_entities(windows, rows) == [(0, 3), (2, 5), (7, 9), (8, 10), (9, 12)]
