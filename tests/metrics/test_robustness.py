import numpy as np
import pytest

import hf_adner.metrics.robustness as module
from hf_adner.metrics.robustness import Robustness, robustness, seen_unseen_recall

PERTURBED = {"mask": 0.6, "swap": 0.4, "width": 0.85}


def test_by_hand():
    scores = robustness(PERTURBED, 0.8)
    lost = {name: row["degradation"] for name, row in scores["families"].items()}
    assert lost == pytest.approx({"mask": 0.25, "swap": 0.5, "width": -0.0625})
    assert scores["mean_degradation"] == pytest.approx((0.25 + 0.5 - 0.0625) / 3)
    assert (scores["worst_family"], scores["worst_degradation"], scores["worst_f1"]) == (
        "swap",
        pytest.approx(0.5),
        0.4,
    )


def test_each_family_against_its_own_documents():
    scores = robustness(PERTURBED, {"mask": 0.9, "swap": 0.4, "width": 0.85})
    assert (scores["worst_family"], scores["families"]["swap"]["degradation"]) == ("mask", 0)


def test_the_worst_is_the_greatest_relative_loss_not_the_lowest_f1():
    assert robustness({"a": 0.5, "b": 0.3}, {"a": 1.0, "b": 0.4})["worst_family"] == "a"


def test_where_there_was_nothing_to_lose():
    scores = robustness({"mask": 0.0, "swap": 0.2}, {"mask": 0.0, "swap": 0.4})
    assert np.isnan(scores["families"]["mask"]["degradation"])
    assert (scores["mean_degradation"], scores["worst_family"]) == (0.5, "swap")
    assert robustness({}, 0.8)["worst_family"] is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="perturbed F1 must lie in"):
        robustness({"mask": 60.0}, 0.8)
    with pytest.raises(ValueError, match="clean F1 must be finite"):
        robustness({"mask": 0.6}, float("nan"))
    with pytest.raises(ValueError, match=r"needed for the families \['mask'\], found \['swap'\]"):
        robustness({"mask": 0.6}, {"swap": 0.6})


def test_recall_is_split_by_what_was_seen():
    scores = seen_unseen_recall([1, 1, 0, 1, 0], [1, 1, 1, 0, 0])
    assert scores == {
        "seen_recall": pytest.approx(2 / 3),
        "unseen_recall": 0.5,
        "gap": pytest.approx(1 / 6),
        "seen": 3,
        "unseen": 2,
    }


def test_recall_of_nothing_is_no_number():
    scores = seen_unseen_recall([True], [True])
    assert scores["seen_recall"] == 1
    assert np.isnan(scores["unseen_recall"])
    with pytest.raises(ValueError, match="seen must hold 1 numbers, found 2"):
        seen_unseen_recall([True], [True, False])


def test_metric_gives_what_the_function_gives(load):
    metric = load(module, Robustness)
    scores = metric.compute(predictions=list(PERTURBED.values()), references=[0.8] * 3, families=list(PERTURBED))
    assert scores == robustness(PERTURBED, 0.8)


def test_metric_refuses_a_family_named_twice(load):
    with pytest.raises(ValueError, match="named once, found 2 with 1 names"):
        load(module, Robustness).compute(predictions=[0.5, 0.6], references=[0.8] * 2, families=["mask"] * 2)
