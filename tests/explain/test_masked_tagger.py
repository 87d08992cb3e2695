"""Masked characters are read as the mask token."""

import torch

from hf_adner.explain.tagger import MaskedTagger
from hf_adner.explain.text_windows import Passage
from hf_adner.model.windows_adner import Window


def test_masked_characters_become_the_mask_token(case):
    texts = [text for text in case.texts if text]
    passages = [Passage(number, Window(0, len(text))) for number, text in enumerate(texts)]
    masked = [[0], [], [len(texts[2]) - 1], [0]][: len(texts)]
    plain = case.tagger.encode(texts, passages)
    hidden = MaskedTagger(case.tagger, masked).encode(texts, passages)
    is_changed = plain.inputs["input_ids"] != hidden.inputs["input_ids"]
    for row, places in enumerate(masked):
        covering = [any(start <= place < end for place in places) for start, end in plain.offsets[row]]
        assert is_changed[row].tolist() == covering
    assert (hidden.inputs["input_ids"][is_changed] == case.tagger.mask_id).all()
    assert torch.equal(plain.is_text, hidden.is_text)


def test_places_count_in_the_whole_text(build):
    case = build("bert-crf")
    text = "红斑伴痒" * 20
    window = Passage(0, Window(40, 60))
    batch = MaskedTagger(case.tagger, [[3, 41, 70]]).encode([text], [window])
    ids = batch.inputs["input_ids"][0].tolist()
    assert [token for token, value in enumerate(ids) if value == case.tagger.mask_id] == [2]


def test_without_masks_nothing_needs_a_mask_token(build, monkeypatch):
    case = build("bert-crf")
    for name in ("mask_token", "unk_token", "pad_token"):
        monkeypatch.setattr(case.tokenizer, f"_{name}", None, raising=False)
    passages = [Passage(0, Window(0, 4))]
    plain = case.tagger.encode(case.texts, passages)
    assert torch.equal(
        MaskedTagger(case.tagger, [()]).encode(case.texts, passages).inputs["input_ids"], plain.inputs["input_ids"]
    )
