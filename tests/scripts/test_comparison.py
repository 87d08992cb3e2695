"""scripts/comparison.py: its plan, and the section that it writes from records."""

import sys
from argparse import Namespace

import pytest

from hf_adner.comparison.arms import ARMS, CORE


@pytest.fixture
def parsed(script, monkeypatch):
    """Return a function that parses a command line."""

    def parse(*options: str):
        monkeypatch.setattr(sys, "argv", ["comparison.py", "--data", "data", *options])
        return script.parse()

    return parse


def test_every_cell_has_the_core_arms_and_one_cell_has_all(script, parsed):
    plan = list(script.groups(parsed("--seeds", "2")))
    assert len(plan) == 2 * 4 * 4
    for corpus, runs in plan:
        assert len({(run.model, run.seed) for run in runs}) == 1  # arms that are compared run in one process
        everything = (corpus, runs[0].model) in [("cmedqaner", "bert-crf"), ("resume", "m-dscmg")]
        assert [run.arm.name for run in runs] == list(ARMS if everything else CORE)
    assert [runs[0].seed for _, runs in plan] == [0] * 16 + [1] * 16
    assert all(len(runs) == len(CORE) for _, runs in script.groups(parsed("--all_arms")))


def test_the_section_is_written_from_existing_records(script, parsed, make_record):
    args = parsed("--seeds", "1", "--documents", "100")
    for model, corpus in (("stock", "resume"), ("bert-crf", "resume"), ("stock", "cmeee")):
        for arm, correct in (("plain", 1), ("full", 2), ("r-drop", 1)):
            run = make_record(corpus, model, arm, correct)
            run.save(args.work / script.RECORDS / f"{corpus}-{model}-{arm}-0.json")
    script.report(args)
    page = script.PAGE.read_text(encoding="utf-8")
    assert "yesterday" not in page and page.endswith("## Speed\n\nfast\n")
    assert "--all_arms cmedqaner/bert-crf resume/m-dscmg" in page
    assert "--seeds 1 --documents 100 --layers 1" in page and "data/" not in page
    assert "| plain | +33.33 [+33.33, +33.33] | 3 of 3 | 3 / 0 / 0 |" in page
    assert "### Comparison of arms" in page and "resume, stock" not in page  # cells are in a file of their own
    assert "\n## resume, stock\n" in (script.RESULTS / "comparison.md").read_text(encoding="utf-8")
    assert {path.name for path in script.RESULTS.iterdir()} >= {"comparison.json", "forest.png", "seeds.png"}


def test_the_smallest_corpus_and_the_fastest_learner_have_their_own_sizes(script, parsed, monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(
        script, "write_parts", lambda *options: written.append(options) or Namespace(train="a", scored="b")
    )
    args = parsed("--development", "--lean", "--epochs", "16", "--documents", "100", "--work", str(tmp_path))
    for corpus, model, documents, epochs in (
        ("resume", "bert-crf", 100, 16), ("ad-real", "bert-crf", 60, 24), ("ad-real", "m-dscmg", 60, 12),
    ):  # fmt: skip
        found = script.comparison(corpus, model, args)
        assert found.dataset_args.max_train_documents == documents and found.args.sample_per_seed
        assert found.training_args.num_train_epochs == epochs and found.args.held_out == []
    assert [options[0] for options in written] == ["resume", "ad-real", "ad-real"]
    assert all(options[3] for options in written)  # development documents
    assert script.comparison("resume", "stock", parsed()).args.held_out
    assert not written[-1][3]
