import pytest
import torch

from hf_adner.data.encoding import AdnerDataCollator
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer

TEXTS = ["面部皮炎", "瘙痒", "", "面部瘙痒三年余"]


@pytest.fixture(params=["right", "left"])
def tokenizer(request):
    return AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["皮炎", "面部", "瘙痒"]), padding_side=request.param)


def features(tokenizer):
    rows = [dict(tokenizer(text)) for text in TEXTS]
    return [{**row, "labels": [-100, *[1] * (len(row["input_ids"]) - 2), -100], "document": 7} for row in rows]


@pytest.mark.parametrize("multiple", [None, 4])
def test_pads_like_the_tokenizer(tokenizer, multiple):
    rows = features(tokenizer)
    batch = AdnerDataCollator(tokenizer, pad_to_multiple_of=multiple)(rows)
    inputs = [{key: row[key] for key in row if key not in ("labels", "document")} for row in rows]
    expected = tokenizer.pad(inputs, pad_to_multiple_of=multiple, return_tensors="pt")
    for key, values in expected.items():
        assert torch.equal(batch[key], values), key
    assert batch["input_ids"].shape[1] == (12 if multiple else 9)
    assert ((batch["labels"] == 1).sum(1) == batch["attention_mask"].sum(1) - 2).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_all_is_int64_and_numbers_are_stacked(tokenizer):
    batch = AdnerDataCollator(tokenizer)(features(tokenizer))
    assert {values.dtype for values in batch.values()} == {torch.int64}
    assert batch["document"].tolist() == [7] * 4


def test_a_batch_without_words_has_one_empty_row(tokenizer):
    batch = AdnerDataCollator(tokenizer)([dict(tokenizer("三"))])
    assert batch["lexicon_ids"].tolist() == [[0]] and batch["lexicon_ends"].tolist() == [[0]]


def test_what_cannot_be_a_tensor_is_named(tokenizer):
    row = dict(tokenizer("三"))
    with pytest.raises(ValueError, match="column 'id' holds str"):
        AdnerDataCollator(tokenizer)([{**row, "id": "a"}])
    with pytest.raises(ValueError, match=r"column 'labels' has rows of lengths \[1\], but input_ids of lengths \[3\]"):
        AdnerDataCollator(tokenizer)([{**row, "labels": [1]}])
