"""Report of a comparison: exact Markdown, figures and plots."""

import json
from dataclasses import replace

import pytest

from hf_adner.comparison.arms import CONTROL_ARMS
from hf_adner.comparison.comparison import write_report
from hf_adner.comparison.record import UNSEEN
from hf_adner.comparison.rendering import plot_seeds, report_markdown
from hf_adner.comparison.report import UNSEEN_RECALL, ComparisonReport

from .records import record

HEAD = (
    "4 runs (cpu); corpora: notes; models: bert-crf; seeds: 0, 1. F1 is strict entity micro F1 in percent, "
    "differences are in points. Arms of a cell share seeds, initial weights and the order of documents. Brackets: "
    "95 % intervals of a paired bootstrap (50 resamples of seeds, then documents); p: two-sided, of the same "
    "resamples; Holm: p corrected over all cells of the same two arms. Win, tie, loss: interval above, around, below "
    "zero; better, worse: corrected p of at most 0.05. ECE and AURC are in percent, lower is better. Time and memory: "
    "median ratio of training seconds and peak memory."
)
MARKDOWN = f"""# Comparison of arms

{HEAD}

## full against the others

| full against | mean difference | ahead in | win / tie / loss | better / worse | time | memory |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| plain | +0.00 [+0.00, +0.00] | 0 of 1 | 0 / 1 / 0 | 0 / 0 | 1.50x | 1.20x |

Claim rule: full has to be above plain, random-direction, other-window, global-direction, shuffled, fgm, \
free-adversarial, r-drop, augmentation-only on average. It is not above plain. Not run: random-direction, \
other-window, global-direction, shuffled, fgm, free-adversarial, r-drop, augmentation-only.

## Models

| model | corpora | win / tie / loss | full - plain |
| --- | ---: | ---: | ---: |
| bert-crf | 1 | 0 / 1 / 0 | +0.00 |

## Arms

| arm | cells | F1 | - plain | boundary F1 | F1, confusions | unseen recall | ECE | AURC | time | memory |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| plain | 1 | 60.00 | – | 60.00 | 25.00 | 33.33 | 10.00 | 30.00 | 1.00x | 1.00x |
| full | 1 | 60.00 | +0.00 [+0.00, +0.00] | 60.00 (+0.00 [+0.00, +0.00]) | 25.00 (+0.00 [+0.00, +0.00]) | \
33.33 (+0.00 [+0.00, +0.00]) | 5.00 (-5.00 [-5.00, -5.00]) | 30.00 (+0.00 [+0.00, +0.00]) | 1.50x | 1.20x |

## notes, bert-crf

1,000 training and 4 test documents.

| arm | F1 | per seed | - plain | p | Holm | time | memory |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| plain | 60.00 ± 0.00 | 60.00 60.00 | – | – | – | 1.00x | 1.00x |
| full | 60.00 ± 0.00 | 60.00 60.00 | +0.00 [+0.00, +0.00] | 1.0000 | 1.0000 | 1.50x | 1.20x |
"""


def two_arms():
    calibrated = {"ece": 0.05, "brier": 0.2, "aurc": 0.3}
    slower = {"train_seconds": 15.0, "peak_memory": 1200, "calibration": calibrated}
    return [
        *(record("plain", seed) for seed in range(2)),
        *(record("full", seed, **slower) for seed in range(2)),
    ]


def test_markdown_is_exact():
    assert report_markdown(ComparisonReport.of(two_arms(), "plain", "full", 50)) == MARKDOWN


def test_seeds_with_training_documents_of_their_own_have_unseen_entities_of_their_own():
    records = [record(arm, 0) for arm in ("plain", "full")]
    for arm, right in (("plain", 0), ("full", 1)):
        of_seed = record(arm, 1)
        unseen = [[0, 0, 0], [right, 2, 2], [0, 0, 0], [0, 0, 0]]
        records.append(replace(of_seed, counts={**of_seed.counts, UNSEEN: unseen}))
    pooled = ComparisonReport.of(records, "plain", "full", 50).between("full", "plain")
    assert pooled.figures[UNSEEN_RECALL].difference == pytest.approx((0 + 1 / 2) / 2)


