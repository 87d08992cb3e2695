"""Tests of encoding and padding."""

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from hf_adner.data.dataset import dataset_from_documents, entity_labels, load_ner_dataset
from hf_adner.data.encoding import AdnerDataCollator, WindowEncoder, character_labels, encode_dataset, token_labels
from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity
from hf_adner.model.labels_adner import bio_labels, tags_to_spans
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer

LABELS = bio_labels(["Disease", "Symptom"])
LABEL2ID = {name: index for index, name in enumerate(LABELS)}
TEXT = "面部特应性皮炎伴瘙痒，夜间瘙痒加重。"
DOCUMENTS = [
    Document(
        "a",
        TEXT,
        (Entity(2, 7, "Disease"), Entity(5, 7, "Symptom"), Entity(8, 10, "Symptom"), Entity(13, 15, "Symptom")),
    ),
    Document("b", ""),
    Document(
        "c",
        TEXT * 4,
        (Entity(2, 7, "Disease"), Entity(18 + 8, 18 + 10, "Symptom"), Entity(54 + 13, 54 + 15, "Symptom")),
    ),
]


@pytest.fixture(scope="module")
def tokenizer():
    return AdnerTokenizer.from_texts([TEXT], lexicon=Lexicon(["皮炎", "特应性皮炎", "瘙痒"]))


@pytest.fixture(scope="module")
def dataset():
    return dataset_from_documents(DOCUMENTS)


def spans_of(row):
    """Return the spans of a row's labels, in characters of the document."""
    labels = [LABELS[label] for label in row["labels"] if label >= 0]
    return [
        (row["window_start"] + start, row["window_start"] + end, label) for start, end, label in tags_to_spans(labels)
    ]


def test_one_window_per_short_document(dataset, tokenizer):
    encoded = encode_dataset(dataset, tokenizer, LABEL2ID, max_length=128)
    assert encoded["document"][:] == [0, 1, 2] and encoded["window_start"][:] == [0, 0, 0]
    assert encoded["window_end"][:] == [len(TEXT), 0, 4 * len(TEXT)]
    assert encoded[0]["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert encoded[0]["lexicon_starts"] == tokenizer(TEXT)["lexicon_starts"]
    assert spans_of(encoded[0]) == [(2, 7, "Disease"), (8, 10, "Symptom"), (13, 15, "Symptom")]
    assert encoded[1]["labels"] == [-100, -100]
    assert all(row["labels"][0] == row["labels"][-1] == -100 for row in encoded)


def test_long_documents_become_windows_that_cut_no_entity(dataset, tokenizer):
    encoded = encode_dataset(dataset, tokenizer, LABEL2ID, max_length=32, overlap=8)
    rows = [row for row in encoded if row["document"] == 2]
    assert len(rows) > 1 and all(len(row["input_ids"]) <= 32 for row in rows)
    covered = {row["window_start"] + place for row in rows for place in range(len(row["labels"]) - 2)}
    assert covered == set(range(len(TEXT) * 4))
    assert set().union(*map(spans_of, rows)) == set(DOCUMENTS[2].spans)
    for row in rows:
        window = DOCUMENTS[2].text[row["window_start"] : row["window_end"]]
        assert row["input_ids"] == tokenizer(window)["input_ids"]


def test_innermost_gold(dataset, tokenizer):
    encoded = encode_dataset(dataset, tokenizer, LABEL2ID, max_length=128, nested="innermost")
    assert spans_of(encoded[0])[0] == (5, 7, "Symptom")


def test_the_result_does_not_depend_on_batches_or_processes(dataset, tokenizer):
    many = datasets.concatenate_datasets([dataset] * 100)
    once = encode_dataset(many, tokenizer, LABEL2ID, max_length=32)
    twice = encode_dataset(many, tokenizer, LABEL2ID, max_length=32, num_proc=2)
    assert once.to_list() == twice.to_list() and once._fingerprint == twice._fingerprint
    assert once[0]["labels"] == encode_dataset(dataset, tokenizer, LABEL2ID)[0]["labels"]


def test_the_fingerprint_depends_on_all_inputs(dataset, tokenizer):
    prints = {
        encode_dataset(dataset, tokenizer, LABEL2ID)._fingerprint,
        encode_dataset(dataset, tokenizer, LABEL2ID, overlap=4)._fingerprint,
        encode_dataset(dataset, tokenizer, LABEL2ID, max_length=16, overlap=4)._fingerprint,
        encode_dataset(dataset, AdnerTokenizer.from_texts([TEXT]), LABEL2ID)._fingerprint,
        encode_dataset(dataset.select([0]), tokenizer, LABEL2ID)._fingerprint,
    }
    assert len(prints) == 5


def test_errors_name_the_document(dataset, tokenizer):
    with pytest.raises(
        DataFormatError, match="record 'a': entity 2-7 has label 'Disease', which the model does not have"
    ):
        encode_dataset(dataset, tokenizer, {"O": 0, "B-Symptom": 1, "I-Symptom": 2})
    with pytest.raises(DataFormatError, match=r"record 'a': span \(2, 7\) has 5 characters, more than a window of 4"):
        encode_dataset(dataset, tokenizer, LABEL2ID, max_length=6, overlap=1)
    for max_length in (0, 2):
        with pytest.raises(ValueError, match=f"max_length {max_length} leaves no room"):
            encode_dataset(dataset, tokenizer, LABEL2ID, max_length=max_length)
    with pytest.raises(ValueError, match="on_misaligned must be one of"):
        encode_dataset(dataset, tokenizer, LABEL2ID, on_misaligned="ignore")


def test_an_empty_dataset_keeps_the_columns(tokenizer):
    encoded = encode_dataset(dataset_from_documents([]), tokenizer, LABEL2ID)
    assert len(encoded) == 0 and {"input_ids", "labels", "lexicon_ids", "document"} <= set(encoded.features)


@pytest.fixture(scope="module")
def subwords(tmp_path_factory):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(TEXT)), "easi", "##12", "bp", "高"]
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(vocabulary), encoding="utf-8")
    return BertTokenizerFast(str(path))


