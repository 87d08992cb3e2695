"""A CRF given that spans are entities or are none, against enumeration of every label path that agrees."""

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner.model.crf_conditioned_adner import ConditionedCrf
from hf_adner.model.labels_adner import bio_to_bioes, tags_to_spans
from hf_adner.model.span_tracks_adner import ChainState, RowTracks, SpanCondition, chain_states

from .test_heads_adner import LABELS, SCHEMES, crf_head

LENGTH = 5
SPANS = [(start, end, label) for label in "xy" for start in range(LENGTH) for end in range(start + 1, LENGTH + 1)]


def force(start, end, label="x"):
    return SpanCondition(start, end, label, True)


def forbid(start, end, label="x"):
    return SpanCondition(start, end, label, False)


CASES = {
    "nothing": [],
    "one position": [force(2, 3)],
    "beside one another": [force(0, 2), force(2, 3), force(3, 5, "y")],
    "whole row": [force(0, 5, "y")],
    "no single": [forbid(1, 2)],
    "no pair": [forbid(1, 3)],
    "no four": [forbid(1, 5)],
    "to the end": [forbid(2, 5), forbid(2, 5, "y")],
    "whole row none": [forbid(0, 5)],
    "same start": [forbid(1, 2), forbid(1, 3), forbid(1, 5)],
    "same end": [forbid(0, 4), forbid(1, 4), forbid(2, 4), forbid(3, 4)],
    "crossing": [forbid(0, 3), forbid(1, 4), forbid(2, 5), forbid(1, 4, "y")],
    "in a row": [forbid(0, 2), forbid(2, 4), forbid(4, 5)],
    "every span of a label": [forbid(*span) for span in SPANS if span[2] == "x"],
    "no entity at all": [forbid(*span) for span in SPANS],
    "forced and ruled out": [force(1, 3), forbid(0, 2), forbid(1, 3, "y"), forbid(3, 5), forbid(2, 5, "y")],
    "forced beside forbidden": [force(3, 4, "y"), forbid(0, 3), forbid(1, 3), forbid(4, 5)],
}


def agrees(tags, conditions) -> bool:
    spans = set(tags_to_spans(tags))
    return all((one[:3] in spans) == one.forced for one in conditions)


def enumerated(paths, conditions):
    """Return the paths that agree with the conditions and their probabilities given them."""
    left = [(tags, weight) for tags, weight in paths if agrees(tags, conditions)]
    total = math.fsum(weight for _, weight in left)
    return [(tags, weight / total) for tags, weight in left]


def check(head, rows, conditions, paths, tolerance=1e-5):
    """Compare all answers of a batch with enumeration; `rows` (batch, length, states), `paths` as of `label_paths`."""
    lengths = [len(own[0][0]) for own in paths]
    mask = torch.arange(rows.shape[1]) < torch.tensor(lengths)[:, None]
    chain = ConditionedCrf(head.crf, head.label_states.states, rows, mask, conditions)
    best = chain.best_spans()
    marginals, (starts, ends) = chain.label_probs(LABELS), chain.boundaries()
    likely = {(one.row, one.start, one.end, one.type): one.posterior for one in chain.likely_entities(0.001)}
    for row, (own, all_paths) in enumerate(zip(conditions, paths)):
        left = enumerated(all_paths, own)
        top = max(left, key=lambda path: path[1])[0]
        assert [span[1:] for span in best if span[0] == row] == tags_to_spans(top)
        expected, spans = torch.zeros(lengths[row], len(LABELS)), defaultdict(float)
        opening, closing = torch.zeros(lengths[row]), torch.zeros(lengths[row])
        for tags, weight in left:
            expected[range(len(tags)), [LABELS.index(tag) for tag in tags]] += weight
            for start, end, label in tags_to_spans(tags):
                spans[start, end, label] += weight
                opening[start] += weight
                closing[end - 1] += weight
        found = (marginals[row, : lengths[row]], starts[row, : lengths[row]], ends[row, : lengths[row]])
        for value, side in zip(found, (expected, opening, closing)):
            torch.testing.assert_close(value.float(), side, atol=tolerance, rtol=0)
        asked = [span for span in SPANS if span[1] <= lengths[row]]
        posteriors = chain.span_log_posteriors([(row, *span) for span in asked]).exp().tolist()
        assert posteriors == pytest.approx([spans[span] for span in asked], abs=tolerance)
        assert {key[1:]: value for key, value in likely.items() if key[0] == row} == pytest.approx(
            {span: value for span, value in spans.items() if value > 0.001}, abs=tolerance
        )
    entities = chain.path_entities()
    assert [one[:4] for one in entities] == best
    for one in entities:
        (value,) = chain.span_log_posteriors([one[:4]]).exp().tolist()
        assert one.posterior == value and one.start_prob == pytest.approx(float(starts[one.row, one.start]))
        assert one.end_prob == pytest.approx(float(ends[one.row, one.end - 1]))
        assert one.start_prob >= value - 1e-9 and one.end_prob >= value - 1e-9