def test_the_level_of_headings_can_be_set():
    headings = [
        line
        for line in report_markdown(ComparisonReport.of(two_arms(), "plain", "full", 50), 3).splitlines()
        if line.startswith("#")
    ]
    assert headings[0] == "### Comparison of arms" and headings[-1] == "#### notes, bert-crf"


def better(**options):
    return [record("full", seed, (2, 3, 1, 4), **options) for seed in range(2)]


def test_the_claim_requires_every_control():
    controls = [record(arm, seed) for arm in CONTROL_ARMS[1:] for seed in (0, 1)]
    plain = two_arms()[:2]
    met = report_markdown(ComparisonReport.of([*plain, *better(), *controls], "plain", "full", 50))
    assert f"It is above plain, {', '.join(CONTROL_ARMS[1:])}. Not run: random-direction." in met
    strong = [record("random-direction", seed, (2, 3, 1, 4)) for seed in (0, 1)]
    lost = report_markdown(ComparisonReport.of([*plain, *better(), *controls, *strong], "plain", "full", 50))
    assert "It is not above random-direction." in lost and "Not run" not in lost


def test_every_arm_is_compared_with_the_baseline_and_the_candidate_with_every_arm():
    report = ComparisonReport.of([*two_arms(), record("r-drop")], "plain", "full", 50)
    pairs = [(pooled.first, pooled.second) for pooled in report.pooled]
    assert pairs == [("full", "plain"), ("r-drop", "plain"), ("full", "r-drop")]
    assert report.contrast(("notes", "bert-crf"), "full", "r-drop").seeds == (0,)
    assert report.contrast(("notes", "bert-crf"), "plain", "r-drop") is None


def test_explanations_are_compared_over_common_entities():
    def explained(**values):
        return {"occlusion": {"discriminative_faithfulness": values, "replaced_agreement": {}}}

    runs = [
        record("plain", explanations=explained(a=0.2, b=0.9)),
        record("full", explanations=explained(a=0.5, c=-1.0)),
    ]
    report = ComparisonReport.of(runs, "plain", "full", 50)
    interval = report.between("full", "plain").figures["occlusion discriminative_faithfulness"]
    assert interval.difference == pytest.approx(0.3)
    assert "occlusion replaced_agreement" not in report.between("full", "plain").figures
    text = report_markdown(report)
    assert "| arm | occlusion DF | occlusion BFArep | occlusion stability |" in text
    assert "| full | -0.250 (+0.300) | – | – |" in text


def test_files_contain_the_figures_without_counts(tmp_path):
    report = ComparisonReport.of([*two_arms(), record("r-drop")], "plain", "full", 50)
    write_report(report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "comparison.md", "forest.png", "seeds.png"}
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert [run["f1"] for run in content["runs"]] == [0.6] * 5 and "counts" not in content["runs"][0]
    assert content["pooled"][0]["figures"]["ece"]["difference"] == pytest.approx(-0.05)
    assert content["contrasts"][0]["outcome"] == "tie"
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8") == report_markdown(report)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("forest.png", "seeds.png"))


def test_plots_have_rows_for_the_arms_of_their_cell_only(tmp_path):
    elsewhere = [record(arm, corpus="others") for arm in ("plain", "full")]
    report = ComparisonReport.of([*two_arms(), record("r-drop"), *elsewhere], "plain", "full", 50)
    plot_seeds(report, tmp_path / "seeds.svg")
    picture = (tmp_path / "seeds.svg").read_text(encoding="utf-8")
    assert [picture.count(f"<!-- {arm} -->") for arm in ("plain", "full", "r-drop")] == [2, 2, 1]


def test_a_single_arm_has_a_table_but_no_contrast(tmp_path):
    report = ComparisonReport.of(two_arms()[:2], "plain", "full", 50)
    write_report(report, tmp_path)
    assert "against the others" not in report_markdown(report) and not (tmp_path / "forest.png").exists()


def test_no_records_is_an_error():
    with pytest.raises(ValueError, match="no records"):
        ComparisonReport.of([], "plain", "full")
