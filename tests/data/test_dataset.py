"""Tests of `load_ner_dataset`: splits by file name, conversion of documents, silver entities, real corpora."""

import json
import logging

import pytest

from hf_adner.data.dataset import (
    dataset_from_documents,
    documents_from_dataset,
    entity_labels,
    labelled_words,
    labelled_words_from_file,
    load_ner_dataset,
    project_words,
)
from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.data.synthetic import DEFAULT_SIZES

NESTED = Document("a", "面部皮炎", (Entity(0, 4, "Disease"), Entity(0, 2, "BodySite")), {"patient": "1"})
PLAIN = Document("b", "瘙痒三天")


@pytest.fixture
def corpus(tmp_path):
    write_documents([NESTED, PLAIN], tmp_path / "train.jsonl")
    write_documents([NESTED], tmp_path / "dev.jsonl")
    return tmp_path


def test_documents_round_trip(corpus):
    loaded = load_ner_dataset(corpus)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2, "validation": 1}
    assert loaded["train"].column_names == ["id", "text", "entities", "meta"]
    assert list(documents_from_dataset(loaded["train"])) == [NESTED, PLAIN]
    assert entity_labels(loaded) == ["BodySite", "Disease"]


def test_reports_and_warnings(corpus, caplog):
    reports = {}
    with caplog.at_level(logging.WARNING):
        load_ner_dataset(corpus, reports=reports)
    assert (reports["train"].entities, reports["train"].not_flat) == (2, 1)
    assert "while reading split 'train'" in caplog.text and "1 of 2 entities overlap a longer entity" in caplog.text


def test_a_clean_corpus_logs_nothing(tmp_path, caplog):
    write_documents([PLAIN], tmp_path / "notes.jsonl")
    with caplog.at_level(logging.DEBUG, logger="hf_adner"):
        assert list(load_ner_dataset(tmp_path / "notes.jsonl")) == ["train"]
    assert not caplog.records


def test_invalid_records_are_skipped_and_listed(corpus):
    path = corpus / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"train\.jsonl, line 3, record '2': broken JSON"):
        load_ner_dataset(corpus)
    reports = {}
    assert len(load_ner_dataset(corpus, skip_invalid=True, reports=reports)["train"]) == 2
    assert [record.line for record in reports["train"].skipped] == [3]


