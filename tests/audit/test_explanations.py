"""evaluate_explanations end to end on tiny models, the tables of its report, and `adner audit`."""

import json

import numpy as np
import pytest
import torch

import hf_adner
from hf_adner import evaluate_explanations, make_explainer
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.explanations import MEASUREMENTS, VIEWING, ExplanationAudit
from hf_adner.audit.measures import GROUPS, HEADLINE, MEASURES, ExplanationSettings
from hf_adner.cli import main
from hf_adner.data.formats import write_documents
from hf_adner.explain.controls import ConstantExplainer, RandomExplainer

SMALL = {
    "views": 1,
    "max_entities": 6,
    "sensitivity_draws": 1,
    "infidelity_draws": 4,
    "soft_draws": 2,
    "orderings": 1,
    "replacements": 1,
    "random_shares": (1.0,),
    "resamples": 40,
    "progress": False,
}


@pytest.fixture(scope="module")
def report(case):
    lime = make_explainer("lime", case.model, case.tokenizer, n_samples=8)
    explainers = {
        "grad-x-input": make_explainer("grad-x-input", case.model, case.tokenizer),
        "constant": ConstantExplainer(),
        "lime": lime,
    }
    before = [parameter.clone() for parameter in case.model.parameters()]
    found = evaluate_explanations(
        case.model, case.tokenizer, case.documents, explainers, max_sampling_entities=2, **SMALL
    )
    assert all(map(torch.equal, before, case.model.parameters()))
    return found


def test_a_constant_explanation_scores_zero(report):
    constant = report.explainers["constant"]
    for name in ("discriminative_faithfulness", "agreement", "replaced_agreement", "soft_comprehensiveness_gain"):
        assert constant.mean(name) == pytest.approx(0, abs=1e-9)
    assert constant.mean("cosine") == pytest.approx(1)


def test_everything_is_measured_of_every_explainer(report):
    groups = {
        "discrimination",
        "contrast",
        "boundary",
        "faithfulness",
        "stability",
        "sensitivity",
        "plausibility",
        "randomisation",
    }
    for name, scores in report.explainers.items():
        assert set(scores.details) - {"seed-noise"} == groups
        assert scores.entities == (2 if name == "lime" else 6)
        assert all(len(column) == scores.entities for column in scores.values.values())
        assert ("seed_cosine" in scores.estimates) == (name == "lime")
        measured = {measure.name for measure in MEASURES if measure.group != "seed-noise"}
        assert measured <= set(scores.values) and "discriminative_stability" not in scores.values
    assert report.sample["entities"] == 6 == len(report.sample["document"])


def test_estimates_are_means_inside_their_intervals(report):
    for scores in report.explainers.values():
        for name, estimate in scores.estimates.items():
            known = [value for value in scores.values[name] if value is not None]
            assert estimate["entities"] == len(known)
            if not known:
                assert estimate["mean"] is None
                continue
            assert estimate["mean"] == pytest.approx(np.mean(known), rel=1e-6, abs=1e-9)
            assert estimate["low"] <= estimate["mean"] + 1e-9 and estimate["high"] >= estimate["mean"] - 1e-9


def test_the_report_is_plain_json_and_comes_back(report):
    summary = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert summary["explainers"]["constant"]["cosine"]["mean"] == 1
    assert summary["explainers"]["constant"]["coverage"] is not None
    assert {"calibration", "boundary_sensitivity"} <= set(summary["model"])
    full = json.loads(json.dumps(report.to_dict(full=True), allow_nan=False))
    back = ExplainerScores.from_dict(full["explainers"]["lime"])
    assert back.to_dict() == full["explainers"]["lime"]


def test_markdown_has_a_table_per_group_and_every_explainer(report):
    text = report.to_markdown()
    for group in (*GROUPS[:-1], "entity calibration"):
        assert f"| {group} |" in text
    assert text.count("| grad-x-input |") >= 6
    assert "coverage" in text and "Controls (constant) ignore the model." in text
    assert text.index("| discrimination |") < text.index("| boundary |") < text.index("| stability |")


