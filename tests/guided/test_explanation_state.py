"""Explanation state of a run, and the controls."""

import numpy as np
import pytest
import torch

from hf_adner.explain.fusion import make_fusion
from hf_adner.explain.global_table import GlobalTable
from hf_adner.guided.explanation_state import ExplanationState, OtherSentence, Random, Shuffled
from hf_adner.guided.saliency_cache import DECAY
from hf_adner.guided.windows import training_windows

from .guided import setting


@pytest.fixture(scope="module")
def windows():
    given = setting("bert-crf", documents=12)
    return training_windows(given.rows, given.documents, given.tokenizer, given.model.config.labels)


def make_map(windows, key, peak: float = 3.0) -> np.ndarray:
    """A map that points at the entity's first token."""
    window, number = key
    logs = np.full(len(windows[window].tokens), -0.5, dtype=np.float32)
    logs[windows[window].spans[number][0]] = peak
    logs[[0, -1]] = 0
    return logs


def make_guidance(windows, fusion: str = "empirical-bayes", **options) -> ExplanationState:
    """One epoch in which the first entity of every window but the last was seen."""
    guidance = ExplanationState(windows, make_fusion(fusion), GlobalTable(), **options)
    for window in range(len(windows) - 1):
        guidance.cache.observe((window, 0), make_map(windows, (window, 0)), 0.1 if window % 2 else float("nan"))
    guidance.advance(1)
    return guidance


def test_the_focus_depends_on_seed_epoch_and_window_alone(windows):
    one, two = make_guidance(windows), make_guidance(windows)
    drawn = [one.focus_of(window) for window in range(12)]
    assert drawn == [two.focus_of(window) for window in range(12)] and set(drawn) == {0, 1}
    two.advance(2)
    assert drawn != [two.focus_of(window) for window in range(12)]
    assert drawn != [make_guidance(windows, seed=5).focus_of(window) for window in range(12)]


def test_an_epochs_maps_reach_memory_table_and_estimates(windows):
    guidance = make_guidance(windows)
    assert guidance.is_ready and len(guidance.cache) == 11 and guidance.epoch == 1
    assert guidance.mean_variance == pytest.approx(0.1)
    assert guidance.table.top("Symptom", "left-edge", 1)[0].mean > 0.5
    assert guidance.table.noise.entities == 11 and guidance.fusion.is_measured.any()
    assert 0.3 < guidance.edges.start <= 1 and guidance.edges.end < guidance.edges.start


def test_an_entity_does_not_predict_itself(windows):
    """The table without an entity's own maps is the table of the others."""
    guidance = make_guidance(windows)
    others = ExplanationState(windows, make_fusion("empirical-bayes"), GlobalTable())
    for window in range(1, 11):
        others.cache.observe((window, 0), make_map(windows, (window, 0)), 0.1)
    others.advance(1)
    [known], [expected] = guidance.recall([(0, 0)]), others.recall([(0, 0)])
    assert known.memory is not None and expected.memory is None
    assert np.allclose(known.prior, expected.prior, atol=1e-5)
    for epoch in (2, 3):  # what is left out decays along
        guidance.advance(epoch)
        others.advance(epoch)
    assert guidance.cache.remembered[0, 0].weight == pytest.approx(DECAY**2)
    assert np.allclose(guidance.recall([(0, 0)])[0].prior, others.recall([(0, 0)])[0].prior, atol=1e-5)


def test_shares_sum_to_one_over_the_text_and_follow_the_table_where_nothing_is_remembered(windows):
    guidance = make_guidance(windows)
    keys = [(0, 0), (11, 0)]
    known = guidance.recall(keys)
    own, unseen = guidance.shares(keys, known)
    for shares, (window, _) in ((own, keys[0]), (unseen, keys[1])):
        assert shares.shape == (len(windows[window].tokens),) and shares.sum() == pytest.approx(1, abs=1e-5)
        assert shares[0] == shares[-1] == 0 and shares.argmax() == windows[window].spans[0][0]
    prior = torch.from_numpy(known[1].prior[1:-1]).softmax(0).numpy()
    assert np.allclose(unseen[1:-1], prior, atol=1e-3)
    local = make_guidance(windows, "local")
    assert local.shares([(11, 0)], local.recall([(11, 0)])) == [None]
    assert not local.recall([(0, 0)])[0].prior.any()


def test_processes_that_share_the_windows_agree_with_one(windows):
    whole = make_guidance(windows)
    parts = [ExplanationState(windows, make_fusion("empirical-bayes"), GlobalTable()) for _ in range(2)]
    for window in range(11):
        variance = 0.1 if window % 2 else float("nan")
        parts[window % 2].cache.observe((window, 0), make_map(windows, (window, 0)), variance)
    pending = [dict(one.cache.pending) for one in parts]
    for one in parts:
        one.cache.join(pending)
        one.advance(1)
        assert one.state() == whole.state() and torch.equal(one.fusion.moments, whole.fusion.moments)


def test_controls():
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    arguments = (shares, (0, 1), (3, 0), 2)
    for control in (Shuffled(0), Random(0)):
        first = control(*arguments)
        assert first.sum() == pytest.approx(1) and np.array_equal(first, control(*arguments))
        assert not np.array_equal(first, type(control)(1)(*arguments))
        assert not np.array_equal(first, control(shares, (0, 1), (3, 0), 3))
    assert sorted(Shuffled(0)(*arguments)) == sorted(shares)


def test_another_sentences_map_is_laid_on_the_entity():
    donor = np.array([0.1, 0.6, 0.3])
    spans = [[], [(1, 2)], []]
    control = OtherSentence(0, spans, lambda key: donor if key == (1, 0) else None, "abc")
    laid = control(np.full(6, 1 / 6), (3, 4), (2, 0), 0)
    assert laid.sum() == pytest.approx(1) and laid.argmax() == 3
    assert laid[2:5].tolist() == pytest.approx((donor / (1 + 3 * 0.1)).tolist())
    alone = OtherSentence(0, [[(0, 1)]], lambda key: donor, "a")
    assert alone(np.full(4, 0.25), (0, 1), (0, 0), 0).tolist() == [0.25] * 4
    overlapping = OtherSentence(0, spans, lambda key: donor, "abb")  # the only donor is a window of the same text
    assert overlapping(np.full(4, 0.25), (0, 1), (2, 0), 0).tolist() == [0.25] * 4
