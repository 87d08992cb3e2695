"""scripts/comparison.py: its plan, and the section that it writes from records."""

import sys

import pytest

from hf_adner.comparison.arms import ARMS, CORE
from hf_adner.comparison.record import RunRecord


@pytest.fixture
def parsed(script, monkeypatch):
    """Return a function that parses a command line."""

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


def test_every_cell_has_the_core_arms_and_one_cell_has_all(script, parsed):
    plan = list(script.groups(parsed("--seeds", "2")))
    assert len(plan) == 2 * 4 * 4
    for corpus, runs in plan:
        assert len({(run.model, run.seed) for run in runs}) == 1  # arms that are compared run in one process
        everything = (corpus, runs[0].model) == ("cmedqaner", "bert-crf")
        assert [run.arm.name for run in runs] == list(ARMS if everything else CORE)
    assert [runs[0].seed for _, runs in plan] == [0] * 16 + [1] * 16
    assert all(len(runs) == len(CORE) for _, runs in script.groups(parsed("--all_arms", "none")))


def test_the_section_is_written_from_existing_records(script, parsed):
    args = parsed("--seeds", "1", "--documents", "100")
    for model, corpus in (("stock", "resume"), ("bert-crf", "resume"), ("stock", "cmeee")):
        for arm, correct in (("plain", 1), ("full", 2), ("r-drop", 1)):
            run = record(corpus, model, arm, correct)
            run.save(args.work / script.RECORDS / f"{corpus}-{model}-{arm}-0.json")
    script.report(args)
    page = script.PAGE.read_text(encoding="utf-8")
    assert "yesterday" not in page and page.endswith("## Speed\n\nfast\n")
    assert "--all_arms cmedqaner/bert-crf" in page
    assert "--seeds 1 --documents 100 --test_documents 300" in page and "data/" not in page
    assert "| plain | +33.33 [+33.33, +33.33] | 3 of 3 | 3 / 0 / 0 |" in page
    assert page.index("#### resume, stock") > page.index("### Comparison of arms")
    assert {path.name for path in script.RESULTS.iterdir()} >= {"comparison.json", "forest.png", "seeds.png"}


def test_development_needs_development_documents(parsed, capsys):
    assert parsed("--development", "--corpora", "resume", "cmedqaner").development
    with pytest.raises(SystemExit):
        parsed("--development", "--corpora", "cmeee")
    assert "only cmedqaner and resume" in capsys.readouterr().err
