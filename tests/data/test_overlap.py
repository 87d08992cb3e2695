import random

import numpy as np
import pytest

from hf_adner.data.records import Document
from hf_adner.data.statistics import GRAM, HASHES, comparable, jaccard, near_duplicates, signatures

NOTE = "患者三年前无明显诱因出现双侧肘窝及腘窝红斑丘疹伴剧烈瘙痒，冬季加重，外用激素后好转，停药复发。"


def other(seed, length=60):
    return "".join(random.Random(seed).choices("的一是了我不人在他有这个上们来到时大地为子中你说生", k=length))


def test_equal_similar_and_unlike_texts():
    train = [Document("a", NOTE), Document("b", other(1)), Document("c", "头痛")]
    test = [Document("x", NOTE[:-6] + "未再复发。"), Document("y", other(2)), Document("z", " 头 痛\n")]
    report = near_duplicates({"train": train, "test": test}, threshold=0.7)
    assert [(one.id, one.other_id) for one in report.duplicates] == [("x", "a"), ("z", "c"), ("a", "x"), ("c", "z")]
    assert report.duplicates[1].similarity == 1.0 and 0.7 <= report.duplicates[0].similarity < 1
    assert report.share("test", "train") == report.share("train", "test") == 2 / 3


def test_the_most_similar_is_reported_and_a_split_is_not_compared_with_itself():
    report = near_duplicates(
        {"train": [Document("a", NOTE[:-1]), Document("b", NOTE)], "test": [Document("x", NOTE)], "dev": []}
    )
    assert [(one.id, one.other_id, one.similarity) for one in report.duplicates if one.split == "test"] == [
        ("x", "b", 1.0)
    ]
    assert report.share("dev", "train") == 0.0 and report.documents == {"train": 2, "test": 1, "dev": 0}


def test_pairs_at_the_threshold_are_found():
    splits = {"train": [], "test": []}
    for seed in range(200):
        text = other(seed, 80)
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
