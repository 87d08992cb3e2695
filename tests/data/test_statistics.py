"""Tests of corpus statistics, near-duplicates and the plot."""

import json
import random

import numpy as np
import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.data.statistics import (
    GRAM,
    HASHES,
    comparable,
    corpus_statistics,
    jaccard,
    near_duplicates,
    plot_statistics,
    signatures,
)


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
    computed = corpus_statistics(splits)
    assert computed.seen_entities["test", "train"] == 0.5  # 红斑 as Symptom, 瘙痒 only under another label
    assert computed.seen_entities["train", "test"] == 0.2
    assert computed.duplicates.share("test", "train") == 0.5
    assert computed.seen_entities["empty", "train"] == 0.0


def test_tables_and_json_have_the_same_values(splits):
    computed = corpus_statistics(splits)
    plain = json.loads(json.dumps(computed.to_dict()))
    assert plain["seen_entities"]["test in train"] == 0.5 and plain["near_duplicates"]["test in train"] == 0.5
    assert plain["splits"]["train"]["text_lengths"]["100%"] == 9 and plain["splits"]["empty"]["text_lengths"] == {}
    table = computed.to_markdown()
    assert "| test in train | 50.0 % | 50.0 % |" in table
    assert "| Disease | 1 (1) | 1 (1) | 0 (0) |" in table
    assert "| train | 2 | 0 | 13 | 5 | 1 | 38.46 | 6.5 (9, 9) | 2 (4, 4) |" in table
    assert "shared" in table and "shared" not in corpus_statistics({"train": splits["train"]}).to_markdown()


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_plot_is_written_completely_or_not_at_all(splits, tmp_path, suffix):
    plot_statistics(corpus_statistics(splits), tmp_path / f"corpus.{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [f"corpus.{suffix}"]
    assert (tmp_path / f"corpus.{suffix}").stat().st_size > 1000
    with pytest.raises(ValueError):
        plot_statistics(corpus_statistics(splits), tmp_path / "corpus.nonsense")
    assert len(list(tmp_path.iterdir())) == 1


NOTE = "患者三年前无明显诱因出现双侧肘窝及腘窝红斑丘疹伴剧烈瘙痒，冬季加重，外用激素后好转，停药复发。"


def random_text(seed, length=60):
    return "".join(random.Random(seed).choices("的一是了我不人在他有这个上们来到时大地为子中你说生", k=length))


def test_equal_similar_and_different_texts():
    train = [Document("a", NOTE), Document("b", random_text(1)), Document("c", "头痛")]
    test = [Document("x", NOTE[:-6] + "未再复发。"), Document("y", random_text(2)), Document("z", " 头 痛\n")]
    report = near_duplicates({"train": train, "test": test}, threshold=0.7)
    assert [(pair.id, pair.other_id) for pair in report.duplicates] == [("x", "a"), ("z", "c"), ("a", "x"), ("c", "z")]
    assert report.duplicates[1].similarity == 1.0 and 0.7 <= report.duplicates[0].similarity < 1
    assert report.share("test", "train") == report.share("train", "test") == 2 / 3


def test_the_most_similar_is_reported_and_a_split_is_not_compared_with_itself():
    report = near_duplicates(
        {"train": [Document("a", NOTE[:-1]), Document("b", NOTE)], "test": [Document("x", NOTE)], "dev": []}
    )
    assert [(pair.id, pair.other_id, pair.similarity) for pair in report.duplicates if pair.split == "test"] == [
        ("x", "b", 1.0)
    ]
    assert report.share("dev", "train") == 0.0 and report.documents == {"train": 2, "test": 1, "dev": 0}


def test_pairs_at_the_threshold_are_found():
    splits = {"train": [], "test": []}
    for seed in range(200):
        text = random_text(seed, 80)
        splits["train"].append(Document(f"a{seed}", text))
        splits["test"].append(Document(f"b{seed}", text[:-8] + "癣" * 8))  # similarity 65 / 81
    report = near_duplicates(splits, threshold=0.8)
    assert len(report.duplicates) >= 2 * 196
    assert report == near_duplicates(splits, threshold=0.8)


def test_signatures_estimate_similarity_and_do_not_depend_on_the_batch():
    first, second = comparable(NOTE), comparable(NOTE[10:])
    both = signatures([first, comparable("短"), second])
    assert both.shape == (3, HASHES) and both.dtype == np.uint64
    assert (both[2] == signatures([second])[0]).all()
    assert abs((both[0] == both[2]).mean() - jaccard(first, second)) < 0.25


def test_short_texts_are_one_gram():
    assert comparable("A b\u3000C") == "abc".ljust(GRAM, "\0")
    assert (
        jaccard(comparable("头痛"), comparable("头痛")) == 1.0
        and jaccard(comparable("头痛"), comparable("头晕")) == 0.0
    )


@pytest.mark.parametrize("threshold", [0, 1.1, -1])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold must be above 0"):
        near_duplicates({}, threshold)
