"""The evidence command: what it plans, what it keeps, and the section it writes from its records.

Paired comparison of two explainers, from values whose answer is known.

The evidence command: its plan, and the section it writes from its records.

Records of runs as Markdown.

The evidence command: its plan and the table it makes of its records.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.comparison.arms import ARMS, CORE
from hf_adner.comparison.record import RunRecord
from scripts.explainer_comparison import BETTER, NOT_WORSE, UNDECIDED, WORSE, compare_explainers, comparison_markdown
from scripts.results_table import replace_section, results_markdown

DOCUMENTS = [0, 0, 1, 2]


def keep(script, name: str, level: float, model: str = "abc", **setup) -> None:
    values = {"discriminative_stability": [level] * 4, "soft_comprehensiveness_gain": [level, level, 0.5, None]}
    estimates = {measure: {"mean": level, "low": level - 0.1, "high": level + 0.1, "entities": 4} for measure in values}
    scores = ExplainerScores(name, 4, estimates, values, {"stability": {"coverage": 0.9}})
    record = {"setup": {"model": model, **setup}, "scores": scores.to_dict()}
    script.write_json(script.record_of("ad-synthetic", name), record)


def keep_audit(script) -> None:
    population = {"documents": 3, "gold": 6, "found": 5, "coverage": 5 / 6, "entities": 4, "document": DOCUMENTS}
    shared = {"population": population, "model": {}, "settings": {"families": ["p5"], "views": 2, "level": 0.95}}
    setup = {"model": "abc", "architecture": "m-dscmg"}
    script.write_json(script.RECORDS / "ad-synthetic" / script.AUDIT_FILE, {"setup": setup, **shared})


def test_the_section_is_made_from_records_of_one_model(script):
    keep_audit(script)
    keep(script, "grad-x-input", 0.3)
    keep(script, "fused-equal", 0.4, table_documents=70)
    keep(script, "occlusion", 0.9, model="another")
    script.write_tables()
    page = Path("model_cards/RESULTS.md").read_text(encoding="utf-8")
    assert page.startswith("# Results\n\n## Explanations\n") and page.endswith("## Speed\n\nfast\n")
    assert "m-dscmg, checkpoint abc; tables of 70 training documents." in page
    assert "yesterday" not in page and "### Explanations of ad-synthetic" in page
    assert "| fused-equal | 4 | 0.4000 |" in page and "| fused-equal | + |" in page
    assert "| occlusion |" not in page
    tables = (script.RECORDS / "ad-synthetic" / script.PAGE).read_text(encoding="utf-8")
    assert "| fused-equal - grad-x-input | 0.100 [0.100, 0.100] better |" in tables
    assert (script.RECORDS / "ad-synthetic" / "stability-faithfulness.png").exists()


def test_a_record_holds_for_its_own_settings_only(script):
    setup = {"model": "abc", "settings": {"random_shares": (0.5, 1.0)}}
    assert not script.is_recorded("ad-synthetic", "lime", setup)
    script.write_json(script.record_of("ad-synthetic", "lime"), {"setup": setup, "scores": {}})
    assert script.is_recorded("ad-synthetic", "lime", setup)
    assert not script.is_recorded("ad-synthetic", "lime", {**setup, "model": "abd"})
    assert json.loads(script.record_of("ad-synthetic", "lime").read_text())["setup"]["model"] == "abc"


def test_every_explainer_of_the_section_is_planned(script):
    planned = script.plan(None, has_head=True)
    assert set(planned) == set(script.names())
    assert all(rebuild is not None for name, (_, rebuild) in planned.items() if name.startswith(("fused", "global")))
    assert all(rebuild is None for name, (_, rebuild) in planned.items() if name in script.LOCALS)


def test_only_what_an_explainer_uses_is_among_its_settings(script):
    args = SimpleNamespace(samples=5, table_documents=7)
    assert {name: script.own_setup(name, args) for name in ("lime", "occlusion", "global", "fused-equal")} == {
        "lime": {"samples": 5},
        "occlusion": {},
        "global": {"table_documents": 7},
        "fused-equal": {"table_documents": 7},
    }


def test_what_was_left_out_is_told(script):
    shared = {"setup": {"model": "abc", "architecture": "m-dscmg", "longest": 120}}
    told = script.described(shared, {"lime": {"setup": {"samples": 5}}, "occlusion": {"setup": {}}})
    assert told == ("m-dscmg, checkpoint abc; documents of at most 120 characters; 5 samples for LIME and KernelSHAP")


EXPLAINER_COMPARISON_DOCUMENTS = list(range(40))


def report(**columns) -> ExplanationReport:
    scores = {
        name: ExplainerScores(name, len(values), {measure: {"mean": 0.0}}, {measure: values})
        for name, (measure, values) in columns.items()
    }
    return ExplanationReport(scores, {"document": EXPLAINER_COMPARISON_DOCUMENTS}, {}, {})


def noise(level: float) -> list[float]:
    return [0.5 + level * (-1) ** number for number in EXPLAINER_COMPARISON_DOCUMENTS]


@pytest.mark.parametrize(
    ("shift", "spread", "verdict"),
    [(0.1, 0.01, BETTER), (-0.1, 0.01, WORSE), (-0.001, 0.0, NOT_WORSE), (0.0, 0.4, UNDECIDED)],
)
def test_verdicts(shift, spread, verdict):
    second = [0.5] * len(EXPLAINER_COMPARISON_DOCUMENTS)
    first = [value + shift for value in noise(spread)]
    found = compare_explainers(report(a=("cosine", first), b=("cosine", second)), "a", "b", "cosine")
    assert found.verdict == verdict
    assert found.difference == pytest.approx(shift, abs=1e-9)
    assert found.low <= found.difference <= found.high and found.margin == pytest.approx(0.005)


def test_less_can_be_better_and_so_can_nearness_to_zero():
    half, quarter = [0.5] * len(EXPLAINER_COMPARISON_DOCUMENTS), [0.25] * len(EXPLAINER_COMPARISON_DOCUMENTS)
    of = report(a=("sufficiency", quarter), b=("sufficiency", half))
    assert compare_explainers(of, "a", "b", "sufficiency").difference == pytest.approx(0.25)
    of = report(a=("random_agreement", [-0.5] * 40), b=("random_agreement", quarter))
    assert compare_explainers(of, "a", "b", "random_agreement").difference == pytest.approx(-0.25)


def test_only_common_entities_count():
    second = [0.5] * len(EXPLAINER_COMPARISON_DOCUMENTS)
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


@pytest.fixture
def parsed(script, monkeypatch):
    """Parses a command line."""

    def parse(*options: str):
        monkeypatch.setattr(sys, "argv", ["comparison.py", "--data", "data", *options])
        return script.parse()

    return parse


def record(corpus: str, model: str, arm: str, correct: int, seed: int = 0) -> RunRecord:
    counts = {"clean": [[correct, 3, 3]] * 4, "seen": [], "unseen": []}
    return RunRecord(
        corpus, model, arm, seed, {"digest": corpus}, f"weights {seed}", {"train": 100, "test": 4}, 10, 7.0, 1000,
        counts, {}, dict.fromkeys(("precision", "recall", "f1"), correct / 3), {"ece": 0.1, "aurc": 0.2},
    )  # fmt: skip


def test_every_cell_has_the_core_arms_and_one_has_all(script, parsed):
    plan = list(script.groups(parsed("--seeds", "2")))
    assert len(plan) == 2 * 4 * 4
    for corpus, runs in plan:
        assert len({(run.model, run.seed) for run in runs}) == 1  # arms that are compared run in one process
        everything = (corpus, runs[0].model) == ("cmedqaner", "bert-crf")
        assert [run.arm.name for run in runs] == list(ARMS if everything else CORE)
    assert [runs[0].seed for _, runs in plan] == [0] * 16 + [1] * 16
    assert all(len(runs) == len(CORE) for _, runs in script.groups(parsed("--all_arms", "none")))


def test_the_section_is_made_from_the_records_that_are_there(script, parsed):
    args = parsed("--seeds", "1", "--documents", "100")
    for model, corpus in (("stock", "resume"), ("bert-crf", "resume"), ("stock", "cmeee")):
        for arm, correct in (("plain", 1), ("full", 2), ("r-drop", 1)):
            one = record(corpus, model, arm, correct)
            one.save(args.work / script.RECORDS / f"{corpus}-{model}-{arm}-0.json")
    script.report(args)
    page = Path("model_cards/RESULTS.md").read_text(encoding="utf-8")
    assert "yesterday" not in page and page.endswith("## Speed\n\nfast\n")
    assert "--all_arms cmedqaner/bert-crf" in page
    assert "--seeds 1 --documents 100 --test_documents 300" in page and "data/" not in page
    assert "| plain | +33.33 [+33.33, +33.33] | 3 of 3 | 3 / 0 / 0 |" in page
    assert page.index("#### resume, stock") > page.index("### Comparison of arms")
    assert {path.name for path in script.KEPT.iterdir()} >= {"comparison.json", "forest.png", "seeds.png"}


def test_only_corpora_with_development_documents_are_developed_on(parsed, capsys):
    assert parsed("--development", "--corpora", "resume", "cmedqaner").development
    with pytest.raises(SystemExit):
        parsed("--development", "--corpora", "cmeee")
    assert "only cmedqaner and resume" in capsys.readouterr().err


def results_table_record(architecture: str, seed: int, f1: float) -> dict:
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


def test_seeds_of_an_architecture_are_one_row_in_seed_order():
    records = {
        "news-bert-crf-1": results_table_record("bert-crf", 1, 0.6),
        "news-bert-crf-0": results_table_record("bert-crf", 0, 0.5),
        "news-m-dscmg-0": results_table_record("m-dscmg", 0, 0.75),
    }
    lines = results_markdown(records).splitlines()
    assert lines[0] == "### news" and "1,000 training documents" in lines[2] and "(2 nested)" in lines[2]
    crf = next(line for line in lines if line.startswith("| bert-crf"))
    assert crf.startswith("| bert-crf | 55.00 ± 7.07 |") and crf.endswith("| 2 | 50.00 60.00 | 12 |")
    assert "| m-dscmg | 75.00 | 75.00 | 75.00 | 75.00 | 75.00 | 1 | 75.00 | 12 |" in lines


def test_the_five_folds_have_their_own_section():
    folds = {"m-dscmg": [{"strict": {"precision": 0.5, "recall": 0.5, "f1": 0.5}}]}
    assert "### imcs-5-fold\n\n| architecture |" in results_markdown({"imcs-5-fold": folds})


def test_a_section_is_replaced_and_its_neighbours_stay():
    page = "# Page\n\n## A\n\nold\n\n### deeper\n\n```\n# code\n```\n\n## B\n\nkept\n"
    assert replace_section(page, "## A", "new\n") == "# Page\n\n## A\n\nnew\n\n## B\n\nkept\n"
    assert replace_section(page, "### deeper", "new") == "# Page\n\n## A\n\nold\n\n### deeper\n\nnew\n\n## B\n\nkept\n"
    assert replace_section(page, "## B", "kept") == page


def test_a_new_section_comes_last_and_needs_a_heading():
    assert replace_section("# Page\n", "## C", "text") == "# Page\n\n## C\n\ntext\n"
    with pytest.raises(ValueError, match="not a heading"):
        replace_section("# Page\n", "C", "text")


def pretraining_keep(script, arm: str, f1: dict[int, float]) -> None:
    held_out = {"before": {"perplexity": 900.0}, "after": {"perplexity": 12.5}}
    pretraining = {"held_out": held_out, "train_seconds": 61.0} if script.ARMS[arm] else {}
    for seed, value in f1.items():
        name = f"cmedqaner-{script.slug(arm)}-{seed}.json"
        record = {"arm": arm, "corpus": "cmedqaner", "seed": seed, "strict": {"f1": value}, "pretraining": pretraining}
        script.write_json(script.RECORDS / name, record)


def test_the_section_is_made_anew_from_records_and_differences_are_by_seed(script):
    pretraining_keep(script, "as it is", {0: 0.50, 1: 0.60})
    pretraining_keep(script, "MacBERT", {0: 0.55, 1: 0.67})
    pretraining_keep(script, "random", {0: 0.30})
    script.write_section(script.parse(["--data", "nowhere", "--steps", "500"]))
    page = Path("model_cards/RESULTS.md").read_text(encoding="utf-8")
    assert "yesterday" not in page and page.endswith("## Speed\n\nfast\n")
    assert "--steps 500" in page and "nowhere" not in page and '--arms "as it is" "MacBERT" "random"' in page
    text = " ".join(page.split())
    assert "`MacBERT`: n-grams" in text and "`plain [MASK]`" not in text and "all training documents" in text
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert rows["as it is"] == "| as it is | 55.00 ± 7.07 | - | - | - | - |"
    assert rows["MacBERT"] == "| MacBERT | 61.00 ± 8.49 | +6.00 ± 1.41 | - | - | 900.0, 12.5 |"
    assert rows["random"].startswith("| random | 30.00 | - |") and "from scratch" not in rows


def test_a_run_with_a_record_is_not_run_again(script):
    pretraining_keep(script, "MacBERT", {0: 0.5})
    args = script.parse(["--data", "nowhere"])
    script.train_one("MacBERT", "cmedqaner", 0, args)  # would fail: there is no data
    with pytest.raises(OSError):
        script.train_one("MacBERT", "cmedqaner", 1, args)


def test_ways_of_pretraining_differ_in_masking_only(script):
    args = script.parse(["--data", "data"])
    plain, words, macbert = (
        script.pretraining_arguments(arm, args) for arm in ("plain [MASK]", "whole-word [MASK]", "MacBERT")
    )
    assert (plain.replacement, plain.lexicon, plain.ngram_shares) == ("mask", None, [1.0])
    assert words.replacement == "mask" and macbert.replacement == "similar"
    assert words.lexicon == macbert.lexicon and words.ngram_shares == macbert.ngram_shares
