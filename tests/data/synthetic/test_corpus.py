"""The ad-synthetic corpus: determinism, exact offsets, disjoint splits, cues and contrast pairs."""

import pytest

from hf_adner.data.synthetic import DEFAULT_SIZES, generate_corpus

SMALL = {"train": 120, "validation": 20, "test": 20, "test_unseen": 20, "contrast": 40}


@pytest.fixture(scope="module")
def corpus():
    return generate_corpus(0, SMALL)


def test_same_seed_gives_the_same_documents(corpus):
    assert generate_corpus(0, SMALL) == corpus


def test_another_seed_gives_other_documents(corpus):
    assert generate_corpus(1, SMALL)["train"] != corpus["train"]


def test_sizes_are_kept(corpus):
    assert {split: len(documents) for split, documents in corpus.items()} == SMALL


def test_entities_are_exact_and_do_not_overlap(corpus):
    for document in (d for documents in corpus.values() for d in documents):
        assert not document.has_overlaps
        assert all(document.text[e.start : e.end] == e.text for e in document.entities)


def test_no_text_occurs_twice(corpus):
    texts = [d.text for documents in corpus.values() for d in documents]
    assert len(texts) == len(set(texts)) == sum(SMALL.values())


def test_default_splits_are_named():
    assert list(DEFAULT_SIZES) == ["train", "validation", "test", "test_unseen", "contrast"]


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="dev"):
        generate_corpus(0, {"dev": 3})
