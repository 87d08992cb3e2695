"""Tests of Hugging Face datasets as input: on the Hub (replaced by one in memory), on disk and as Parquet."""

import datetime

import datasets
import httpx
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from hf_adner import load_ner_dataset, read_documents, write_documents
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format
from hf_adner.data.input_files import files_by_split
from hf_adner.data.records import Document, Entity
from hf_adner.pretraining.text import read_texts

TAGS = ["O", "B-BodySite", "I-BodySite", "B-Symptom", "I-Symptom"]
CHARACTERS = {"id": ["0", "1"], "tokens": [list("面部瘙痒"), ["好"]], "ner_tags": [[1, 2, 3, 4], [0]]}
SPANS = [[(0, 2, "BodySite"), (2, 4, "Symptom")], []]
OWN = [
    Document("a", "面部瘙痒", (Entity(0, 2, "B", meta={"score": 0.5}), Entity(0, 4, "S")), {"patient": 3, "x": [None]}),
    Document("b", "😷\r\n好"),
]


def with_class_labels(columns=CHARACTERS, names=TAGS):
    features = {"id": Value("string"), "tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))}
    return Dataset.from_dict(columns, features=Features({name: features[name] for name in columns}))


def entity(start, end, label, key="label"):
    return {"start": start, "end": end, key: label}


def one(text, *entities):
    return Dataset.from_list([{"text": text, "entities": list(entities)}])


def tagged(*rows):
    """Return a dataset of one row or more, each a list of (token, tag)."""
    columns = [tuple(map(list, zip(*row))) for row in rows]
    return Dataset.from_dict({"tokens": [tokens for tokens, _ in columns], "tags": [tags for _, tags in columns]})


def named(names):
    return [[TAGS[tag] for tag in tags] for tags in names]


@pytest.fixture(params=["folder", "parquet"])
def saved(request, tmp_path):
    def saved(dataset):
        path = tmp_path / ("a.parquet" if request.param == "parquet" else "a")
        dataset.to_parquet(path) if request.param == "parquet" else dataset.save_to_disk(path)
        assert detect_format(path) == "dataset"
        return path

    datasets.disable_progress_bars()
    return saved


def spans_of(stream):
    return [document.spans for document in stream]


@pytest.mark.parametrize(
    "dataset",
    [
        with_class_labels(),
        Dataset.from_dict({**CHARACTERS, "ner_tags": named(CHARACTERS["ner_tags"])}),
        tagged([("面", "B-BodySite"), ("部", "E-BodySite"), ("瘙", "B-Symptom"), ("痒", "E-Symptom")], [("好", "O")]),
        tagged([("面", "B-BodySite"), ("部", "E-BodySite"), ("瘙痒", "S-Symptom")], [("好", "O")]),
        Dataset.from_dict({"words": [["面部", "瘙痒"], ["好"]], "labels": [["S-BodySite", "S-Symptom"], ["O"]]}),
        tagged([("面部", "B-BodySite"), ("瘙", "B-Symptom"), ("痒", "I-Symptom")], [("好", "O")]),
        Dataset.from_list(
            [
                {"text": "面部瘙痒", "entities": [entity(0, 2, "BodySite", "type"), entity(2, 4, "Symptom", "type")]},
                {"text": "好", "entities": []},
            ]
        ),
        Dataset.from_dict(
            {
                "text": ["面部瘙痒", "好"],
                "entities": [entity([0, 2], [2, 4], ["BodySite", "Symptom"]), entity([], [], [])],
            }
        ),
        Dataset.from_dict(
            {"text": ["面部瘙痒", "好"], "entities": [[entity(0, 2, 0), entity(2, 4, 1)], []]},
            features=Features(
                {
                    "text": Value("string"),
                    "entities": List(
                        entity(Value("int64"), Value("int64"), ClassLabel(names=["BodySite", "Symptom"])),
                    ),
                }
            ),
        ),
    ],
    ids=["classes", "strings", "BIOES", "BIOES words", "words", "tokens", "type", "lists", "classes of entities"],
)
def test_layouts(saved, dataset):
    stream = read_documents(saved(dataset))
    documents = list(stream)
    assert [document.text for document in documents] == ["面部瘙痒", "好"]
    assert [document.spans for document in documents] == SPANS
    assert sum(stream.report.repaired.values()) == 0


def test_our_own_layout_is_read_without_loss(saved, tmp_path):
    path = saved(dataset_from_documents(OWN))
    assert list(read_documents(path)) == OWN
    loaded = load_ner_dataset(path)
    assert list(loaded) == ["train"] and loaded["train"].to_list() == dataset_from_documents(OWN).to_list()
    write_documents(read_documents(path), tmp_path / "a.jsonl")
    assert list(read_documents(tmp_path / "a.jsonl")) == OWN


def test_other_columns_become_meta(saved):
    date = datetime.date(2024, 5, 1)
    rows = [{"text": "面部", "entities": [{"start": 0, "end": 2, "label": "B", "by": "x"}], "date": date, "none": None}]
    (document,) = read_documents(saved(Dataset.from_list(rows)))
    assert (document.meta, document.entities[0].meta) == ({"date": "2024-05-01"}, {"by": "x"})


def test_columns_of_other_names(saved):
    dataset = with_class_labels().rename_columns({"tokens": "chars", "ner_tags": "bio"})
    path = saved(dataset)
    with pytest.raises(DataFormatError, match="expected columns text and .* has 'id', 'chars', 'bio'"):
        next(read_documents(path))
    assert spans_of(read_documents(path, columns={"tokens": "chars", "ner_tags": "bio"})) == SPANS
    with pytest.raises(DataFormatError, match="the dataset has no column 'note'"):
        next(read_documents(path, text_column="note"))
    with pytest.raises(ValueError, match="columns .--columns. has the keys .'word'."):
        next(read_documents(path, columns={"word": "chars"}))


def test_texts_without_entities(saved):
    path = saved(Dataset.from_dict({"text": ["面部", "好"]}))
    assert [document.text for document in read_documents(path, require_entities=False)] == ["面部", "好"]
    assert read_texts([path]) == ["面部", "好"]
    with pytest.raises(DataFormatError, match="expected columns text and entities"):
        next(read_documents(path))


@pytest.mark.parametrize(
    "dataset, reason",
    [
        (Dataset.from_dict(CHARACTERS), "numbers without names"),
        (with_class_labels({"tokens": [["a", "b"]], "ner_tags": [[0]]}), "record '0': the row has 2 tokens and 1 tags"),
        (with_class_labels({"tokens": [["a"]], "ner_tags": [[-1]]}), "label '-1' is none of the 5"),
        (with_class_labels({"tokens": [["a"], ["b", None]], "ner_tags": [[0], [0, 1]]}), "record '1': a token must be"),
        (tagged([("a", "X"), ("b", "O")]), "tag 'X'"),
        (tagged([("a", "M-A"), ("b", "L-A"), ("c", "U-A")]), "mix schemes"),
        (one("a", {"start": 0, "label": "A"}), "record '0': an entity has no key 'end'"),
        (one("a", entity(0, 2, "A")), "record '0': .*outside"),
        (one(5, entity(0, 1, "A")), "record '0': key 'text' .* str"),
        (one("a", entity(0, 1, 7)), "record '0': an entity's label must be a non-empty string"),
        (Dataset.from_dict({"text": ["a", None], "entities": [[], []]}), "record '1': the row has no key 'text'"),
        (Dataset.from_list([{"text": "a", "label": 3}]), "the dataset has 'text', 'label'"),
    ],
)
def test_broken_datasets_have_a_place(saved, dataset, reason):
    path = saved(dataset)
    with pytest.raises(DataFormatError, match=reason) as caught:
        list(read_documents(path))
    assert str(caught.value).startswith(str(path))


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataFormatError, match="a.parquet: this is no complete dataset: ArrowInvalid"):
        list(read_documents(tmp_path / "a.parquet"))
    with_class_labels().save_to_disk(tmp_path / "d")
    for file in (tmp_path / "d").glob("*.arrow"):
        file.unlink()
    with pytest.raises(DataFormatError, match="d: the saved dataset lacks a file|d: this is no complete dataset"):
        list(read_documents(tmp_path / "d"))
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "dataset_dict.json").write_text("[]")
    with pytest.raises(DataFormatError, match="e: this is no complete dataset: TypeError"):
        load_ner_dataset(tmp_path / "e")


