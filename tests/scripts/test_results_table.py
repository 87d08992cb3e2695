"""scripts/results_table.py: tables of records, and sections of Markdown pages."""

import pytest
from results_table import replace_section, results_markdown


def record(architecture: str, seed: int, f1: float) -> dict:
    scores = {"f1": f1, "precision": f1, "recall": f1}
    test = {
        "gold": 10,
        "flattened_gold": 8,
        "strict": scores,
        "strict_flattened": scores,
        "boundaries": {"untyped": {"both": scores}},
    }
    return {
        "model": {"architecture": architecture, "encoder_layers": 2},
        "training": {"seed": seed, "num_train_epochs": 3.0},
        "documents": {"train": 1000, "test": 5},
        "train_seconds": 12.4,
        "test": test,
    }


def test_an_architecture_is_one_row_with_seeds_in_order():
    records = {
        "news-bert-crf-1": record("bert-crf", 1, 0.6),
        "news-bert-crf-0": record("bert-crf", 0, 0.5),
        "news-m-dscmg-0": record("m-dscmg", 0, 0.75),
    }
    lines = results_markdown(records).splitlines()
    assert lines[0] == "### news" and "1,000 training documents" in lines[2] and "(2 nested)" in lines[2]
    crf = next(line for line in lines if line.startswith("| bert-crf"))
    assert crf.startswith("| bert-crf | 55.00 ± 7.07 |") and crf.endswith("| 2 | 50.00 60.00 | 12 |")
    assert "| m-dscmg | 75.00 | 75.00 | 75.00 | 75.00 | 75.00 | 1 | 75.00 | 12 |" in lines


def test_cross_validation_has_its_own_section():
    folds = {"m-dscmg": [{"strict": {"precision": 0.5, "recall": 0.5, "f1": 0.5}}]}
    assert "### imcs-5-fold\n\n| architecture |" in results_markdown({"imcs-5-fold": folds})


def test_a_section_is_replaced_and_others_are_kept():
    page = "# Page\n\n## A\n\nold\n\n### deeper\n\n```\n# code\n```\n\n## B\n\nkept\n"
    assert replace_section(page, "## A", "new\n") == "# Page\n\n## A\n\nnew\n\n## B\n\nkept\n"
    assert replace_section(page, "### deeper", "new") == "# Page\n\n## A\n\nold\n\n### deeper\n\nnew\n\n## B\n\nkept\n"
    assert replace_section(page, "## B", "kept") == page


def test_a_new_section_is_appended_and_needs_a_heading():
    assert replace_section("# Page\n", "## C", "text") == "# Page\n\n## C\n\ntext\n"
    with pytest.raises(ValueError, match="not a heading"):
        replace_section("# Page\n", "C", "text")
