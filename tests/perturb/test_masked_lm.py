import random
from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.context import MaskedLanguageModelEdit, Terms
from hf_adner.perturb.masked_lm import MaskedLanguageModel, draw_weighted
from hf_adner.perturb.units import Unit, context_units

from .documents import check, english, note

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _tokenizer(folder, words):
    path = folder / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, *words]), encoding="utf-8")
    return BertTokenizer(str(path), do_lower_case=True)


class Constant(torch.nn.Module):
    """Gives every position the same probabilities, and remembers what it read."""

    config = SimpleNamespace(max_position_embeddings=64)

    def __init__(self, tokenizer, **probabilities):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.full((len(tokenizer),), -30.0))
        for piece, probability in probabilities.items():
            token = tokenizer.convert_tokens_to_ids(piece.replace("_", "##"))
            self.logits.data[token] = torch.tensor(probability).log()
        self.read = []

    def forward(self, input_ids, attention_mask):
        self.read += [row[:n].tolist() for row, n in zip(input_ids, attention_mask.sum(1).tolist())]
        return SimpleNamespace(logits=self.logits.expand(*input_ids.shape, -1))


@pytest.fixture
def chinese(tmp_path):
    tokenizer = _tokenizer(tmp_path, [*"甲乙丙丁戊痒", "ab", "##c", "##ab"])
    return MaskedLanguageModel(Constant(tokenizer, 丙=0.5, 丁=0.3, ab=0.1, _c=0.095, 戊=0.005), tokenizer)


def test_one_character_for_one(chinese):
    document = Document("a", "甲丙痒乙", (Entity(2, 3, "S"),))
    [found] = chinese.candidates([document], [[Unit(0, 1), Unit(1, 2), Unit(3, 4)]])
    rounded = [[(string, round(probability, 3)) for string, probability in candidates] for candidates in found]
    assert rounded == [[("丙", 0.5), ("丁", 0.3)], [("丁", 0.3)], [("丙", 0.5), ("丁", 0.3)]]
    mask = chinese.tokenizer.mask_token_id
    assert chinese.model.read == [[2, mask, mask, 10, mask, 3]]


def test_words_of_several_characters(chinese):
    [[found]] = chinese.candidates([Document("a", "丙丙")], [[Unit(0, 2)]])
    assert [string for string, _ in found] == ["丁丙", "丙丁", "丁丁"]
    assert found[-1][1] == pytest.approx(0.09, rel=1e-3)


def test_terms_are_left_out(chinese):
    chinese.terms = Terms(Lexicon(["丙痒", "丁"]))
    document = Document("a", "甲痒", (Entity(1, 2, "S"),))
    assert chinese.candidates([document], [[Unit(0, 1)]]) == [[[]]]
    assert chinese.propose(document, [Unit(0, 1)], random.Random(0)) == [None]


def test_words_get_one_mask_and_whole_words(tmp_path):
    tokenizer = _tokenizer(tmp_path, ["itch", "##y", "rash", "arm", "the", ",", "a"])
    model = MaskedLanguageModel(Constant(tokenizer, rash=0.5, _y=0.2, a=0.2, arm=0.1), tokenizer)
    document = Document("a", "the itchy Arm, xyz")
    units = [Unit(4, 9, "word"), Unit(10, 13, "word")]
    [found] = model.candidates([document], [units])
    assert [[string for string, _ in candidates] for candidates in found] == [["rash", "arm"], ["rash"]]
    mask, unknown = tokenizer.mask_token_id, tokenizer.unk_token_id
    assert model.model.read == [[2, *tokenizer.convert_tokens_to_ids(["the"]), mask, mask, 10, unknown, 3]]


def test_long_texts_go_through_windows(chinese):
    chinese.window = 40
    document = Document("a", "甲乙" * 60)
    units = [Unit(place, place + 1) for place in range(0, 120, 3)]
    [found] = chinese.candidates([document], [units])
    assert all([string for string, _ in candidates] == ["丙", "丁"] for candidates in found)
    assert max(map(len, chinese.model.read)) <= 42 and len(chinese.model.read) > 3


def test_every_document_and_batch_size_gives_the_same():
    tokenizer = AdnerTokenizer.from_texts([note().text, english().text])
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes, max_position_embeddings=200))
    documents = [note(), Document("b", ""), Document("c", "外用反复发热")]
    units = [context_units(document) for document in documents]
    many = MaskedLanguageModel(model, tokenizer, minimum=0).candidates(documents, units)
    source = MaskedLanguageModel(model, tokenizer, minimum=0, batch_size=1)
    assert [len(own) for own in many] == [len(own) for own in units]
    for document, own, expected in zip(documents, units, many):
        for found, wanted in zip(source.candidates([document], [own])[0], expected):
            assert dict(found) == pytest.approx(dict(wanted), rel=1e-4) and found
    result = MaskedLanguageModelEdit(source, share=0.5)(note(), 0)
    check(result, note())
    assert result.alignment.is_identity and len(result.edited) >= 5


def test_draws_follow_probabilities():
    rng = random.Random(0)
    drawn = [draw_weighted([("甲", 0.9), ("乙", 0.1)], rng) for _ in range(200)]
    assert 160 < drawn.count("甲") < 198
    assert draw_weighted([], rng) is None


def test_a_tokenizer_without_mask_is_refused():
    with pytest.raises(ValueError, match="a fast tokenizer with a mask token"):
        MaskedLanguageModel(torch.nn.Linear(1, 1), SimpleNamespace(mask_token_id=None, is_fast=True))


def test_from_a_checkpoint(tmp_path):
    tokenizer = _tokenizer(tmp_path, list("甲乙"))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    source = MaskedLanguageModel.from_pretrained(tmp_path / "model", minimum=0)
    assert source.propose(Document("a", "甲"), [Unit(0, 1)], random.Random(0)) == ["乙"]
