"""scripts/explainer_comparison.py: paired comparisons of explainers with known answers."""

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
    paired = compare_explainers(report(a=("cosine", first), b=("cosine", second)), "a", "b", "cosine")
    assert paired.verdict == verdict
    assert paired.difference == pytest.approx(shift, abs=1e-9)
    assert paired.low <= paired.difference <= paired.high and paired.margin == pytest.approx(0.005)


def test_lower_or_nearer_to_zero_can_be_better():
    half, quarter = [0.5] * len(DOCUMENTS), [0.25] * len(DOCUMENTS)
    scores = report(a=("sufficiency", quarter), b=("sufficiency", half))
    assert compare_explainers(scores, "a", "b", "sufficiency").difference == pytest.approx(0.25)
    scores = report(a=("random_agreement", [-0.5] * 40), b=("random_agreement", quarter))
    assert compare_explainers(scores, "a", "b", "random_agreement").difference == pytest.approx(-0.25)


def test_only_common_entities_count():
    second = [0.5] * len(DOCUMENTS)
    first = [1.0, None, *[9.0] * 8]  # ten entities, most without a value of the second explainer
    second[2:] = [None] * 38
    paired = compare_explainers(report(a=("cosine", first), b=("cosine", second)), "a", "b", "cosine")
    assert (paired.entities, paired.difference) == (1, 0.5)
    nothing = compare_explainers(report(a=("cosine", [None]), b=("cosine", second)), "a", "b", "cosine")
    assert (nothing.entities, nothing.difference, nothing.verdict) == (0, None, UNDECIDED)


def test_the_table_and_refused_comparisons():
    scores = report(a=("agreement", noise(0.1)), b=("agreement", noise(0.0)))
    text = comparison_markdown(scores, ["a"], ["a", "b"])
    assert "| a - b |" in text and "a - a" not in text and "BFA, mask" in text and "DF" not in text
    for measure in ("boundary_mass_lift", "speed"):
        with pytest.raises(ValueError, match="cannot compare"):
            compare_explainers(scores, "a", "b", measure)
    with pytest.raises(ValueError, match="'c'"):
        compare_explainers(scores, "a", "c", "agreement")
