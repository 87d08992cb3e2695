"""Paired comparison of two explainers, from values whose answer is known."""

import pytest
from explainer_comparison import BETTER, NOT_WORSE, UNDECIDED, WORSE, compare_explainers, comparison_markdown

from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport

DOCUMENTS = list(range(40))


def report(**columns) -> ExplanationReport:
    scores = {
        name: ExplainerScores(name, len(values), {measure: {"mean": 0.0}}, {measure: values})
        for name, (measure, values) in columns.items()
    }
    return ExplanationReport(scores, {"document": DOCUMENTS}, {}, {})


def noise(level: float) -> list[float]:
    return [0.5 + level * (-1) ** number for number in DOCUMENTS]


@pytest.mark.parametrize(
    ("shift", "spread", "verdict"),
    [(0.1, 0.01, BETTER), (-0.1, 0.01, WORSE), (-0.001, 0.0, NOT_WORSE), (0.0, 0.4, UNDECIDED)],
)
def test_verdicts(shift, spread, verdict):
    second = [0.5] * len(DOCUMENTS)
    first = [value + shift for value in noise(spread)]
    found = compare_explainers(report(a=("cosine", first), b=("cosine", second)), "a", "b", "cosine")
    assert found.verdict == verdict
    assert found.difference == pytest.approx(shift, abs=1e-9)
    assert found.low <= found.difference <= found.high and found.margin == pytest.approx(0.005)


def test_less_can_be_better_and_so_can_nearness_to_zero():
    half, quarter = [0.5] * len(DOCUMENTS), [0.25] * len(DOCUMENTS)
    of = report(a=("sufficiency", quarter), b=("sufficiency", half))
    assert compare_explainers(of, "a", "b", "sufficiency").difference == pytest.approx(0.25)
    of = report(a=("random_agreement", [-0.5] * 40), b=("random_agreement", quarter))
    assert compare_explainers(of, "a", "b", "random_agreement").difference == pytest.approx(-0.25)


def test_only_common_entities_count():
    second = [0.5] * len(DOCUMENTS)
    first = [1.0, None, *[9.0] * 8]  # asked for ten entities, and the second has no value for most of them
    second[2:] = [None] * 38
    found = compare_explainers(report(a=("cosine", first), b=("cosine", second)), "a", "b", "cosine")
    assert (found.entities, found.difference) == (1, 0.5)
    nothing = compare_explainers(report(a=("cosine", [None]), b=("cosine", second)), "a", "b", "cosine")
    assert (nothing.entities, nothing.difference, nothing.verdict) == (0, None, UNDECIDED)


def test_table_and_errors():
    of = report(a=("agreement", noise(0.1)), b=("agreement", noise(0.0)))
    text = comparison_markdown(of, ["a"], ["a", "b"])
    assert "| a - b |" in text and "a - a" not in text and "BFA" in text and "DS" not in text
    for measure in ("boundary_mass_lift", "speed"):
        with pytest.raises(ValueError, match="cannot compare"):
            compare_explainers(of, "a", "b", measure)
    with pytest.raises(ValueError, match="'c'"):
        compare_explainers(of, "a", "c", "agreement")