def test_a_split_without_valid_documents_is_an_error(tmp_path):
    (tmp_path / "notes.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DataFormatError, match="split 'train' has no valid document"):
        load_ner_dataset(tmp_path / "notes.jsonl", format="jsonl", skip_invalid=True)


def test_unknown_labels_are_refused(corpus):
    with pytest.raises(DataFormatError, match="label 'BodySite'; expected one of Disease"):
        load_ner_dataset(corpus, labels=iter(["Disease"]))


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "notes.jsonl"
    write_documents([PLAIN], path)
    assert load_ner_dataset(path)["train"]["id"][:] == ["b"]
    write_documents([NESTED], path)
    assert load_ner_dataset(path)["train"]["id"][:] == ["a"]


def test_silver_entities_are_marked(tmp_path, caplog):
    path = tmp_path / "pairs.json"
    pair = {"id": "1", "text1": "头痛怎么办", "text2": "头晕", "label": "0", "category": "x"}
    path.write_text(json.dumps([pair], ensure_ascii=False), encoding="utf-8")
    words = tmp_path / "words.tsv"
    words.write_text("头痛\tSymptom\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        first, second = documents_from_dataset(load_ner_dataset(path, silver_words=words)["train"])
    assert first.spans == [(0, 2, "Symptom")] and second.spans == []
    assert first.entities[0].meta == {"silver": True} and first.meta["silver"] and second.meta["silver"]
    assert "silver: words of a list, not gold annotations" in caplog.text


def test_an_empty_dataset_has_the_columns():
    assert dataset_from_documents([]).column_names == ["id", "text", "entities", "meta"]
    assert entity_labels(dataset_from_documents([])) == []


def test_silver_entities_are_leftmost_longest():
    words = {"皮炎": "Disease", "面部皮炎": "Disease", "面部": "BodySite", "炎伴": "X"}
    (document,) = project_words([Document("a", "面部皮炎伴皮炎", meta={"k": 1})], words)
    assert document.spans == [(0, 4, "Disease"), (5, 7, "Disease")]
    assert document.meta == {"k": 1, "silver": True}
    assert all(entity.meta == {"silver": True} for entity in document.entities)


def test_silver_and_gold_entities_are_not_mixed():
    with pytest.raises(DataFormatError, match="record 'a': the document has entities"):
        list(project_words([Document("a", "瘙痒", (Entity(0, 2, "Symptom"),))], {"瘙痒": "Symptom"}))


def test_labelled_words_have_their_most_frequent_label():
    documents = [
        Document("a", "激素激素", (Entity(0, 2, "Drug"), Entity(2, 4, "Test"))),
        Document("b", "激素痒", (Entity(0, 2, "Test"), Entity(2, 3, "Symptom"))),
        Document("c", "红斑红斑", (Entity(0, 2, "B"), Entity(2, 4, "A"))),
    ]
    assert labelled_words(documents) == {"激素": "Test", "红斑": "A"}
    assert labelled_words(documents, min_count=3) == {"激素": "Test"}
    assert labelled_words(documents, min_length=1)["痒"] == "Symptom"


def test_labelled_words_from_file(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("瘙痒\tSymptom\n\n激素 \t Drug\n瘙痒\tSymptom\n", encoding="utf-8")
    assert labelled_words_from_file(path) == {"瘙痒": "Symptom", "激素": "Drug"}
    path.write_text("瘙痒\tSymptom\n激素\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="line 2: expected a word, a tab and a label"):
        labelled_words_from_file(path)
    path.write_text("瘙痒\tSymptom\n瘙痒\tDrug\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="line 2: the word has another label"):
        labelled_words_from_file(path)


@pytest.mark.data
@pytest.mark.parametrize(
    "folder, documents, entities",
    [
        ("cmeee", {"train": 15_000, "validation": 5_000}, {"train": 61_794, "validation": 20_300}),
        ("imcs_ner", {"train": 44_338, "validation": 9_852}, {"train": 30_670, "validation": 6_258}),
        (
            "cmedqaner",
            {"train": 1_673, "validation": 175, "test": 215},
            {"train": 12_490, "validation": 1_024, "test": 1_340},
        ),
        (
            "resume",
            {"train": 3_821, "validation": 463, "test": 477},
            {"train": 13_440, "validation": 1_497, "test": 1_630},
        ),
        ("ad_real", {"train": 120, "validation": 60}, {"train": 825, "validation": 410}),
        ("chip_sts", {"train": 6_000, "validation": 1_000}, {"train": 0, "validation": 0}),
    ],
)
def test_real_corpora_are_read_completely(data_dir, folder, documents, entities):
    reports = {}
    loaded = load_ner_dataset(data_dir / folder, reports=reports)
    assert {split: len(rows) for split, rows in loaded.items()} == documents
    assert {split: report.entities for split, report in reports.items()} == entities
    assert not any(report.skipped for report in reports.values())


@pytest.mark.data
def test_nested_and_empty_entities_of_cmeee(data_dir):
    reports = {}
    loaded = load_ner_dataset(data_dir / "cmeee", reports=reports)
    nested = 0
    for document in documents_from_dataset(loaded["validation"]):
        spans = {(entity.start, entity.end) for entity in document.entities}
        nested += sum(
            any(
                start <= entity.start and entity.end <= end and (start, end) != (entity.start, entity.end)
                for start, end in spans
            )
            for entity in document.entities
        )
    assert nested == 1_209
    assert reports["validation"].not_flat == 1_223  # those, and second labels of equal spans
    assert dict(reports["train"].repaired) == {"entity that encloses no character (left out)": 2}


@pytest.mark.data
def test_repairs_in_resume(data_dir):
    reports = {}
    load_ner_dataset(data_dir / "resume", reports=reports)
    assert sum(reports["train"].repaired.values()) == 4 and not reports["test"].repaired


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "brat"])
def test_assertions_of_ad_synthetic_are_written_and_read(name, tmp_path):
    sizes = {**dict.fromkeys(DEFAULT_SIZES, 0), "assertion": 24}
    documents = list(documents_from_dataset(load_ner_dataset("ad-synthetic", sizes=sizes)["assertion"]))
    write_documents(documents, tmp_path / name, format={"a.json": "label-studio", "brat": "brat"}.get(name))
    read = {document.text: document.entities for document in read_documents(tmp_path / name)}
    stated = [[(one.text, one.meta["assertion"]) for one in document.entities] for document in documents]
    found = [[(one.text, one.meta.get("assertion", [])) for one in read[document.text]] for document in documents]
    assert found == stated and any(holds for document in stated for _, holds in document)