def test_labels_of_a_subword_tokenizer_follow_its_offsets(subwords):
    document = Document("a", "EASI12 高", (Entity(0, 6, "Disease"), Entity(7, 8, "Symptom")))
    encoded = encode_dataset(dataset_from_documents([document]), subwords, LABEL2ID)
    assert subwords.convert_ids_to_tokens(encoded[0]["input_ids"]) == ["[CLS]", "easi", "##12", "高", "[SEP]"]
    assert [LABELS[label] if label >= 0 else "" for label in encoded[0]["labels"]] == [
        "",
        "B-Disease",
        "I-Disease",
        "B-Symptom",
        "",
    ]


def test_an_entity_boundary_inside_a_token(subwords):
    dataset = dataset_from_documents([Document("a", "EASI12", (Entity(1, 6, "Disease"),))])
    with pytest.raises(
        DataFormatError, match="record 'a': entity 1-6 'Disease' begins inside the token of characters 0-4"
    ):
        encode_dataset(dataset, subwords, LABEL2ID)
    encoded = encode_dataset(dataset, subwords, LABEL2ID, on_misaligned="expand")
    assert [LABELS[label] for label in encoded[0]["labels"][1:-1]] == ["B-Disease", "I-Disease"]


def test_tokens_that_share_a_character_open_an_entity_once():
    offsets, special = [(0, 0), (0, 1), (0, 1), (0, 1), (1, 2), (0, 0)], [1, 0, 0, 0, 0, 1]
    labels = token_labels([(0, 2, "Disease")], offsets, special, LABEL2ID)
    assert [LABELS[label] if label >= 0 else "" for label in labels] == ["", "B-Disease", *["I-Disease"] * 3, ""]


def test_an_entity_without_token_is_an_error():
    for spans in ([(0, 1, "Disease"), (1, 2, "Symptom")], [(3, 4, "Disease")]):
        with pytest.raises(DataFormatError, match="no token is left for entity"):
            token_labels(spans, [(0, 2)], [0], LABEL2ID, expand=True)


def test_tokenizers_with_several_tokens_per_character_stay_within_the_limit():
    backend = Tokenizer(
        models.BPE({byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="a", model_max_length=24)
    encoded = encode_dataset(dataset_from_documents(DOCUMENTS[2:]), tokenizer, LABEL2ID, overlap=2)
    assert all(len(row["input_ids"]) <= 24 for row in encoded)
    assert encoded["window_start"][0] == 0 and len(encoded) >= len(TEXT) * 4 // 8


def test_a_slow_tokenizer_is_refused(tokenizer):
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="Slow has no offsets"):
        WindowEncoder(Slow(), LABEL2ID)


def test_a_tokenizer_without_length_limit():
    tokenizer = AdnerTokenizer.from_texts([TEXT])
    tokenizer.model_max_length = int(1e30)
    encoded = encode_dataset(dataset_from_documents([Document("a", TEXT * 500)]), tokenizer, LABEL2ID)
    assert len(encoded) == 1 and len(encoded[0]["labels"]) == len(TEXT) * 500 + 2


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from(["Disease", "Symptom"])), max_size=6))
def test_character_labels_encode_the_spans(pieces):
    spans, position = [], 0
    for gap, length, label in pieces:
        spans.append((position + gap, position + gap + length, label))
        position += gap + length
    labels = character_labels(spans, position + 1, LABEL2ID)
    assert tags_to_spans([LABELS[label] for label in labels]) == spans
    offsets = [(place, place + 1) for place in range(position + 1)]
    assert token_labels(spans, offsets, [0] * (position + 1), LABEL2ID) == labels


