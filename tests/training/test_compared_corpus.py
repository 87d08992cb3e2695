"""The corpus of a comparison: counts, perturbed documents, and its hash."""

from dataclasses import replace

import pytest

from hf_adner.comparison.corpus import ComparedCorpus, count, perturb
from hf_adner.data.records import Document, Entity
from hf_adner.perturb.context import EntitySurfaces

from .corpus import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return ComparedCorpus.load("notes", write_corpus(tmp_path_factory.mktemp("corpus"), 12, 6))


def test_counts_are_of_multisets():
    gold = [(0, 2, "A"), (0, 2, "B"), (3, 4, "A")]
    assert count([(0, 2, "A"), (0, 2, "A"), (3, 4, "B")], gold) == [1, 3, 3]
    assert count([], gold) == [0, 0, 3] and count(gold, []) == [0, 3, 0]


def test_gold_entities_are_seen_or_unseen_by_label_and_text(corpus):
    text = "湿疹伴抽搐，湿疹"
    spans = [Entity(0, 2, "Disease"), Entity(3, 5, "Symptom"), Entity(6, 8, "Symptom")]
    known = Document("t", "湿疹", (Entity(0, 2, "Disease"),))
    own = replace(corpus, train=[known], test=[Document("x", text, tuple(spans))])
    predicted = [[(0, 2, "Disease"), (6, 8, "Symptom"), (1, 2, "Disease")]]
    assert own.strict_counts(predicted) == [[2, 3, 3]]
    assert own.recall_counts(predicted, seen=True) == [[1, 1, 1]]
    assert own.recall_counts(predicted, seen=False) == [[1, 2, 2]]


def test_perturbed_documents_are_the_same_every_time_and_keep_their_entities(corpus):
    again = perturb(corpus.test, "confusions", EntitySurfaces({}))
    assert again == corpus.perturbed["confusions"] and again
    for number, document in again.items():
        assert document.text != corpus.test[number].text and len(document.entities) == 2


def test_families_that_need_more_or_write_masks_are_refused(corpus):
    with pytest.raises(ValueError, match="similar-words needs more than the documents"):
        perturb(corpus.test, "similar-words", EntitySurfaces({}))
    with pytest.raises(ValueError, match="context-masking writes masks"):
        perturb(corpus.test, "context-masking", EntitySurfaces({}))
    swapped = perturb(corpus.test, "entity-swap", EntitySurfaces.from_documents(corpus.train))
    assert swapped


def test_the_digest_is_of_texts_and_entities(corpus, tmp_path):
    same = ComparedCorpus.load("other name", write_corpus(tmp_path / "same", 12, 6), [])
    assert same.digest == corpus.digest
    other = ComparedCorpus.load("notes", write_corpus(tmp_path / "other", 12, 7), [])
    assert other.digest != corpus.digest