def test_plot(report, tmp_path):
    report.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    report.plot(tmp_path / "picture.svg", "sufficiency")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["picture.png", "picture.svg"]
    with pytest.raises(ValueError, match="no measure 'speed'"):
        report.plot(tmp_path / "other.png", "speed")


def test_names_and_a_stock_model(stock):
    settings = {**SMALL, "groups": ["boundary", "faithfulness"]}
    names = ["integrated-gradients", "random"]
    found = evaluate_explanations(stock.model, stock.tokenizer, stock.documents, names, **settings)
    assert list(found.explainers) == names
    assert found.explainers["random"].coverage is None
    assert "| stability |" not in found.to_markdown()
    with pytest.raises(ValueError, match="no explainer has both agreement_over_others and discriminative_faithfulness"):
        found.plot("never.png")


def test_the_same_seed_gives_the_same_numbers(case):
    settings = {**SMALL, "groups": ["discrimination", "stability", "faithfulness"], "max_entities": 3}
    both = [
        evaluate_explanations(case.model, case.tokenizer, case.documents, ["grad-x-input"], **settings)
        for _ in range(2)
    ]
    first, second = (found.explainers["grad-x-input"].values for found in both)
    for name in first:
        assert first[name] == pytest.approx(second[name], abs=1e-5)


def test_explainers_can_be_scored_one_by_one(case):
    small = {name: value for name, value in SMALL.items() if name != "progress"}
    settings = ExplanationSettings(**{**small, "groups": ("stability",)})
    audit = ExplanationAudit(case.model, case.tokenizer, case.documents, settings, progress=False)
    scores = [audit.score("random", RandomExplainer()), audit.score("constant", audit.make("constant"))]
    assert list(audit.report(scores).explainers) == ["random", "constant"]


def test_every_group_is_measured_and_views_are_made_where_they_are_used(case):
    assert tuple(MEASUREMENTS) == GROUPS and {measure.group for measure in MEASURES} == set(GROUPS)
    assert set(HEADLINE) <= {measure.name for measure in MEASURES}
    for group in GROUPS:
        small = {name: value for name, value in SMALL.items() if name != "progress"}
        settings = ExplanationSettings(**{**small, "groups": (group,)})
        audit = ExplanationAudit(case.model, case.tokenizer, case.documents, settings, progress=False)
        assert bool(audit.views) == (group in VIEWING)


def test_bad_settings(case):
    for wrong, error, message in (
        ({"colour": 3}, TypeError, "colour"),
        ({"views": 0}, ValueError, "views must be 1 or more"),
        ({"groups": ["taste"]}, ValueError, "taste"),
        ({"random_shares": (0.0,)}, ValueError, "random_shares"),
        ({"families": ["virtual-boundary"]}, ValueError, "label-preserving"),
        ({"level": 1.0}, ValueError, "level"),
        ({"beam_width": -1}, ValueError, "beam_width"),
    ):
        with pytest.raises(error, match=message):
            evaluate_explanations(case.model, case.tokenizer, case.documents, ["random"], **wrong)
    with pytest.raises(ValueError, match="explainer 'magic' is not available"):
        evaluate_explanations(case.model, case.tokenizer, case.documents, ["magic"], **SMALL)
    assert "evaluate_explanations" in hf_adner.__all__


SAMPLE = {"documents": 2, "gold": 4, "found": 3, "coverage": 0.75, "entities": 3, "document": [0, 0, 1]}
SETTINGS = {"families": ["punctuation"], "views": 2, "level": 0.95}


def scores(name: str, *measures: str) -> ExplainerScores:
    estimates = {measure: {"mean": 0.5, "low": 0.4, "high": 0.6, "entities": 3} for measure in measures}
    return ExplainerScores(name, 3, estimates, {measure: [0.5] * 3 for measure in measures})


