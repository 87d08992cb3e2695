import pytest

from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity
from hf_adner.data.silver import labelled_words, labelled_words_from_file, project_words
from hf_adner.data.splits import dataset_groups, groups_of, k_folds, split_dataset, split_documents, split_indices

DOCUMENTS = [Document(f"d{number}", "x", meta={"patient": f"p{number % 37}"}) for number in range(200)]
FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def ids(splits):
    return {split: {document.id for document in documents} for split, documents in splits.items()}


def test_shares_by_document():
    splits = split_documents(DOCUMENTS, FRACTIONS)
    assert {split: len(documents) for split, documents in splits.items()} == {
        "train": 140,
        "validation": 20,
        "test": 40,
    }
    assert set.union(*ids(splits).values()) == {document.id for document in DOCUMENTS}


def test_groups_stay_together():
    splits = split_documents(DOCUMENTS, FRACTIONS, group_key="patient")
    patients = [{document.meta["patient"] for document in documents} for documents in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 37
    assert 130 <= len(splits["train"]) <= 150 and all(splits.values())
    assert ids(splits) == ids(split_documents(DOCUMENTS, FRACTIONS, group_key=lambda one: one.meta["patient"]))


def test_the_seed_decides_not_the_order():
    assert ids(split_documents(DOCUMENTS, FRACTIONS)) == ids(split_documents(DOCUMENTS[::-1], FRACTIONS))
    assert ids(split_documents(DOCUMENTS, FRACTIONS)) != ids(split_documents(DOCUMENTS, FRACTIONS, seed=1))


def test_a_dataset_is_split_like_its_documents():
    dataset = dataset_from_documents(DOCUMENTS)
    splits = split_dataset(dataset, FRACTIONS, seed=4, group_key="patient")
    expected = ids(split_documents(DOCUMENTS, FRACTIONS, seed=4, group_key="patient"))
    assert {split: set(rows["id"]) for split, rows in splits.items()} == expected
    assert dataset_groups(dataset) == groups_of(DOCUMENTS)


def test_a_share_of_nothing_is_empty():
    assert split_indices(list("abcd"), {"train": 1.0, "test": 0.0}) == {"train": [0, 1, 2, 3], "test": []}


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5}, {"a": 1.2, "b": -0.2}])
def test_fractions_that_are_none(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split_indices(["a"], fractions)


def test_a_missing_group_key_is_named():
    with pytest.raises(DataFormatError, match="record 'x': meta has no group key 'patient'"):
        groups_of([Document("x", "a")], "patient")


def test_folds_test_everything_once():
    folds = list(k_folds(groups_of(DOCUMENTS), 5, seed=2))
    assert sorted(index for _, test in folds for index in test) == list(range(200))
    assert all(len(test) == 40 and sorted(train + test) == list(range(200)) for train, test in folds)
    assert folds == list(k_folds(groups_of(DOCUMENTS), 5, seed=2)) != list(k_folds(groups_of(DOCUMENTS), 5, seed=3))


def test_folds_keep_groups_together():
    groups = groups_of(DOCUMENTS, "patient")
    for train, test in k_folds(groups, 5):
        assert not {groups[index] for index in train} & {groups[index] for index in test}
        assert 34 <= len(test) <= 46


@pytest.mark.parametrize("k", [1, 4])
def test_too_few_or_many_folds(k):
    with pytest.raises(ValueError, match=r"at most the number of groups \(3\)"):
        list(k_folds(["a", "b", "c", "c"], k))


def test_leftmost_longest_and_marked_silver():
    words = {"皮炎": "Disease", "面部皮炎": "Disease", "面部": "BodySite", "炎伴": "X"}
    (document,) = project_words([Document("a", "面部皮炎伴皮炎", meta={"k": 1})], words)
    assert document.spans == [(0, 4, "Disease"), (5, 7, "Disease")]
    assert document.meta == {"k": 1, "silver": True}
    assert all(entity.meta == {"silver": True} for entity in document.entities)


def test_gold_is_not_touched():
    with pytest.raises(DataFormatError, match="record 'a': the document is annotated"):
        list(project_words([Document("a", "瘙痒", (Entity(0, 2, "Symptom"),))], {"瘙痒": "Symptom"}))


def test_words_of_documents_take_their_most_frequent_label():
    documents = [
        Document("a", "激素激素", (Entity(0, 2, "Drug"), Entity(2, 4, "Test"))),
        Document("b", "激素痒", (Entity(0, 2, "Test"), Entity(2, 3, "Symptom"))),
        Document("c", "红斑红斑", (Entity(0, 2, "B"), Entity(2, 4, "A"))),
    ]
    assert labelled_words(documents) == {"激素": "Test", "红斑": "A"}
    assert labelled_words(documents, min_count=3) == {"激素": "Test"}
    assert labelled_words(documents, min_length=1)["痒"] == "Symptom"


def test_words_of_a_file(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("瘙痒\tSymptom\n\n激素 \t Drug\n瘙痒\tSymptom\n", encoding="utf-8")
    assert labelled_words_from_file(path) == {"瘙痒": "Symptom", "激素": "Drug"}
    path.write_text("瘙痒\tSymptom\n激素\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="line 2: expected a word, a tab and a label"):
        labelled_words_from_file(path)
    path.write_text("瘙痒\tSymptom\n瘙痒\tDrug\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="line 2: the word has another label"):
        labelled_words_from_file(path)