TEXTS = ["面部皮炎", "瘙痒", "", "面部瘙痒三年余"]


@pytest.fixture(params=["right", "left"])
def collator_tokenizer(request):
    return AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["皮炎", "面部", "瘙痒"]), padding_side=request.param)


def features(tokenizer):
    rows = [dict(tokenizer(text)) for text in TEXTS]
    return [{**row, "labels": [-100, *[1] * (len(row["input_ids"]) - 2), -100], "document": 7} for row in rows]


@pytest.mark.parametrize("multiple", [None, 4])
def test_collator_pads_like_the_tokenizer(collator_tokenizer, multiple):
    rows = features(collator_tokenizer)
    batch = AdnerDataCollator(collator_tokenizer, pad_to_multiple_of=multiple)(rows)
    inputs = [{key: row[key] for key in row if key not in ("labels", "document")} for row in rows]
    expected = collator_tokenizer.pad(inputs, pad_to_multiple_of=multiple, return_tensors="pt")
    for key, values in expected.items():
        assert torch.equal(batch[key], values), key
    assert batch["input_ids"].shape[1] == (12 if multiple else 9)
    assert ((batch["labels"] == 1).sum(1) == batch["attention_mask"].sum(1) - 2).all()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_tensors_are_int64_and_numbers_are_stacked(collator_tokenizer):
    batch = AdnerDataCollator(collator_tokenizer)(features(collator_tokenizer))
    assert {values.dtype for values in batch.values()} == {torch.int64}
    assert batch["document"].tolist() == [7] * 4


def test_a_batch_without_words_has_one_padding_word(collator_tokenizer):
    batch = AdnerDataCollator(collator_tokenizer)([dict(collator_tokenizer("三"))])
    assert batch["lexicon_ids"].tolist() == [[0]] and batch["lexicon_ends"].tolist() == [[0]]


def test_columns_that_cannot_be_tensors_are_refused(collator_tokenizer):
    row = dict(collator_tokenizer("三"))
    with pytest.raises(ValueError, match="column 'id' has values of type str"):
        AdnerDataCollator(collator_tokenizer)([{**row, "id": "a"}])
    with pytest.raises(ValueError, match=r"column 'labels' has rows of lengths \[1\], but input_ids of lengths \[3\]"):
        AdnerDataCollator(collator_tokenizer)([{**row, "labels": [1]}])


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_of_each_type_are_padded_alike(side):
    """Also in windows, and with a tokenizer of word pieces: the columns are those of each label alone."""
    tokenizer = AdnerTokenizer.from_texts([TEXT], padding_side=side)
    data = dataset_from_documents(DOCUMENTS)
    rows = encode_dataset(data, tokenizer, LABEL2ID, max_length=14, overlap=2, tagging="per-label")
    batch = AdnerDataCollator(tokenizer)([{key: row[key] for key in (*tokenizer(""), "labels")} for row in rows])
    assert batch["labels"].shape == (*batch["input_ids"].shape, 2)
    assert torch.equal(batch["labels"][..., 0] == -100, batch["labels"][..., 1] == -100)
    for column, label in enumerate(["Disease", "Symptom"]):
        for row, padded in zip(rows, batch["labels"][..., column]):
            own = [entity for entity in DOCUMENTS[row["document"]].entities if entity.label == label]
            start, end = row["window_start"], row["window_end"]
            spans = [(one.start - start, one.end - start, label) for one in own if start <= one.start < one.end <= end]
            tags = [LABELS[index] for index in padded.tolist() if index != -100]
            assert tags_to_spans(tags) == spans and len(tags) == end - start
    with pytest.raises(ValueError, match=r"tagging must be one of \('flat', 'per-label'\), found 'nested'"):
        encode_dataset(data, tokenizer, LABEL2ID, tagging="nested")


TAGGED = {"flat": 19_077, "per-label": 20_299}
"""Of the 20,300 gold entities of CMeEE's dev split, those that label sequences of a tagging give back."""


@pytest.mark.data
@pytest.mark.parametrize("tagging", TAGGED)
def test_what_a_tagging_can_express_of_a_nested_corpus(tagging, data_dir):
    corpus = load_ner_dataset({"validation": str(data_dir / "cmeee" / "CMeEE_dev.json")})["validation"]
    names = bio_labels(sorted(entity_labels(corpus)))
    label2id = {name: number for number, name in enumerate(names)}
    rows = encode_dataset(corpus, AdnerTokenizer.from_texts(["。"]), label2id, tagging=tagging)
    gold = [{(one["start"], one["end"], one["label"]) for one in row["entities"]} for row in corpus]
    found = 0
    for row in rows:
        columns = np.array(row["labels"][1:-1]).reshape(row["window_end"], -1).T
        spans = {span for column in columns for span in tags_to_spans([names[label] for label in column])}
        found += len(spans & gold[row["document"]])
    assert sum(map(len, gold)) == 20_300 and found == TAGGED[tagging]