def report_on(*explainers: ExplainerScores) -> ExplanationReport:
    return ExplanationReport({one.name: one for one in explainers}, SAMPLE, {}, SETTINGS)


def tables(text: str) -> dict[str, list[str]]:
    """Group -> names of its rows."""
    blocks = (block.splitlines() for block in text.split("\n\n") if block.startswith("| "))
    return {
        lines[0].split(" | ")[0].strip("| "): [row.split(" | ")[0].strip("| ") for row in lines[2:]] for lines in blocks
    }


def test_an_explainer_has_a_row_where_something_of_it_was_measured():
    first = scores("first", "discriminative_faithfulness", "seed_cosine", "sufficiency")
    second = scores("second", "discriminative_faithfulness")
    assert tables(report_on(first, second).to_markdown()) == {
        "discrimination": ["first", "second"],
        "faithfulness": ["first"],
        "seed-noise": ["first"],
    }


def level(name: str, **means: float) -> ExplainerScores:
    estimates = {measure: {"mean": mean, "low": mean, "high": mean, "entities": 3} for measure, mean in means.items()}
    return ExplainerScores(name, 3, estimates, {measure: [mean] * 3 for measure, mean in means.items()})


def test_measures_that_a_control_leads_are_named():
    """Higher, lower and near zero, a tie, a measure without a direction, and one that no explainer has."""
    occlusion = level(
        "occlusion", cosine=0.9, sufficiency=0.2, random_agreement=-0.1, agreement=0.5, spearman=0.8, sparseness=0.1
    )
    template = level(
        "template", cosine=1.0, sufficiency=0.1, random_agreement=0.3, agreement=0.4, spearman=0.8, sparseness=0.9,
        map_consistency=1.0,
    )  # fmt: skip
    report = report_on(occlusion, level("hash", cosine=1.0, agreement=0.1), template)
    assert report.won_by_controls() == {"sufficiency": "template", "cosine": "hash", "spearman": "template"}
    assert "better: sufficiency (template), cosine (hash), Spearman (template)." in report.to_markdown()
    fair = report_on(occlusion, level("hash", agreement=0.1))
    assert fair.won_by_controls() == {} and "better: here none." in fair.to_markdown()
    assert report_on(template).won_by_controls() == {} and "Controls" not in report_on(template).to_markdown()
    assert "Controls" not in report_on(occlusion).to_markdown()


def test_audit_writes_tables_a_report_and_a_picture(case, tmp_path, capsys):
    case.model.save_pretrained(tmp_path / "model")
    case.tokenizer.save_pretrained(tmp_path / "model")
    write_documents(case.documents, tmp_path / "gold.jsonl")
    names = ("json", "calibration", "robustness")
    files = {"--plot": tmp_path / "plot.png", **{f"--{name}": tmp_path / f"{name}.json" for name in names}}
    options = ["--explainers", "grad-x-input", "random", "--groups", "discrimination", "contrast", "--views", "1"]
    options += ["--max-entities", "8", "--device", "cpu", *(str(part) for pair in files.items() for part in pair)]
    assert main(["audit", str(tmp_path / "model"), str(tmp_path / "gold.jsonl"), *options]) == 0
    printed = capsys.readouterr().out
    assert "| discrimination | entities | DF up | coverage |" in printed and "| clause-shuffle |" in printed
    report, calibration, robustness = (
        json.loads(files[f"--{name}"].read_text(encoding="utf-8")) for name in ("json", "calibration", "robustness")
    )
    assert calibration["accuracy"] == 1 and robustness["f1"] == 1
    assert set(report["explainers"]) == {"grad-x-input", "random"} and report["population"]["entities"] == 8
    assert files["--plot"].stat().st_size > 1000
    assert main(["audit", str(tmp_path / "model"), str(tmp_path / "gold.jsonl"), "--groups", "taste"]) == 1
    assert "ValueError: groups are" in capsys.readouterr().err
