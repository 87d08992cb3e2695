"""scripts/explanations.py: its plan, its records, and the section that it writes from them."""

import json
from types import SimpleNamespace

from hf_adner.audit.explanation_report import ExplainerScores

DOCUMENTS = [0, 0, 1, 2]


def write_record(script, name: str, level: float, model: str = "abc", **setup) -> None:
    values = {"discriminative_faithfulness": [level] * 4, "agreement_over_others": [level, level, 0.5, None]}
    estimates = {measure: {"mean": level, "low": level - 0.1, "high": level + 0.1, "entities": 4} for measure in values}
    details = {"stability": {"coverage": 0.9, "discriminative_stability": 1 - level}}
    scores = ExplainerScores(name, 4, estimates, values, details)
    record = {"setup": {"model": model, **setup}, "scores": scores.to_dict()}
    script.write_json(script.record_path("ad-synthetic", name), record)


def write_audit(script) -> None:
    population = {"documents": 3, "gold": 6, "found": 5, "coverage": 5 / 6, "entities": 4, "document": DOCUMENTS}
    shared = {
        "population": population,
        "model": {},
        "settings": {"families": ["punctuation"], "views": 2, "level": 0.95},
    }
    setup = {"model": "abc", "architecture": "m-dscmg"}
    script.write_json(script.RECORDS / "ad-synthetic" / script.AUDIT_FILE, {"setup": setup, **shared})


def test_the_section_is_written_from_records_of_one_model(script):
    write_audit(script)
    write_record(script, "grad-x-input", 0.3)
    write_record(script, "fused-equal", 0.4, table_documents=70)
    write_record(script, "hash", 0.35)
    write_record(script, "occlusion", 0.9, model="another")
    script.write_tables()
    page = script.PAGE.read_text(encoding="utf-8")
    assert page.startswith("# Results\n\n## Explanations\n") and page.endswith("## Speed\n\nfast\n")
    assert "m-dscmg, checkpoint abc; tables of 70 training documents." in page
    assert "yesterday" not in page and "### Explanations of ad-synthetic" in page
    assert "| fused-equal | 4 | 0.4000 |" in page and "| fused-equal | + = |" in page
    assert "decide nothing by themselves: none." in page
    assert "| grad-x-input | 0.7000 |\n| hash | 0.6500 |\n| fused-equal | 0.6000 |" in page
    assert "| occlusion |" not in page
    tables = (script.RECORDS / "ad-synthetic" / script.TABLES_FILE).read_text(encoding="utf-8")
    assert "| fused-equal - grad-x-input | 0.100 [0.100, 0.100] better |" in tables
    assert (script.RECORDS / "ad-synthetic" / "faithfulness-boundaries.png").exists()


def test_a_record_is_valid_for_its_own_settings_only(script):
    setup = {"model": "abc", "settings": {"random_shares": (0.5, 1.0)}}
    assert not script.is_recorded("ad-synthetic", "lime", setup)
    script.write_json(script.record_path("ad-synthetic", "lime"), {"setup": setup, "scores": {}})
    assert script.is_recorded("ad-synthetic", "lime", setup)
    assert not script.is_recorded("ad-synthetic", "lime", {**setup, "model": "abd"})
    assert json.loads(script.record_path("ad-synthetic", "lime").read_text())["setup"]["model"] == "abc"


def test_every_explainer_of_the_section_is_planned(script):
    planned = script.plan(None)
    assert set(planned) == set(script.names())
    assert all(rebuild is not None for name, (_, rebuild) in planned.items() if name.startswith(("fused", "global")))
    assert all(rebuild is None for name, (_, rebuild) in planned.items() if name in script.LOCALS)


def test_settings_contain_only_what_an_explainer_uses(script):
    args = SimpleNamespace(samples=5, table_documents=7)
    assert {name: script.explainer_options(name, args) for name in ("lime", "occlusion", "global", "fused-equal")} == {
        "lime": {"samples": 5},
        "occlusion": {},
        "global": {"table_documents": 7},
        "fused-equal": {"table_documents": 7},
    }


def test_limits_are_described(script):
    shared = {"setup": {"model": "abc", "architecture": "m-dscmg", "longest": 120}}
    description = script.describe(shared, {"lime": {"setup": {"samples": 5}}, "occlusion": {"setup": {}}})
    assert description == (
        "m-dscmg, checkpoint abc; documents of at most 120 characters; 5 samples for LIME and KernelSHAP"
    )
