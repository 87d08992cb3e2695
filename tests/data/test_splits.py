"""Tests of splits and folds."""

import pytest

from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document
from hf_adner.data.splits import dataset_groups, groups_of, k_folds, split_dataset, split_documents, split_indices

DOCUMENTS = [Document(f"d{number}", "x", meta={"patient": f"p{number % 37}"}) for number in range(200)]
FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def ids(splits):
    return {split: {document.id for document in documents} for split, documents in splits.items()}


def test_sizes_without_groups():
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
    by_function = split_documents(DOCUMENTS, FRACTIONS, group_key=lambda document: document.meta["patient"])
    assert ids(splits) == ids(by_function)


def test_splits_depend_on_the_seed_and_not_on_the_order():
    assert ids(split_documents(DOCUMENTS, FRACTIONS)) == ids(split_documents(DOCUMENTS[::-1], FRACTIONS))
    assert ids(split_documents(DOCUMENTS, FRACTIONS)) != ids(split_documents(DOCUMENTS, FRACTIONS, seed=1))


def test_a_dataset_is_split_like_its_documents():
    dataset = dataset_from_documents(DOCUMENTS)
    splits = split_dataset(dataset, FRACTIONS, seed=4, group_key="patient")
    expected = ids(split_documents(DOCUMENTS, FRACTIONS, seed=4, group_key="patient"))
    assert {split: set(rows["id"]) for split, rows in splits.items()} == expected
    assert dataset_groups(dataset) == groups_of(DOCUMENTS)


def test_a_fraction_of_0_is_empty():
    assert split_indices(list("abcd"), {"train": 1.0, "test": 0.0}) == {"train": [0, 1, 2, 3], "test": []}


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5}, {"a": 1.2, "b": -0.2}])
def test_invalid_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="sum to 1"):
        split_indices(["a"], fractions)


def test_a_missing_group_key_is_an_error():
    with pytest.raises(DataFormatError, match="record 'x': meta has no group key 'patient'"):
        groups_of([Document("x", "a")], "patient")


def test_each_item_is_tested_once():
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
def test_invalid_numbers_of_folds_are_refused(k):
    with pytest.raises(ValueError, match=r"at most the number of groups \(3\)"):
        list(k_folds(["a", "b", "c", "c"], k))
