"""Whole cards: their pattern, what they must never show, and that their code runs.

Tables of the audits' reports, and that they ask for what the audits write.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.audit.calibration import CalibrationReport, calibration_of_spans
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.measures import GROUPS as MEASURED_GROUPS
from hf_adner.audit.robustness import RobustnessReport
from hf_adner.cards.card import NEUTRAL_TEXT, PLACEHOLDER_ID, model_card, write_card
from hf_adner.cards.examples import Example
from hf_adner.cards.record import CardOptions, CardRecord, record_of_run
from hf_adner.cards.tables import (
    CALIBRATION,
    GROUPS,
    calibration_rows,
    explanation_tables,
    risk_rows,
    robustness_tables,
    sample_line,
)
from hf_adner.reporting import code_points

from .reports import OPTIONS, evaluation, explanations, metrics, robustness

REPOSITORY = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).with_name("expected_card.md")
SECTIONS = [
    "Labels", "How to use", "Examples", "Scores", "Calibration", "Explanations",
    "Robustness", "Training data", "Training", "Intended use and limits", "Versions", "Citation",
]  # fmt: skip
PATH = re.compile(r"(?<![\w/:.<])(/|~/|[A-Za-z]:\\)[A-Za-z0-9_.-]+[/\\\w]")
MEASURED = ("Scores", "Calibration", "Explanations", "Robustness")


def full_record(**others) -> CardRecord:
    reports = {"explanations": explanations(), "robustness": robustness()}
    return record_of_run(metrics(), OPTIONS, **{**reports, **others})


def bare_record(**others) -> CardRecord:
    return record_of_run({"labels": ["Disease"], "model": {"architecture": "bert-crf"}}, **others)


def sections(card: ModelCard) -> dict[str, str]:
    """Heading -> what stands under it, code blocks left out of the search for headings."""
    parts = re.split(r"^#{2,3} (.+)\n", card.text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2])))


def code_blocks(card: ModelCard) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", card.text, flags=re.MULTILINE | re.DOTALL)


def check_pattern(card: ModelCard) -> None:
    """What every card must keep to."""
    found = sections(card)
    assert list(found) == SECTIONS
    assert all(found.values()), "an empty section"
    assert len(re.findall(r"^# \S", re.sub(r"```.*?```", "", card.text, flags=re.DOTALL), re.MULTILINE)) == 1
    assert not PATH.search(card.text) and not re.search(r"\{\{|\{%|None|nan\b|Undefined", card.text)
    assert not re.search(r"\n{3}", card.text) and card.text.endswith("\n")
    for table in re.findall(r"(?:^\|.*\|$\n?)+", card.text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    check_metadata(card)


def check_metadata(card: ModelCard) -> None:
    head = yaml.safe_load(str(card).split("\n---\n")[0].removeprefix("---\n"))
    assert head["language"] == "zh" and head["pipeline_tag"] == "token-classification"
    assert {"hf_adner", "medical"} <= set(head["tags"]) and head["library_name"] == "transformers"
    if "model-index" in head:
        name, results = model_index_to_eval_results(head["model-index"])
        assert eval_results_to_model_index(name, results) == head["model-index"]
        assert all(0 <= result.metric_value <= 1 for result in results)
    assert str(ModelCard(str(card))) == str(card)


def test_card_of_a_fixed_record_is_the_stored_one(tmp_path):
    path = write_card(full_record(), tmp_path)
    assert path == tmp_path / "README.md"
    assert path.read_text(encoding="utf-8") == EXPECTED.read_text(encoding="utf-8")


@pytest.mark.parametrize("record", [full_record(), bare_record()], ids=["full", "bare"])
def test_every_card_keeps_the_pattern(record, tmp_path):
    card = model_card(record)
    check_pattern(card)
    card.save(tmp_path / "README.md")
    assert str(ModelCard.load(tmp_path / "README.md")) == str(card)


def test_what_was_not_measured_is_said_to_be_so():
    bare, full = sections(model_card(bare_record())), sections(model_card(full_record()))
    for name in MEASURED:
        assert bare[name].startswith("Not measured.") and not re.search(r"\d\.\d", bare[name])
        assert "Not measured" not in full[name]
    assert "statistics were not measured" in bare["Training data"]
    for line in ("| time | not measured |", "| energy | not measured |", "| carbon | not measured |"):
        assert line in bare["Training"]
    assert "model-index" not in str(model_card(bare_record()))


def test_energy_only_when_given():
    record = record_of_run(metrics(), CardOptions(energy_kwh=1.25, co2_grams=0.5))
    card = model_card(record)
    assert "| energy | 1.25 kWh |" in card.text and card.data.co2_eq_emissions["emissions"] == 0.5
    assert "co2_eq_emissions" not in model_card(full_record()).data.to_dict()


def test_scores_of_labels_are_in_the_model_index():
    results = {result.metric_name: result for result in model_card(full_record()).data.eval_results}
    assert set(results) == {
        "Precision (strict)", "Recall (strict)", "F1 (strict)", "F1 Disease (strict)", "F1 Symptom (strict)",
        "F1 of boundaries, label ignored",
    }  # fmt: skip
    assert results["F1 Disease (strict)"].metric_value == pytest.approx(8 / 11, abs=5e-5)
    assert {result.dataset_split for result in results.values()} == {"test"}


def test_without_a_test_split_the_validation_scores_are_told_as_such():
    card = model_card(record_of_run({**metrics(), "test": None}, OPTIONS))
    assert "no test split" in sections(card)["Scores"]
    assert {result.dataset_split for result in card.data.eval_results} == {"validation"}


def test_labels_without_gold_have_no_result():
    report = evaluation(("Disease", "Drug"))
    report["strict"]["per_label"]["Drug"].update(support=0, recall=0.0, f1=0.0)
    names = {result.metric_name for result in model_card(record_of_run(metrics(test=report))).data.eval_results}
    assert "F1 Disease (strict)" in names and "F1 Drug (strict)" not in names


def test_base_model_and_licence_reach_the_head():
    head = model_card(full_record()).data
    assert head.base_model == "hfl/chinese-macbert-base" and head.license == "apache-2.0"
    local = model_card(record_of_run(metrics(base_model=None, model={"architecture": "bert-crf", "encoder": "/a/enc"})))
    assert local.data.base_model is None and "| encoder | pretrained, a local folder |" in local.text
    named = model_card(record_of_run(metrics(), CardOptions(dataset_ids=["me/derma"], base_model="a/b"))).data
    assert (
        named.datasets == ["me/derma"]
        and named.base_model == "a/b"
        and named.eval_results[0].dataset_type == "me/derma"
    )


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
AWKWARD = [
    "a|b",
    "*x*",
    "# y",
    "---",
    "{{ 1 }}",
    "{% if %}",
    "- z",
    "<b>",
    "'\"",
    "皮炎: 湿疹",
    "`c`",
    "1. d",
    "\\",
    "yes",
    "\n---\n",
    "~e~",
    "a\u202eb\u2066\u200b\x9b",
]


@settings(max_examples=10, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(
        st.sampled_from(AWKWARD) | NAMES.filter(str.strip),
        min_size=1,
        max_size=4,
        unique_by=lambda label: tuple(label.split()),
    ),
    NAMES,
)
def test_odd_names_stay_names(labels, name):
    check_odd_names(labels, name)


def test_awkward_names_stay_names():
    for name in [*AWKWARD[:2], AWKWARD[-1]]:
        check_odd_names(AWKWARD, name + AWKWARD[-3])


def check_odd_names(labels: list[str], name: str) -> None:
    options = CardOptions(model_title=f"x{name}", dataset_title=f"x{name}", model_license="other")
    examples = [{"text": f"x{name}", "entities": [{"word": name, "entity_group": labels[0], "score": 0.5}]}]
    card = model_card(record_of_run(metrics(labels, examples=examples), options, model_id=f"me/{name}"))
    assert list(sections(card)) == SECTIONS
    check_metadata(card)
    told = code_points(" ".join(f"x{name}".split()))
    assert card.data.model_name == told and card.data.widget[0]["text"] == told
    assert len(card.data.eval_results) == 4 + len(labels)
    assert not re.search("[\u200b\u202e\u2066\x9b]", str(card))
    for block in code_blocks(card):
        values: dict = {}
        exec("\n".join(line for line in block.splitlines() if line.startswith("MODEL")), values)
        assert values["MODEL"] == f"me/{name}"
        compile(block, "card", "exec")


def test_no_report_can_bring_text_into_a_card():
    secret = "王某面部红斑三年"
    report = {
        "documents": {secret: 0.5},
        "notes": [secret],
        "worst": secret,
        "explainers": {secret: {"a": 0.5}, "lime": {secret: 1}},
    }
    card = model_card(record_of_run(metrics(statistics=None), explanations=report, robustness=report))
    assert secret not in str(card)


def test_revision_is_pinned_beside_trust_in_code():
    pinned = model_card(full_record(model_id="me/derma", revision="0123abc"))
    for block in code_blocks(pinned):
        assert 'MODEL = "me/derma"' in block and 'REVISION = "0123abc"\n' in block and "revision=REVISION" in block
    assert sum("trust_remote_code=True" in block for block in code_blocks(pinned)) == 2
    assert ["stride=" in block for block in code_blocks(pinned)] == [False, False, True]
    open_card = model_card(full_record())
    assert all(f'"{PLACEHOLDER_ID}"' in block and "put the hash" in block for block in code_blocks(open_card))


def test_a_foreign_model_is_shown_with_the_stock_pipeline_only():
    card = model_card(record_of_run(metrics(model={"architecture": "BertForTokenClassification"})))
    check_pattern(card)
    assert len(code_blocks(card)) == 1 and "stride=" in code_blocks(card)[0] and "adner-ner" not in card.text


def test_template_of_ones_own(tmp_path):
    (tmp_path / "own.md").write_text(
        "---\n{{ metadata }}\n---\n{{ record.title | escape_markdown }}\n", encoding="utf-8"
    )
    assert model_card(full_record(), tmp_path / "own.md").text == "Derma tagger\n"


def test_template_of_the_repository_is_the_packaged_one():
    packaged = REPOSITORY / "hf_adner" / "cards" / "template.md"
    assert (REPOSITORY / "model_cards" / "template.md").read_text("utf-8") == packaged.read_text("utf-8")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("derma")
    tokenizer = AdnerTokenizer.from_texts(["面部红斑伴瘙痒。"])
    AdnerForTokenClassification.from_scratch(tokenizer, ["Disease"], "bilstm-crf").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def card_of(checkpoint: Path) -> ModelCard:
    return model_card(bare_record(model_id=str(checkpoint), examples=[Example("面部红斑伴瘙痒。")]))


def test_code_with_the_package_runs(checkpoint):
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code_blocks(card_of(checkpoint))[0], "card", "exec"), {})


@pytest.mark.slow
def test_code_without_the_package_runs(checkpoint, tmp_path):
    blocks = code_blocks(card_of(checkpoint))[1:]
    (tmp_path / "card.py").write_text(
        "\n".join(blocks) + "\nimport sys\nassert 'hf_adner' not in sys.modules\n", "utf-8"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, tmp_path / "card.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("[") == 2


def test_without_examples_the_code_holds_a_neutral_text():
    card = model_card(bare_record())
    assert (
        all(NEUTRAL_TEXT in block for block in code_blocks(card)) and "No text was given." in sections(card)["Examples"]
    )


ESTIMATE = {"mean": 0.5, "low": 0.25, "high": 0.75, "entities": 3}


@pytest.fixture
def report() -> ExplanationReport:
    scores = ExplainerScores("occlusion", 3, {"cosine": ESTIMATE, "agreement": ESTIMATE}, {"cosine": [0.5]})
    population = {"documents": 2, "gold": 9, "found": 4, "coverage": 4 / 9, "entities": 3, "document": [0, 0, 1]}
    model = {"boundary_sensitivity": {"start": 0.9, "ratio": 2.0, "outer": float("nan")}}
    return ExplanationReport({"occlusion": scores}, population, model, {"views": 2})


@pytest.mark.parametrize("full", [False, True])
def test_reports_that_call_average_precision_auprc_still_render(full):
    former = {"auprc": ESTIMATE, "context_auprc_lift": ESTIMATE}
    scores = {"name": "occlusion", "entities": 3, "estimates": former, "values": {"auprc": [0.5]}}
    tables = explanation_tables({"explainers": {"occlusion": scores if full else {"entities": 3, **former}}})
    today = {"average_precision": ESTIMATE, "context_average_precision_lift": ESTIMATE}
    assert tables == explanation_tables({"explainers": {"occlusion": {"entities": 3, **today}}})
    assert "average precision" in tables and "auprc" not in tables.lower()
    read = ExplainerScores.from_dict(scores)
    assert read.estimates == today and read.values == {"average_precision": [0.5]}


@pytest.mark.parametrize("full", [False, True])
def test_explanations_in_both_forms(report, full):
    tables = explanation_tables(report.to_dict(full=full))
    assert (
        "| cosine ↑ | 0.500 (0.250–0.750) |" in tables and "**boundary**" in tables and "**faithfulness**" not in tables
    )
    assert "| first character of the entity (its start) | 0.9000 |" in tables and "neighbour" not in tables
    assert sample_line(report.to_dict()) == "3 of the 4 gold entities that the model finds (9 in 2 documents)"


def test_every_group_of_measures_is_explained():
    assert set(GROUPS) == set(MEASURED_GROUPS)


def test_robustness():
    families = {"confusions": {"f1": 0.5, "clean_f1": 0.8, "degradation": 0.375, "coverage": 1.0, "kind": "P"}}
    found = RobustnessReport(4, 0.8, families, 0.375, "confusions", 0.375, 0.5)
    assert "| confusions | 0.5000 | 0.8000 | 0.3750 | 1.0000 |" in robustness_tables(found.to_dict())
    assert "recall" not in robustness_tables(found.to_dict()) and "raining" not in robustness_tables(found.to_dict())


def test_calibration():
    assert set(CALIBRATION) <= {field.name for field in fields(CalibrationReport)}
    found = calibration_of_spans([[(0, 2, "a", 0.9)], [(1, 2, "a", 0.6)]], [[(0, 2, "a")], []], resamples=20).to_dict()
    rows = dict(calibration_rows(found))
    assert rows["predicted entities"] == "2" and rows["share of predicted entities that are right"] == "0.5000"
    assert dict(risk_rows(found))["100%"] == "50.0 %"


def test_a_calibrated_checkpoint():
    measured = {
        "entities": 40, "right": 30, "ece": [0.1, 0.05], "brier": [0.2, 0.15], "log_loss": [0.5, 0.4],
        "ece_by_chance": 0.06,
    }  # fmt: skip
    report = {
        "documents": 12, "entities": 40, "gold": 44, "methods": {"score": "Platt"}, "measured": {"score": measured},
        "labels": {"a|b": measured}, "own_maps": [], "review": None, "candidates": None,
    }  # fmt: skip
    card = str(model_card(full_record(calibrated=report)))
    assert "| score | 40 | 0.1000 | 0.0500 | 0.0600 | 0.2000 | 0.1500 | 0.5000 | 0.4000 |" in card
    assert "| a\\|b | 40 |" in card and "An entity's `posterior` is the exact" in card
    assert "Scores were calibrated" not in str(model_card(full_record()))
    unchanged = str(model_card(full_record(calibrated={**report, "methods": {"score": "unchanged"}})))
    assert "the posteriors could stay as they are" in unchanged and "An entity's score is the exact" in unchanged


def test_nothing_measured_gives_nothing():
    assert explanation_tables(None) == robustness_tables(None) == "" and calibration_rows(None) == []
    assert sample_line(None) is None and list(risk_rows(None)) == []


def test_the_card_shows_every_seed_and_other_documents():
    seeds = [{"seed": seed, "precision": 0.5, "recall": 0.25, "f1": seed / 100} for seed in (43, 42)]
    elsewhere = {"lines | of others": {**evaluation(), "interval": {"low": 0.6, "high": 0.8, "value": 0.7}}}
    text = str(model_card(full_record(seeds=seeds, elsewhere=elsewhere)))
    rows = ["| 42 | 0.5000 | 0.2500 | 0.4200 |", "| 43 | 0.5000 | 0.2500 | 0.4300 |"]
    assert "\n".join(rows) in text and "This is seed 42, which was fixed before." in text
    assert "One training run" not in text
    row = next(line for line in text.splitlines() if "of others" in line)
    assert row.endswith(" | 0.6000 to 0.8000 |") and row.count(" | ") == 6
    one = str(model_card(full_record(seeds=seeds[:1])))
    assert "One training run (seed 42)" in one and "On other documents" not in one