DICT = DatasetDict(
    train=with_class_labels(), dev=with_class_labels().select([0]), extra=with_class_labels().select([1])
)


def test_a_saved_dict_keeps_its_splits(tmp_path):
    DICT.save_to_disk(tmp_path / "d")
    loaded = load_ner_dataset(tmp_path / "d")
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "validation": 1, "extra": 1}
    assert files_by_split({"validation": tmp_path / "d"}) == {"validation": [tmp_path / "d" / "dev"]}
    assert [file.name for file in files_by_split({"input": tmp_path / "d"})["input"]] == ["train", "dev", "extra"]
    with pytest.raises(DataFormatError, match="has no split 'test', only train, dev, extra"):
        files_by_split({"test": tmp_path / "d"})
    with pytest.raises(DataFormatError, match="duplicate id '0'"):
        list(read_documents(tmp_path / "d"))


def test_parquet_files_of_a_folder_are_named_by_split(tmp_path):
    for split in ("train", "test"):
        with_class_labels().to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    assert {split: len(rows) for split, rows in load_ner_dataset(tmp_path).items()} == {"train": 2, "test": 2}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Replace the Hub by one dataset, and record the names that are asked for."""
    asked = []

    def load_dataset(name):
        asked.append(name)
        if name != "owner/name":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist\non the Hub")
        return DICT

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(HfApi, "dataset_info", lambda self, name, timeout: None)  # the Hub has every dataset
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_name_on_the_hub(hub):
    loaded = load_ner_dataset("owner/name")
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "validation": 1, "extra": 1}
    assert spans_of(read_documents("owner/name/train")) == SPANS
    assert spans_of(read_documents(["owner/name/dev"], "dataset")) == SPANS[:1]
    assert {**load_ner_dataset({"train": "owner/name", "test": "owner/name/extra"})}.keys() == {"train", "test"}
    with pytest.raises(DataFormatError, match="owner/name/test: the dataset has no such split, only train, dev, extra"):
        list(read_documents("owner/name/test"))
    with pytest.raises(FileNotFoundError, match="no file or folder other/name, and .* could not .* exist$"):
        read_documents("other/name")


@pytest.mark.parametrize("name", ["name", "owner/a.jsonl", "a/b/c/d", "owner/*", "../name", "/owner/name", "here/name"])
def test_what_may_be_a_file_is_not_looked_for_on_the_hub(hub, tmp_path, name):
    (tmp_path / "here").mkdir()
    with pytest.raises(FileNotFoundError):
        load_ner_dataset(name)
    with pytest.raises(FileNotFoundError):
        read_documents(name)
    assert hub == []


def test_a_local_path_comes_before_the_hub(hub, tmp_path):
    write_documents(OWN, tmp_path / "owner" / "name", "jsonl")
    assert list(read_documents("owner/name", "jsonl")) == OWN and hub == []


def test_without_a_network_one_line_says_so():
    with pytest.raises(FileNotFoundError) as caught:
        load_ner_dataset("no-such-owner/no-such-name")
    assert "HF_HUB_OFFLINE" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (httpx.ConnectError("Name or service\nnot known"), ConnectionError, "cannot be reached (ConnectError: Name or"),
        (RepositoryNotFoundError, FileNotFoundError, "the Hub has no such dataset, or it is private"),
        (GatedRepoError, PermissionError, "it is gated"),
    ],
)
def test_a_dataset_that_cannot_be_had_is_told_without_loading(error, kind, told, monkeypatch, tmp_path):
    if isinstance(error, type):
        error = error.__new__(error)  # the constructors differ from version to version
    asked = []

    def dataset_info(self, name, timeout):
        asked.append((name, timeout))
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: pytest.fail("it retries for minutes"))
    for source in ("owner/nmae", {"train": "owner/nmae"}, {"train": "owner/nmae/dev"}):
        with pytest.raises(kind) as caught:
            load_ner_dataset(source)
        assert told in str(caught.value) and "owner/nmae" in str(caught.value) and "\n" not in str(caught.value)
    assert {name for name, _ in asked} == {"owner/nmae"} and all(0 < limit <= 30 for _, limit in asked)


def test_a_dataset_in_the_cache_needs_no_answer(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(HfApi, "dataset_info", lambda self, name, timeout: pytest.fail("it was asked for"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "cache" / "owner___name").mkdir(parents=True)
    assert len(load_ner_dataset("owner/name")["train"]) == 2
