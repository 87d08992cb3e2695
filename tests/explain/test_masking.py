"""Hidden copies of a window."""

import pytest
import torch

from hf_adner.explain.removal import Masking
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import Passage
from hf_adner.model.windows_adner import Window


def masking_of(case, text, window, entity, units="characters"):
    tagger = case.tagger
    batch = tagger.encode([text], [Passage(0, window)])
    return Masking(tagger, Target("label", tagger.labels), batch, units, [batch.tokens_of(0, entity)], 4), batch


def test_hidden_tokens_and_their_words(build, monkeypatch):
    case = build("m-dscmg")
    masking, batch = masking_of(case, "伴红斑块", Window(1, 4), (1, 3, "Disease"))
    assert masking.count == 3 and masking.token_units.tolist() == [-1, 0, 1, 2, -1]
    inputs = masking._inputs(torch.tensor([[True, True, True], [False, True, True], [True, True, False]]))
    mask, ids = case.tokenizer.mask_token_id, batch.inputs["input_ids"][0].tolist()
    assert inputs["input_ids"].tolist() == [ids, [*ids[:1], mask, *ids[2:]], [*ids[:3], mask, *ids[4:]]]
    words = [case.tokenizer.lexicon.words[i - 1] if i else "" for i in batch.inputs["lexicon_ids"][0].tolist()]
    visible = [{words[n] for n, i in enumerate(row) if i} for row in inputs["lexicon_ids"].tolist()]
    assert visible == [{"红", "红斑", "斑块"}, {"斑块"}, {"红", "红斑"}]


def test_scores_of_a_unit_are_shared_by_characters(stock):
    masking, batch = masking_of(stock, stock.texts[0], Window(16, 37), (23, 29, "Disease"), "words")
    assert masking.token_units.tolist() == [-1, 0, 1, 1, 1, 2, 3, 3, -1]
    shared = masking.shared_over_tokens(torch.tensor([6.0, 12.0, 4.0, 8.0]))
    assert shared.tolist() == pytest.approx([0, 6, 4, 4, 4, 4, 6, 2, 0])


def test_nothing_hidden_is_the_text_itself(case):
    number = max(range(len(case.texts)), key=lambda one: len(case.texts[one]))
    text = case.texts[number]
    masking, _ = masking_of(case, text, Window(0, len(text)), case.entities[number][0])
    whole, log_probs = masking.whole()
    kept = torch.ones(6, masking.count, dtype=torch.bool)
    torch.testing.assert_close(masking.scores(kept)[:, 0], whole.expand(6), atol=1e-4, rtol=1e-4)
    assert log_probs.shape[1] == 5
