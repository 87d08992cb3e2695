import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity
from hf_adner.data.silver import labelled_words, labelled_words_from_file, project_words


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
