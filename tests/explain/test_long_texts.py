"""Crops and tiles of long texts: which characters are read, and that each copy is read once for all entities."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import make_explainer
from hf_adner.explain import occlusion
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import (
    CELL,
    EDGE,
    GRID,
    TextWindow,
    crop_entities,
    place_entities,
    reads_whole,
    tile_entities,
)
from hf_adner.model.windows_adner import Window

CONTEXT = 10
LENGTH = 260
SPANS = [(0, 2, "Disease"), (70, 74, "Drug"), (76, 78, "Disease"), (130, 150, "Drug"), (258, 260, "Disease")]


@pytest.fixture(scope="module")
def text():
    draw = random.Random(0)
    return "".join(draw.choice("四肢红斑块他克莫司软膏外用痒反复伴瘙3年") for _ in range(LENGTH))


@pytest.fixture(scope="module")
def case(build):
    return build("bilstm-crf", use_lexicon_edges=False)


@pytest.fixture(scope="module")
def words(build):
    """A model with a lexicon stream, on texts that it takes at once."""
    return build("m-dscmg")


def fits_all(texts):
    return True


entities = st.lists(st.tuples(st.integers(0, 690), st.integers(1, 40)), min_size=1, max_size=8)


@given(entities, st.integers(0, 80), st.integers(1, 700))
def test_every_entity_has_its_context(pairs, context, length):
    spans = [(start, min(start + size, length), "x") for start, size in pairs if start < length]
    text = "字" * length
    windows = crop_entities(0, text, spans, context, None, fits_all)
    found = {index: window.window for window in windows for index, _ in window.entities}
    assert sorted(found) == list(range(len(spans)))
    for index, (start, end, _) in enumerate(spans):
        first, after = found[index]
        if reads_whole(text, context):
            assert (first, after) == (0, length)
        else:
            assert max(start - context, 0) - first in range(GRID) and after - min(end + context, length) in range(GRID)
            assert (first, after) == crop_entities(0, text, [spans[index]], context, None, fits_all)[0].window


@given(entities, st.integers(0, 80), st.integers(1, 700))
def test_every_character_in_reach_is_hidden_once_for_each_entity(pairs, context, length):
    spans = [(start, min(start + size, length), "x") for start, size in pairs if start < length]
    text = "字" * length
    hidden = {index: [] for index in range(len(spans))}
    for tile in tile_entities(0, text, spans, context, None, fits_all):
        for index, span in tile.window.entities:
            start, end = tile.reach(span)
            places = range(max(start, tile.hidden.start), min(end, tile.hidden.end))
            hidden[index] += places
            first, after = tile.window.window
            assert first <= span[0] < span[1] <= after
            if places:  # never at the edge of the tile where there is more text
                assert (span[0] - first >= EDGE or first == 0) and (after - span[1] >= EDGE or after == length)
    for index, (start, end, _) in enumerate(spans):
        whole = reads_whole(text, context)
        expected = range(length) if whole else range(max(start - context, 0), min(end + context, length))
        assert sorted(hidden[index]) == list(expected)


def test_crops_and_tiles_end_with_the_windows_that_the_model_takes():
    text, spans = "字" * 500, [(10, 12, "x"), (300, 390, "x")]
    size = 120

    def fits(texts):
        return all(len(one) <= size for one in texts)

    homes = [place_entities(0, text, [span], size, fits)[0].window for span in spans]
    windows = crop_entities(0, text, spans, 32, size, fits)
    assert [window.entities for window in windows] == [((0, spans[0]),), ((1, spans[1]),)]
    assert [window.home for window in windows] == homes
    assert [window.window for window in windows] == [Window(0, 64), homes[1]]
    hidden = [place for tile in tile_entities(0, text, spans[1:], 32, size, fits) for place in range(*tile.hidden)]
    assert hidden == [*range(max(300 - 32, homes[1].start), min(390 + 32, homes[1].end))]
    assert all(tile.window.home == homes[1] for tile in tile_entities(0, text, spans[1:], 32, size, fits))
    assert crop_entities(0, text, spans, None, size, fits) == place_entities(0, text, spans, size, fits)


def test_parts_that_a_sub_word_tokenizer_splits_more_finely_are_read_in_their_window():
    text, span = "字" * 500, (300, 302, "x")

    def fits(texts):
        return all(len(one) in (0, 200, 500) or len(one) < 4 for one in texts)

    (home,) = place_entities(0, text, [span], 200, fits)
    (crop,) = crop_entities(0, text, [span], 32, 200, fits)
    assert crop.window == crop.home == home.window
    assert {tile.window.window for tile in tile_entities(0, text, [span], 32, 200, fits)} == {home.window}


@pytest.mark.parametrize("architecture", ["bert-crf", "stock"])
def test_tokens_of_crops_keep_the_positions_of_their_window(build, stock, text, architecture):
    case = stock if architecture == "stock" else build(architecture)
    note = "the patient had severe eczema on arms and legs " * 5 if architecture == "stock" else text
    spans = [(start, start + 2, "Disease") for start in range(0, len(note) - 2, 9)]
    moved = 0
    for window in case.tagger.crops([note], [spans], 0):
        read, home = note[slice(*window.window)], window.home
        inputs = case.tokenizer([read], return_tensors="pt")
        before = len(case.tokenizer(note[home.start : window.window.start], add_special_tokens=False)["input_ids"])
        assert architecture == "stock" or before == window.window.start - home.start
        tokens = inputs["input_ids"].shape[1]
        positions = torch.tensor([[0, *range(1 + before, tokens + before)]])
        expected = case.model(**inputs, position_ids=positions.clamp(max=39)).logits.log_softmax(-1)
        batch = case.tagger.encode(["", note], [TextWindow(1, window.window), window._replace(text=1)])
        own, found = case.tagger.tag(batch.inputs).log_probs
        torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-4)
        moved += before > 0 and not torch.allclose(own, found, atol=1e-3)
    assert moved > 2


@pytest.mark.parametrize("name", ["grad-x-input", "integrated-gradients"])
def test_a_crop_is_explained_as_a_text_of_its_own(case, text, name):
    explain = make_explainer(name, case.model, case.tokenizer, context=CONTEXT)
    (found,) = explain([text], [SPANS])
    for one, (start, end, label) in zip(found, SPANS):
        first, after = one.details["window"]
        alone = make_explainer(name, case.model, case.tokenizer, context=None)
        ((other,),) = alone([text[first:after]], [[(start - first, end - first, label)]])
        assert one.scores[first:after] == pytest.approx(other.scores, abs=1e-5)
        assert not any(one.scores[:first]) and not any(one.scores[after:])
        assert one.value == pytest.approx(other.value, abs=1e-4)
        assert one.start_profile[first:after] == pytest.approx(other.start_profile, abs=1e-5)
        (by_itself,) = explain([text], [[(start, end, label)]])[0]
        assert by_itself.scores == pytest.approx(one.scores, abs=1e-5)


@pytest.mark.parametrize("name", ["grad-x-input", "occlusion", "integrated-gradients", "lime"])
def test_short_texts_are_read_whole(words, name):
    options = {"n_samples": 10} if name == "lime" else {}
    cropped, whole = (
        make_explainer(name, words.model, words.tokenizer, context=context, **options)(words.texts, words.entities)
        for context in (0, None)
    )
    assert cropped == whole


def brute_force(case, text, span):
    """Scores of single characters, each hidden in its own tile, a forward pass each."""
    tagger, target = case.tagger, Target("label", case.tagger.labels)
    start, end, _ = span
    margin = CONTEXT + -(-(end - start + EDGE) // CELL) * CELL
    scores = [0.0] * len(text)
    for place in range(max(start - CONTEXT, 0), min(end + CONTEXT, len(text))):
        cell = place // CELL * CELL
        window = Window(max(cell - margin, 0), min(cell + CELL + margin, len(text)))
        batch = tagger.encode([text], [TextWindow(0, window)])
        entity = batch.tokens_of(0, span)
        ids = batch.inputs["input_ids"].clone()
        ids[0, 1 + place - window.start] = tagger.mask_id
        with torch.no_grad():
            values = [
                target(tagger.tag(one), [entity]).item() for one in (batch.inputs, batch.copies(1, input_ids=ids))
            ]
        scores[place] = values[0] - values[1]
    return scores


@pytest.mark.parametrize("batch_size", [1, 16])
def test_occlusion_in_tiles_equals_brute_force(case, text, batch_size):
    explain = make_explainer("occlusion", case.model, case.tokenizer, context=CONTEXT, batch_size=batch_size)
    (found,) = explain([text], [SPANS])
    for one, span in zip(found, SPANS):
        assert one.scores == pytest.approx(brute_force(case, text, span), abs=1e-4)
        assert one.details["window"] == [max(span[0] - CONTEXT, 0), min(span[1] + CONTEXT, LENGTH)]
        assert one.start_profile[span[0]] > 0 and one.span == span
    if batch_size == 16:
        assert [one.scores for one in explain([text], [SPANS[1:2]])[0]] == [
            pytest.approx(found[1].scores, abs=1e-5)
        ]  # whoever else is asked for


def test_a_copy_is_read_once_for_all_entities(case, text, monkeypatch):
    explain = make_explainer("occlusion", case.model, case.tokenizer, context=CONTEXT)
    read, values = [], occlusion._TileBatch._values

    def counted(self, copies):
        read.extend((self._tiles[copy.row].window.window, copy.unit) for copy in copies)
        return values(self, copies)

    monkeypatch.setattr(occlusion._TileBatch, "_values", counted)
    near = [(70, 72, "Drug"), (70, 73, "Drug"), (71, 72, "Disease"), (72, 76, "Disease")]
    explain([text], [near])
    assert len(read) == len(set(read)) == 76 - 70 + 2 * CONTEXT


def test_progress_counts_entities(case, text):
    for name in ("occlusion", "grad-x-input"):
        told = []
        explain = make_explainer(name, case.model, case.tokenizer, context=CONTEXT, batch_size=2)
        explain([text, "红斑"], [SPANS, [(0, 2, "Disease")]], told.append)
        assert sum(told) == len(SPANS) + 1 and len([count for count in told if count]) > 1 and min(told) >= 0


@pytest.mark.parametrize("context", [-1, 1.5, True])
def test_bad_contexts(case, context):
    with pytest.raises(ValueError, match="context must be an integer of 0 or more"):
        make_explainer("occlusion", case.model, case.tokenizer, context=context)
