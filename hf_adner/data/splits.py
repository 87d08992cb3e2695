"""Splits and folds by document or by group (a patient, a dialogue), deterministic for a seed.

The split of a group depends on the seed and the names of the groups only, not on the order of the documents.
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
    """Divide documents among splits, without dividing groups.

    Args:
        documents: documents with unique ids.
        fractions: share of the documents per split, such as `{"train": 0.8, "test": 0.2}`; must sum to 1.
        seed: random seed.
        group_key: key of `meta`, or a function of the document, that names its group; None makes each document a group.

    Raises:
        DataFormatError: a document does not have the group key.
        ValueError: fractions are negative or do not sum to 1.
    """
    documents = list(documents)
    indices = split_indices(groups_of(documents, group_key), fractions, seed=seed)
    return {split: [documents[index] for index in members] for split, members in indices.items()}


def split_dataset(
    dataset: datasets.Dataset, fractions: Mapping[str, float], *, seed: int = 0, group_key: str | None = None
) -> datasets.DatasetDict:
    """Divide a dataset of documents among splits; see `split_documents`."""
    from datasets import DatasetDict

    indices = split_indices(dataset_groups(dataset, group_key), fractions, seed=seed)
    return DatasetDict({split: dataset.select(rows) for split, rows in indices.items()})


def groups_of(documents: Iterable[Document], group_key: GroupKey | None = None) -> list[str]:
    """Return the name of each document's group.

    Raises:
        DataFormatError: the `meta` of a document does not have the key.
    """
    if group_key is None:
        return [document.id for document in documents]
    if callable(group_key):
        return [str(group_key(document)) for document in documents]
    return [_group(document.id, document.meta, group_key) for document in documents]


def dataset_groups(dataset: datasets.Dataset, group_key: str | None = None) -> list[str]:
    """Return the name of each row's group; see `groups_of`."""
    if group_key is None:
        return list(dataset["id"])
    return [_group(id_, load_meta(meta), group_key) for id_, meta in zip(dataset["id"], dataset["meta"], strict=True)]


def _group(document_id: str, meta: Mapping[str, object], key: str) -> str:
    if meta.get(key) is None:
        raise DataFormatError(f"meta has no group key {excerpt(key, 30)}", record=document_id)
    return str(meta[key])


def split_indices(groups: Sequence[str], fractions: Mapping[str, float], *, seed: int = 0) -> dict[str, list[int]]:
    """Return the sorted indices of each split, for items of which `groups` names the group.

    Groups are shuffled by the seed and fill one split after the other up to its share.

    Raises:
        ValueError: fractions are negative or do not sum to 1.
    """
    if not fractions or min(fractions.values()) < 0 or not isclose(sum(fractions.values()), 1):
        raise ValueError(f"fractions must be 0 or more and sum to 1, found {dict(fractions)}")
    members = _members(groups)
    limits = [share * len(groups) for share in accumulate(fractions.values())]
    indices: dict[str, list[int]] = {split: [] for split in fractions}
    splits, assigned = list(fractions), 0
    for group in _shuffled(members, seed):
        middle = assigned + len(members[group]) / 2  # a group goes to the split that most of it fits into
        number = next((number for number, limit in enumerate(limits) if middle <= limit), len(splits) - 1)
        indices[splits[number]] += members[group]
        assigned += len(members[group])
    return {split: sorted(rows) for split, rows in indices.items()}


def k_folds(groups: Sequence[str], k: int = 5, *, seed: int = 0) -> Iterator[tuple[list[int], list[int]]]:
    """Yield (train, test) indices of `k` folds; each item is in one test fold, and groups are not divided.

    The largest groups are assigned first, each to the smallest fold, so that folds have similar sizes.

    Args:
        groups: name of each item's group (`groups_of`, `dataset_groups`).
        k: number of folds.
        seed: random seed.

    Raises:
        ValueError: `k` is less than 2 or more than the number of groups.
    """
    members = _members(groups)
    if not 2 <= k <= len(members):
        raise ValueError(f"k must be 2 or more and at most the number of groups ({len(members)}), found {k}")
    folds: list[list[int]] = [[] for _ in range(k)]
    for group in sorted(_shuffled(members, seed), key=lambda group: -len(members[group])):
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


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """Sort groups by a hash of seed and name, so that the order does not depend on the other groups."""
    return sorted(groups, key=lambda group: sha256(f"{seed}\0{group}".encode()).digest())
