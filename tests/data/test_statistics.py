"""What a corpus is made of."""

import json

import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.data.statistics import corpus_statistics, plot_statistics


def document(name: str, text: str, *spans: tuple[int, int, str]) -> Document:
    return Document(name, text, tuple(Entity(*span) for span in spans))


@pytest.fixture
def splits() -> dict[str, list[Document]]:
    return {
        "train": [
            document("a", "面部红斑伴瘙痒十天", (0, 2, "BodySite"), (2, 4, "Symptom"), (5, 7, "Symptom")),
            document("b", "肛周湿疹", (0, 4, "Disease"), (0, 2, "BodySite")),
        ],
        "test": [
            document("c", "面部红斑伴瘙痒十天", (2, 4, "Symptom"), (5, 7, "Disease")),
            document("d", "无明显异常发现，定期复查", *()),
        ],
        "empty": [],
    }


def test_counts_are_those_of_the_documents(splits):
    train = corpus_statistics(splits).splits["train"]
    assert (train.documents, train.empty, train.characters, train.entities, train.nested) == (2, 0, 13, 5, 1)
    assert train.labels == {"BodySite": 2, "Symptom": 2, "Disease": 1}
    assert train.surfaces == {"BodySite": 2, "Symptom": 2, "Disease": 1}
    assert list(train.text_lengths) == [4, 9] and list(train.entity_lengths) == [2, 2, 2, 2, 4]
    assert train.density == pytest.approx(100 * 5 / 13)


def test_shared_entities_need_the_same_label_and_texts_are_compared(splits):
    found = corpus_statistics(splits)
    assert found.seen_entities["test", "train"] == 0.5  # 红斑 as Symptom, 瘙痒 only under another label
    assert found.seen_entities["train", "test"] == 0.2
    assert found.duplicates.share("test", "train") == 0.5
    assert found.seen_entities["empty", "train"] == 0.0


def test_tables_and_json_say_the_same(splits):
    found = corpus_statistics(splits)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["seen_entities"]["test in train"] == 0.5 and plain["near_duplicates"]["test in train"] == 0.5
    assert plain["splits"]["train"]["text_lengths"]["100%"] == 9 and plain["splits"]["empty"]["text_lengths"] == {}
    table = found.to_markdown()
    assert "| test in train | 50.0 % | 50.0 % |" in table
    assert "| Disease | 1 (1) | 1 (1) | 0 (0) |" in table
    assert "| train | 2 | 0 | 13 | 5 | 1 | 38.46 | 6.5 (9, 9) | 2 (4, 4) |" in table


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_is_written_whole_or_not_at_all(splits, tmp_path, suffix):
    plot_statistics(corpus_statistics(splits), tmp_path / f"corpus.{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [f"corpus.{suffix}"]
    assert (tmp_path / f"corpus.{suffix}").stat().st_size > 1000
    with pytest.raises(ValueError):
        plot_statistics(corpus_statistics(splits), tmp_path / "corpus.nonsense")
    assert len(list(tmp_path.iterdir())) == 1
