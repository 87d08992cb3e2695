"""Profiles of ad-synthetic: the default stays as it is, `notes` adds terms, note types and words of the lexicon."""

import pytest

from hf_adner import load_ner_dataset
from hf_adner.data.synthetic import ad_lexicon, generate_corpus
from hf_adner.data.synthetic.vocabulary import DEFAULT, NOTES, Vocabulary, in_regional_words, regional_words
from hf_adner.training.preparation import build_lexicon

SIZES = {"train": 150, "validation": 5, "test": 5, "test_unseen": 5, "contrast": 4, "assertion": 4}


@pytest.fixture(scope="module")
def notes():
    return generate_corpus(3, SIZES, profile=NOTES)


def test_the_default_is_the_corpus_without_a_profile(notes):
    default = generate_corpus(3, SIZES, profile=DEFAULT)
    assert default == generate_corpus(3, SIZES) != notes
    assert not {document.meta["note_type"] for document in default["train"]} & {"中医病历", "处方", "检查问答"}


def test_notes_are_documents_of_the_same_kind(notes):
    texts = [document.text for split in notes.values() for document in split]
    assert len(set(texts)) == len(texts) == sum(SIZES.values())
    for document in (document for split in notes.values() for document in split):
        assert all(document.text[start:end].strip() == document.text[start:end] for start, end, _ in document.spans)
        assert not set("{}<>[]‹›«»@#%*") & set(document.text.replace("%", "")) - {"*", "#", "<", ">"}
    assert {"中医病历", "处方", "诱因问答"} <= {document.meta["note_type"] for document in notes["train"]}
    train = "\n".join(document.text for document in notes["train"])
    assert not any(entity.text in train for document in notes["test_unseen"] for entity in document.entities)
    assert load_ner_dataset("ad-synthetic", sizes=SIZES, seed=3, profile=NOTES)["train"]["text"] == [
        document.text for document in notes["train"]
    ]


def test_a_term_of_the_notes_has_the_label_that_the_default_gives_it():
    """What is put on the skin may be a drug, and a trigger where it is blamed; anything else has one label."""
    default, notes = Vocabulary.default().terms(), Vocabulary.default(NOTES)
    mine = [group for name, group in notes.groups.items() if name not in Vocabulary.default().groups]
    assert mine
    for group in mine:
        for term in group.weights:
            labels = {default.get(term, group.label), group.label}
            assert len(labels) == 1 or labels == {"Drug", "Trigger"}, term


def test_the_lexicon_of_the_notes_has_the_words_of_both():
    default, notes = ad_lexicon(), ad_lexicon(profile=NOTES)
    assert default.items() < notes.items() and notes["达必妥"] == "Drug" and notes["照光治疗"] == "Treatment"
    assert set(build_lexicon("ad-notes", None).words) == set(notes)
    assert set(build_lexicon("ad", None).words) == set(default)


def test_an_unknown_profile_is_refused():
    for call in (ad_lexicon, lambda **options: generate_corpus(0, SIZES, **options)):
        with pytest.raises(ValueError, match="profile is 'real', expected one of default, notes"):
            call(profile="real")


def test_regional_words_belong_to_their_profile():
    assert regional_words() == {} and regional_words(NOTES)["患儿"] == ("病童",)
    said = in_regional_words("患者面部特应性皮炎，外用皮炎平", NOTES, lambda words: words[0])
    assert said == "病患脸部异位性皮肤炎，外用皮炎平" and in_regional_words("皮炎", "default", max) == "皮炎"
    lexicon = ad_lexicon(profile=NOTES)
    assert lexicon["异位性皮肤炎"] == "Disease" and "异位性皮肤炎" not in ad_lexicon()


def test_regional_words_keep_mentions():
    documents = generate_corpus(0, SIZES | {"train": 300}, profile=NOTES)["train"]
    found = [entity for document in documents for entity in document.entities if "搔痒" in entity.text]
    assert found and {entity.label for entity in found} == {"Symptom"}
    with_words = sum("病患" in document.text or "皮肤炎" in document.text for document in documents)
    assert 0 < with_words < len(documents) / 5
