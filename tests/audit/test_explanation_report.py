"""The tables of a report, from numbers that no model made."""

from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport

POPULATION = {"documents": 2, "gold": 4, "found": 3, "coverage": 0.75, "entities": 3, "document": [0, 0, 1]}
SETTINGS = {"families": ["p5"], "views": 2, "level": 0.95}


def scores(name: str, *measures: str) -> ExplainerScores:
    estimates = {measure: {"mean": 0.5, "low": 0.4, "high": 0.6, "entities": 3} for measure in measures}
    return ExplainerScores(name, 3, estimates, {measure: [0.5] * 3 for measure in measures})


def report(*explainers: ExplainerScores) -> ExplanationReport:
    return ExplanationReport({one.name: one for one in explainers}, POPULATION, {}, SETTINGS)


def tables(text: str) -> dict[str, list[str]]:
    """Group -> names of its rows."""
    blocks = (block.splitlines() for block in text.split("\n\n") if block.startswith("| "))
    return {
        lines[0].split(" | ")[0].strip("| "): [row.split(" | ")[0].strip("| ") for row in lines[2:]] for lines in blocks
    }


def test_an_explainer_has_a_row_where_something_of_it_was_measured():
    first = scores("first", "discriminative_stability", "seed_cosine", "sufficiency")
    second = scores("second", "discriminative_stability")
    assert tables(report(first, second).to_markdown()) == {
        "stability": ["first", "second"],
        "faithfulness": ["first"],
        "seed-noise": ["first"],
    }
