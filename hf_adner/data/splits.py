"""Splits of a corpus by document, or by what documents share (a patient, a dialogue): deterministic by seed.

A group's place depends on the seed and its name only, not on the order of the documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from math import isclose
from typing import TYPE_CHECKING

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.records import Document, load_meta

if TYPE_CHECKING:
    import datasets

GroupKey = str | Callable[[Document], str]


def split_documents(
    documents: Iterable[Document],
    fractions: Mapping[str, float],
    *,
    seed: int = 0,
    group_key: GroupKey | None = None,
) -> dict[str, list[Document]]:
    """Divide documents among splits, groups undivided.

    Args:
        documents: with distinct ids.
        fractions: share of the documents per split, such as `{"train": 0.8, "test": 0.2}`; they add up to 1.
        seed: another one gives another division.
        group_key: key of `meta`, or a function of the document, that names its group; None: each is its own.

    Raises:
        DataFormatError: a document without the group key.
        ValueError: fractions that are negative or do not add up to 1.
    """
    documents = list(documents)
    indices = split_indices(groups_of(documents, group_key), fractions, seed=seed)
    return {split: [documents[index] for index in chosen] for split, chosen in indices.items()}


def split_dataset(
    dataset: datasets.Dataset, fractions: Mapping[str, float], *, seed: int = 0, group_key: str | None = None
) -> datasets.DatasetDict:
    """The same for a dataset of documents; see `split_documents`."""
    from datasets import DatasetDict

    indices = split_indices(dataset_groups(dataset, group_key), fractions, seed=seed)
    return DatasetDict({split: dataset.select(chosen) for split, chosen in indices.items()})


def groups_of(documents: Iterable[Document], group_key: GroupKey | None = None) -> list[str]:
    """Name of each document's group.

    Raises:
        DataFormatError: a document whose `meta` lacks the key.
    """
    if group_key is None:
        return [document.id for document in documents]
    if callable(group_key):
        return [str(group_key(document)) for document in documents]
    return [_group(document.id, document.meta, group_key) for document in documents]


def dataset_groups(dataset: datasets.Dataset, group_key: str | None = None) -> list[str]:
    """Name of each row's group; see `groups_of`."""
    if group_key is None:
        return list(dataset["id"])
    return [_group(name, load_meta(meta), group_key) for name, meta in zip(dataset["id"], dataset["meta"], strict=True)]


def _group(document_id: str, meta: Mapping[str, object], key: str) -> str:
    if meta.get(key) is None:
        raise DataFormatError(f"meta has no group key {excerpt(key, 30)}", record=document_id)
    return str(meta[key])


def split_indices(groups: Sequence[str], fractions: Mapping[str, float], *, seed: int = 0) -> dict[str, list[int]]:
    """Indices per split, in rising order, for a list that names the group of each item.

    Groups are taken in an order drawn by the seed and fill the splits up to their shares one after the other.

    Raises:
        ValueError: fractions that are negative or do not add up to 1.
    """
    if not fractions or min(fractions.values()) < 0 or not isclose(sum(fractions.values()), 1):
        raise ValueError(f"fractions must be 0 or more and add up to 1, found {dict(fractions)}")
    members = _members(groups)
    limits = [share * len(groups) for share in accumulate(fractions.values())]
    chosen: dict[str, list[int]] = {split: [] for split in fractions}
    splits, taken = list(fractions), 0
    for group in _drawn(members, seed):
        middle = taken + len(members[group]) / 2  # a group goes where most of it fits
        place = next((number for number, limit in enumerate(limits) if middle <= limit), len(splits) - 1)
        chosen[splits[place]] += members[group]
        taken += len(members[group])
    return {split: sorted(indices) for split, indices in chosen.items()}


def k_folds(groups: Sequence[str], k: int = 5, *, seed: int = 0) -> Iterator[tuple[list[int], list[int]]]:
    """Indices of (train, test) for each of `k` folds; every item is tested once, groups stay together.

    Larger groups are placed first, each in the smallest fold so far, so that folds are as even as groups allow.

    Args:
        groups: name of each item's group (`groups_of`, `dataset_groups`).
        k: number of folds.
        seed: another one gives other folds.

    Raises:
        ValueError: fewer than 2 folds, or fewer groups than folds.
    """
    members = _members(groups)
    if not 2 <= k <= len(members):
        raise ValueError(f"k must be 2 or more and at most the number of groups ({len(members)}), found {k}")
    folds: list[list[int]] = [[] for _ in range(k)]
    for group in sorted(_drawn(members, seed), key=lambda name: -len(members[name])):
        min(folds, key=len).extend(members[group])
    for fold in folds:
        test = sorted(fold)
        held_out = set(test)
        yield [index for index in range(len(groups)) if index not in held_out], test


def _members(groups: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return members


def _drawn(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: sha256(f"{seed}\0{group}".encode()).digest())
