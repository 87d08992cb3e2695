"""Windows cover a text and respect spans; their entities are merged into one flat list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.model.windows_adner import (
    SENTENCE_ENDS,
    Window,
    length_batches,
    merge_window_entities,
    owned_ranges,
    prediction_windows,
    training_windows,
)


@st.composite
def geometries(draw, longest=120):
    """length, size, overlap"""
    size = draw(st.integers(1, 40))
    return draw(st.integers(0, longest)), size, draw(st.integers(0, size - 1))


@st.composite
def texts_with_spans(draw):
    """A text, window size, overlap, and spans that may be nested or overlap; no overlapping group exceeds the size."""
    length, size, overlap = draw(geometries())
    spans, furthest = [], 0
    while furthest < length and draw(st.booleans()):
        start = draw(st.integers(furthest, length - 1))
        furthest = draw(st.integers(start + 1, min(length, start + size)))
        spans.append((start, furthest, "Symptom"))
        inner = draw(st.integers(start, furthest - 1))
        spans.append((inner, draw(st.integers(inner + 1, furthest)), "Disease"))
    text = draw(st.text("皮疹。；", min_size=length, max_size=length))
    return text, size, overlap, draw(st.permutations(spans))


def assert_covers(windows, length):
    covered = {index for window in windows for index in range(*window)}
    assert covered == set(range(length))


@given(geometries())
def test_prediction_windows_cover_the_text_with_the_overlap(geometry):
    length, size, overlap = geometry
    windows = prediction_windows(*geometry)
    assert_covers(windows, length)
    assert all(window.end - window.start == min(size, length) for window in windows)
    for left, right in zip(windows, windows[1:]):
        assert left.start < right.start
        assert left.end - right.start >= overlap
    assert all(left.end - right.start == overlap for left, right in zip(windows, windows[1:-1]))
    assert prediction_windows(*geometry) == windows


@given(st.lists(st.integers(1, 600), max_size=80), st.integers(1, 20))
def test_batches_of_similar_length_hold_each_row_once_within_the_budget(lengths, batch_size):
    batches = list(length_batches(lengths, batch_size))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch in batches:
        longest, shortest = lengths[batch[0]], lengths[batch[-1]]
        assert len(batch) * longest <= batch_size * max(lengths)
        assert longest - shortest <= max(longest // 8, 8)


def test_short_rows_share_larger_batches_and_equal_ones_batches_of_the_given_size():
    assert [len(batch) for batch in length_batches([510] * 5, 2)] == [2, 2, 1]
    assert list(length_batches([10, 100, 9, 100, 100, 10], 2)) == [[1, 3], [4], [0, 5, 2]]


def test_prediction_windows_by_hand():
    assert prediction_windows(10, 4, 1) == [(0, 4), (3, 7), (6, 10)]
    assert prediction_windows(11, 4, 1) == [(0, 4), (3, 7), (6, 10), (7, 11)]
    assert prediction_windows(4, 4, 3) == [(0, 4)]
    assert prediction_windows(0, 4, 3) == []


@given(geometries())
def test_owned_ranges_partition_the_text_and_lie_in_their_windows(geometry):
    windows = prediction_windows(*geometry)
    owned = owned_ranges(windows)
    assert [index for part in owned for index in range(*part)] == list(range(geometry[0]))
    assert all(w.start <= part.start <= part.end <= w.end for w, part in zip(windows, owned))


@given(geometries())
def test_the_owner_has_the_most_context(geometry):
    length, _, _ = geometry
    windows = prediction_windows(*geometry)

    def context(window, index):
        left = index - window.start if window.start else length
        right = window.end - 1 - index if window.end < length else length
        return min(left, right)

    for window, part in zip(windows, owned_ranges(windows)):
        for index in range(*part):
            assert context(window, index) == max(context(w, index) for w in windows if w.start <= index < w.end)


@pytest.mark.parametrize("windows", [[(0, 4), (5, 9)], [(0, 4), (0, 6)], [(0, 6), (2, 6)], [(3, 7), (0, 4)]])
def test_owned_ranges_refuse_what_are_no_rising_windows(windows):
    with pytest.raises(ValueError, match="rising"):
        owned_ranges([Window(*window) for window in windows])


@given(texts_with_spans(), st.booleans())
def test_training_windows_cover_the_text_and_cut_no_span(case, with_text):
    text, size, overlap, spans = case
    windows = training_windows(len(text), size, overlap, spans, text if with_text else None)
    assert_covers(windows, len(text))
    assert all(0 < window.end - window.start <= size for window in windows)
    for start, end, _ in spans:
        for window in windows:
            inside = window.start <= start and end <= window.end
            assert inside or end <= window.start or window.end <= start
        assert any(window.start <= start and end <= window.end for window in windows)
    assert all(left.start < right.start and left.end < right.end for left, right in zip(windows, windows[1:]))
    assert training_windows(len(text), size, overlap, list(reversed(spans)), text if with_text else None) == windows


@given(geometries())
def test_training_windows_without_spans_have_the_full_size_and_overlap(geometry):
    length, size, overlap = geometry
    windows = training_windows(length, size, overlap, [])
    assert all(window.end - window.start == size for window in windows[:-1])
    assert all(left.end - right.start == overlap for left, right in zip(windows, windows[1:]))


def test_training_windows_move_their_edges_off_a_span():
    assert training_windows(12, 6, 2, [(4, 8)]) == [(0, 4), (2, 8), (4, 10), (8, 12)]
    assert training_windows(12, 6, 0, [(4, 7, "Drug"), (6, 8, "Drug")]) == [(0, 4), (4, 10), (10, 12)]


def test_training_windows_prefer_the_end_of_a_sentence():
    text = "皮肤干燥瘙痒。外用药膏后好转，复诊。"
    windows = training_windows(len(text), 9, 0, [], text)
    assert windows[0] == (0, 7) and text[windows[0].end - 1] in SENTENCE_ENDS
    assert training_windows(len(text), 9, 0, [])[0] == (0, 9)
    cut_in_a_span = training_windows(len(text), 9, 0, [(5, 8)], text)
    assert cut_in_a_span[0] == (0, 9)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(2, 9)], r"\(2, 9\) has 7 characters"),
        ([(1, 4), (3, 8)], r"\(1, 8\) has 7 characters"),
        ([(3, 3)], r"\(3, 3\) is empty"),
        ([(-1, 2)], r"\(-1, 2\)"),
        ([(19, 21)], r"\(19, 21\)"),
    ],
)
def test_training_windows_name_the_span_they_cannot_keep(spans, message):
    with pytest.raises(ValueError, match=message):
        training_windows(20, 6, 2, spans)


@pytest.mark.parametrize("arguments", [(-1, 4, 1), (9, 0, 0), (9, 4, 4), (9, 4, -1)])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        prediction_windows(*arguments)
    with pytest.raises(ValueError, match="expected"):
        training_windows(*arguments, [])


def test_training_windows_refuse_a_text_of_another_length():
    with pytest.raises(ValueError, match="2 characters, expected 3"):
        training_windows(3, 2, 0, [], "皮疹")


@st.composite
def predictions(draw):
    """Windows and per window any entities inside it."""
    windows = prediction_windows(*draw(geometries(longest=60)))
    found = []
    for window in windows:
        starts = draw(st.lists(st.integers(window.start, window.end - 1), max_size=5))
        found.append([(start, draw(st.integers(start + 1, window.end)), "Symptom") for start in starts])
    return windows, found


@given(predictions())
def test_merged_entities_are_sorted_flat_and_from_their_owners(case):
    windows, found = case
    merged = merge_window_entities(windows, found)
    assert all(left[1] <= right[0] for left, right in zip(merged, merged[1:]))
    owners = owned_ranges(windows)
    owned = [e for part, es in zip(owners, found) for e in es if part.start <= (e[0] + e[1] - 1) // 2 < part.end]
    assert set(merged) <= set(owned)
    for start, end, _ in owned:
        assert any(start < other_end and other_start < end for other_start, other_end, _ in merged)
    assert merge_window_entities(windows, found) == merged


@given(geometries(), st.data())
def test_merging_gives_back_entities_that_every_window_agrees_on(geometry, data):
    length, size, overlap = geometry
    longest = overlap // 2 + 1  # so short that the owner of its middle holds it whole
    entities, place = [], 0
    while place < length and data.draw(st.booleans()):
        start = data.draw(st.integers(place, length - 1))
        place = data.draw(st.integers(start + 1, min(length, start + longest)))
        entities.append({"start": start, "end": place})
    windows = prediction_windows(*geometry)
    found = [[e for e in entities if w.start <= e["start"] and e["end"] <= w.end] for w in windows]
    assert merge_window_entities(windows, found) == entities


def test_of_two_overlapping_entities_the_one_with_more_context_stays():
    windows = prediction_windows(14, 8, 2)  # (0, 8), (6, 14): the cut is at 7
    assert merge_window_entities(windows, [[(5, 8)], [(7, 11)]]) == [(7, 11)]
    assert merge_window_entities(windows, [[(4, 7)], [(6, 11)]]) == [(4, 7)]


def test_merging_refuses_what_does_not_fit_its_windows():
    windows = prediction_windows(14, 8, 2)
    with pytest.raises(ValueError, match="1 lists of entities for 2 windows"):
        merge_window_entities(windows, [[]])
    with pytest.raises(ValueError, match=r"\(3, 9\) is empty or not within its"):
        merge_window_entities(windows, [[(3, 9)], []])


def test_a_very_long_text_has_few_windows():
    length = 300_000
    spans = [(start, start + 7) for start in range(0, length - 7, 9)]
    assert len(prediction_windows(length, 510, 64)) == 673
    windows = training_windows(length, 510, 64, spans, "红斑丘疹伴瘙痒。。" * (length // 9) + "红" * (length % 9))
    assert len(windows) < 1000
    assert_covers(windows, length)
