"""scripts/guided_scale.py: its settings, and the table that it writes from records."""

import json
import sys

import pytest


@pytest.fixture
def scale(load_script, monkeypatch, tmp_path):
    """The script in an empty folder with a results page, and a function that parses a command line."""
    script = load_script("guided_scale")
    monkeypatch.chdir(tmp_path)
    page = script.comparison.PAGE
    page.parent.mkdir(parents=True)
    page.write_text("# Results\n\n## Few visits\n\nyesterday\n\n## Speed\n\nfast\n", encoding="utf-8")

    def parse(*options: str):
        monkeypatch.setattr(sys, "argv", ["guided_scale.py", *options])
        return script.parse()

    return script, parse


def test_every_setting_is_a_comparison_of_its_own(scale):
    script, parse = scale
    args = parse("visits", "--data", "data", "--work", "w")
    settings = list(script.settings_of(script.STUDIES["visits"], args))
    assert len({options.work for _, options in settings}) == len(settings) == 12
    assert {options.documents for _, options in settings} == {100, 300, 1000}
    assert {options.epochs for _, options in settings} == {3, 4, 6, 8} and args.seeds == 3
    for _, options in settings:
        runs = [run for _, group in script.comparison.groups(options) for run in group]
        assert {run.arm.name for run in runs} == {"plain", "full", "random-direction"}
        assert {run.model for run in runs} == {"bert-crf"} and len(runs) == 3 * 2 * 3 and options.lean
    layers = [options for _, options in script.settings_of(script.STUDIES["layers"], parse("layers", "--data", "d"))]
    assert {options.layers for options in layers} == {1, 4, 12} and layers[0].models == ["bert-crf", "m-dscmg"]


def test_the_table_has_the_settings_with_records(scale, make_record):
    script, parse = scale
    args = parse("visits", "--data", "data", "--work", "w", "--seeds", "2")
    study = script.STUDIES["visits"]
    (_, first), (_, second), *_ = script.settings_of(study, args)
    for options, arms in ((first, (("plain", 1), ("full", 2))), (second, (("plain", 2),))):
        for arm, correct in arms:
            for seed in (0, 1):
                run = make_record("resume", "bert-crf", arm, correct, seed)
                run.save(options.work / script.RECORDS / f"resume-bert-crf-{arm}-{seed}.json")
    script.report(study, args)
    page = script.comparison.PAGE.read_text(encoding="utf-8")
    assert "yesterday" not in page and page.endswith("## Speed\n\nfast\n")
    assert "| 100 | 3 | 1 | bert-crf | 1 | 2 | 33.33 | +33.33 [+33.33, +33.33] |  |" in page
    assert page.count("| bert-crf |") == 1 and "guided_scale.py visits --data FOLDER --seeds 2" in page
    figures = json.loads((script.comparison.RESULTS / "visits.json").read_text(encoding="utf-8"))
    assert list(figures) == ["100-documents-3-epochs-1-layers bert-crf"]


@pytest.mark.parametrize("options", [[], ["nothing", "--data", "d"]])
def test_a_study_has_to_be_named(scale, options, capsys):
    with pytest.raises(SystemExit, match="expected a study, visits or layers"):
        scale[1](*options)
    assert "--shard 0/2" in capsys.readouterr().out
