"""Counting documents and groups per cell."""

import numpy as np
import pytest

from hf_adner.explain import table_files as distinct_documents
from hf_adner.explain.table_files import DistinctDocuments


def counted(documents, **options):
    cells, counts = documents.count(**options)
    return dict(zip(cells.tolist(), counts.tolist()))


def test_documents_count_once_per_cell():
    documents = DistinctDocuments()
    assert counted(documents) == {}
    documents.add(np.array([[5, 7, 5], [9, 9, 9]]), "a")
    documents.add(np.array([5]), "a")
    documents.add(np.array([5, 7]), "b")
    assert counted(documents) == {5: 2, 7: 2, 9: 1}
    assert documents.pairs().tolist() == [[5, 0], [5, 1], [7, 0], [7, 1], [9, 0]] or len(documents.pairs()) == 5


def test_groups_count_in_place_of_their_documents():
    documents = DistinctDocuments()
    for number in range(6):
        documents.add(np.array([1]), f"d{number}", f"patient {number % 2}")
    documents.add(np.array([1]), "patient 0")  # a document of that name is no patient
    assert counted(documents) == {1: 3}
    assert counted(documents, group_of=lambda document: document[0]) == {1: 2}


@pytest.mark.parametrize("at_once", [1, 3, 10**6])
def test_only_so_many_are_remembered_and_always_the_same(monkeypatch, at_once):
    monkeypatch.setattr(distinct_documents, "LIMIT", 4)
    monkeypatch.setattr(distinct_documents, "COMPACT_AT", at_once)
    names = [f"d{number}" for number in range(20)]
    remembered = []
    for order in (names, names[::-1], names[10:] + names[:10]):
        documents = DistinctDocuments()
        for name in order:
            documents.add(np.array([1, 2] if name < "d12" else [2]), name)
        sources = list(documents.sources)
        remembered.append({(cell, sources[source][0]) for cell, source in documents.pairs().tolist()})
        assert counted(documents) == {1: 4, 2: 4}
    assert remembered[0] == remembered[1] == remembered[2] and len(remembered[0]) == 8


def test_joining():
    one, other, both = DistinctDocuments(), DistinctDocuments(), DistinctDocuments()
    for number in range(8):
        for documents in (one if number < 5 else other, both):
            documents.add(np.arange(number), f"d{number}", "g" if number % 3 else None)
    other.add(np.array([3]), "d4", "g")
    both.add(np.array([3]), "d4", "g")
    one.extend(other.pairs(), list(other.sources))
    assert counted(one) == counted(both)
    assert set(one.sources) == set(both.sources)