def emissions(head, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(LENGTH, len(head.label_states.states), generator=generator) * scale


@SCHEMES
@pytest.mark.parametrize("case", CASES)
def test_every_answer_is_that_of_the_paths_that_agree(case, scheme, label_paths):
    head = crf_head(scheme)
    row = emissions(head)
    check(head, row[None], [CASES[case]], [label_paths(head, row)])


@SCHEMES
def test_rows_of_a_batch_have_their_own_conditions(scheme, label_paths):
    head = crf_head(scheme)
    rows = torch.stack([emissions(head, seed) for seed in range(4)])
    conditions = [CASES["crossing"], [], CASES["forced and ruled out"], [force(0, 1, "y"), forbid(1, 3)]]
    lengths = [5, 2, 5, 3]
    paths = [label_paths(head, row[:length]) for row, length in zip(rows, lengths)]
    check(head, rows, conditions, paths)


spans = st.sampled_from(SPANS)


@SCHEMES
@settings(max_examples=15)
@given(wanted=st.lists(spans, max_size=2), unwanted=st.lists(spans, max_size=6), seed=st.integers(0, 5))
def test_any_conditions(scheme, wanted, unwanted, seed, label_paths):
    disjoint = []
    for span in wanted:
        if all(span[1] <= other[0] or other[1] <= span[0] for other in disjoint):
            disjoint.append(span)
    conditions = [force(*span) for span in disjoint] + [forbid(*span) for span in unwanted if span not in disjoint]
    head = crf_head(scheme)
    row = emissions(head, seed)
    check(head, row[None], [conditions], [label_paths(head, row)])


@SCHEMES
@pytest.mark.parametrize("scale", [0.0, 300.0, 1e5])
def test_extreme_scores(scheme, scale, label_paths):
    """A forced span that the model finds all but impossible, and a forbidden one that it is sure of."""
    head = crf_head(scheme)
    row = emissions(head, scale=scale)
    likely = tags_to_spans(max(label_paths(head, row), key=lambda path: path[1])[0]) or [(0, 2, "x")]
    least = next(span for span in SPANS if all(span[1] <= one[0] or one[1] <= span[0] or span == one for one in likely))
    conditions = [forbid(*span) for span in likely if span != least] + [force(*least)]
    paths = [(tags, value) for tags, value in _log_paths(head, row) if agrees(tags, conditions)]
    mask = torch.ones(1, LENGTH, dtype=torch.bool)
    chain = ConditionedCrf(head.crf, head.label_states.states, row[None], mask, [conditions])
    top = max(paths, key=lambda path: path[1])[0]
    assert [span[1:] for span in chain.best_spans()] == tags_to_spans(top)
    values = torch.tensor([value for _, value in paths], dtype=torch.float64).softmax(0).tolist()
    expected = [sum(value for (tags, _), value in zip(paths, values) if span in tags_to_spans(tags)) for span in SPANS]
    found = chain.span_log_posteriors([(0, *span) for span in SPANS]).exp().tolist()
    assert found == pytest.approx(expected, abs=1e-5)


def _log_paths(head, row):
    """Return every label path with the log of its weight, which may be far below the smallest float."""
    index = {state: number for number, state in enumerate(head.label_states.states)}
    begin, finish, steps = (
        side.detach().double() for side in (head.crf.start_transitions, head.crf.end_transitions, head.crf.transitions)
    )
    found = []
    for tags in itertools.product(LABELS, repeat=len(row)):
        before = ("O", *tags)
        if any(tag[0] == "I" and before[at][2:] != tag[2:] for at, tag in enumerate(tags)):
            continue
        path = [index[state] for state in (bio_to_bioes(tags) if len(index) > len(LABELS) else tags)]
        value = begin[path[0]] + finish[path[-1]] + row.double()[range(len(path)), path].sum()
        value += sum(steps[one, two] for one, two in itertools.pairwise(path))
        found.append((tags, float(value)))
    return found


@SCHEMES
def test_every_path_of_labels_is_one_path_of_states(scheme):
    """Counting: with all scores 0 each agreeing path has the same probability, so the posterior counts paths."""
    head = crf_head(scheme)
    with torch.no_grad():
        for parameter in head.crf.parameters():
            parameter.zero_()
    row = torch.zeros(1, LENGTH, len(head.label_states.states))
    for conditions in CASES.values():
        left = [tags for tags, _ in _log_paths(head, row[0]) if agrees(tags, conditions)]
        chain = ConditionedCrf(head.crf, head.label_states.states, row, torch.ones(1, LENGTH).bool(), [conditions])
        counts = [sum(span in tags_to_spans(tags) for tags in left) for span in SPANS]
        found = chain.span_log_posteriors([(0, *span) for span in SPANS]).exp() * len(left)
        assert found.tolist() == pytest.approx(counts, abs=1e-6)


def test_spans_that_cross_run_on_tracks_of_their_own():
    row = RowTracks(CASES["crossing"])
    assert {key: track.number for key, track in row.tracks.items()} == {
        ("x", 0): 0,
        ("x", 1): 1,
        ("x", 2): 2,
        ("y", 1): 0,
    }
    assert len(chain_states(["x", "y"], [row])) == 9 + 4 * 4
    assert len(chain_states(["x", "y"], [RowTracks(CASES["in a row"])])) == 9 + 4, "one track is used again"
    assert ChainState("P", "x", 0).tag == "I-x" and ChainState("O", "").tag == "O"


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([force(0, 2), force(1, 3)], "overlap"),
        ([force(0, 2), forbid(0, 2)], "both forced and forbidden"),
        ([force(3, 6)], "not within the 5 positions of row 0"),
        ([forbid(2, 2)], "is empty"),
        ([forbid(0, 1, "z")], "the model does not have"),
    ],
)
def test_impossible_conditions_are_refused(conditions, message):
    head = crf_head("bioes")
    with pytest.raises(ValueError, match=message):
        ConditionedCrf(head.crf, head.label_states.states, emissions(head)[None], torch.ones(1, 5).bool(), [conditions])
