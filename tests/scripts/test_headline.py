"""scripts/headline.py: its plan, what it skips and refuses, its tables from made records, and one small run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

from hf_adner.data.formats import write_documents
from hf_adner.training.run import METRICS_FILE

from ..corpora import DISEASES, SYMPTOMS, note

DATA = ["--data", "data", "--pretrained", "owner/encoder"]


@pytest.fixture(scope="module")
def table(load_script):
    return load_script("headline_table")


def scores(f1: float) -> dict:
    figures = {"f1": f1, "precision": f1 + 0.01, "recall": f1 - 0.01}
    return {
        "gold": 20, "flattened_gold": 18, "strict": figures, "strict_flattened": figures,
        "boundaries": {"untyped": {"both": figures}},
    }  # fmt: skip


def made(run, f1: float, recipe=None, epochs: float = 12.0) -> dict:
    """A record as `train_run` writes it."""
    return {
        "run": run._asdict(),
        "encoder_digest": "owner/encoder",
        "model": {"encoder": run.encoder, "encoder_layers": 12},
        "documents": {"train": 1000, "validation": 100, "test": 10},
        "training": {**(recipe or {}), "num_train_epochs": epochs, "seed": run.seed},
        "parameters": 22_000_000,
        "train_seconds": 600.0,
        "validation": scores(f1 + 0.1),
        "test": scores(f1),
    }


def test_the_plan_has_every_row_once_and_seeds_last(script):
    runs = list(script.plan(3))
    names = [run.name for run in runs]
    assert len(set(names)) == len(names)
    of = {
        corpus: [run for run in runs if run.corpus == corpus and not run.without] for corpus in script.corpora(Path())
    }
    assert {run.architecture for run in of["cmedqaner"]} == {
        "bert-softmax", "bert-crf", "bert-bilstm-crf", "bert-att-crf", "m-dscmg", *script.ABLATIONS,
    }  # fmt: skip
    assert sorted(run.name for run in of["cmedqaner"] if run.encoder == script.AS_IT_CAME) == [
        "cmedqaner-bert-crf-as-it-came-0",
        "cmedqaner-m-dscmg-as-it-came-0",
    ]
    assert {run.name for run in of["cmeee"]} == {
        "cmeee-bert-softmax-0", "cmeee-bert-crf-0", "cmeee-m-dscmg-0", "cmeee-m-dscmg-no-graph-0",
        "cmeee-m-dscmg-per-label-0",
    }  # fmt: skip
    for corpus in ("cmedqaner", "ad-real"):
        rows = [run for run in of[corpus] if run.encoder == script.PRETRAINED]
        seeds = {name: sorted(run.seed for run in rows if run.architecture == name) for name in script.COMPARED}
        assert seeds == {"bert-crf": [0, 1, 2], "m-dscmg": [0, 1, 2]}
    assert all(run.seed for run in runs[-8:]) and not any(run.seed for run in runs[:-8])


def test_no_choice_is_made_on_what_is_scored(script):
    corpora = script.corpora(Path("data"))
    cmeee = corpora["cmeee"]
    assert cmeee.documents.test.endswith("CMeEE_dev.json") and cmeee.documents.validation is None
    assert 0 < cmeee.documents.validation_share < 0.1 and cmeee.epochs >= 4
    assert cmeee.documents.max_train_documents is None
    assert corpora["cmedqaner"].documents.validation.endswith("dev.jsonl")
    last = script.training_arguments(script.Run("ad-real", "m-dscmg"), corpora["ad-real"], script.Recipe(), Path("x"))
    assert last.eval_strategy == "no" and not last.load_best_model_at_end and last.early_stopping_patience is None


def test_what_has_a_record_is_skipped_and_what_lacks_an_encoder_waits(script, capsys):
    args = script.parse(DATA)
    everything = script.to_do({}, args)
    assert everything[-1] == script.FOLDS and len(everything) == len(list(script.plan(3))) + 1
    assert script.to_do({everything[0]: {}}, args) == everything[1:]
    assert script.to_do({}, script.parse([*DATA, "--only", "cmeee-*"])) == [
        name for name in everything if name.startswith("cmeee-")
    ]
    alone = script.parse(DATA[:2])
    assert len(script.to_do({}, alone)) == 2 and all("as-it-came" in name for name in script.to_do({}, alone))
    assert script.missing({}, alone) == everything
    script.main([*DATA, "--plan", "--seeds", "1", "--only", "imcs-*"])
    assert capsys.readouterr().out.split() == ["imcs-bert-crf-0", "imcs-m-dscmg-0", script.FOLDS]


def test_an_ingredient_left_out_changes_that_alone(script):
    corpus, recipe = script.corpora(Path())["cmedqaner"], script.Recipe()
    whole = script.training_arguments(script.Run("cmedqaner", "m-dscmg"), corpus, recipe, Path("x"))
    for name in script.INGREDIENTS:
        run = script.Run("cmedqaner", "m-dscmg", without=name)
        reduced = script.training_arguments(run, corpus, recipe, Path("x"))
        changed = [one for one in vars(recipe) if getattr(whole, one) != getattr(reduced, one)]
        assert changed == ([] if name == "lexicon" else [name])
        assert (script.model_arguments(run, script.parse(DATA)).lexicon is None) == (name == "lexicon")


def test_records_of_another_recipe_or_encoder_are_not_mixed(script):
    run = script.Run("cmedqaner", "bert-crf")
    args = script.parse(DATA)
    record = made(run, 0.8, vars(script.Recipe()))
    script.check_records({run.name: record}, args)
    with pytest.raises(ValueError, match=r"cmedqaner-bert-crf-0.json was made with other settings \(ema_decay\)"):
        script.check_records({run.name: record}, script.parse([*DATA, "--ema-decay", "none"]))
    with pytest.raises(ValueError, match=r"other settings \(encoder\)"):
        script.check_records({run.name: {**record, "encoder_digest": "other"}}, args)


def test_the_table_has_seeds_published_figures_with_source_and_ingredients(script, table):
    runs = [script.Run("cmedqaner", "bert-crf", seed) for seed in (1, 0)]
    records = {run.name: made(run, 0.6 + 0.1 * run.seed) for run in runs}
    whole, reduced = (script.Run("cmedqaner", "m-dscmg", without=name) for name in ("", "ema_decay"))
    nested = script.Run("cmeee", "m-dscmg", tagging="per-label")
    records |= {one.name: made(one, f1) for one, f1 in ((whole, 0.75), (reduced, 0.72), (nested, 0.5))}
    lines = table.headline_markdown(records).splitlines()
    crf = next(line for line in lines if line.startswith("| bert-crf"))
    assert crf.startswith("| bert-crf | pretrained | 12 | 22.0 M | 65.00 ± 7.07 | 66.00 ± 7.07 |")
    assert crf.endswith("| 2 | 60.00 70.00 | 10 |")
    assert any(line.startswith("| m-dscmg, per-label | pretrained |") for line in lines)
    published = [line for line in lines if line.startswith(("| BERT-base", "| MC-BERT", "| M-DSCMG"))]
    assert len(published) == 4 and all(re_source in "".join(published) for re_source in ("2008.10813", "CBLUE", "Luo"))
    assert "| m-dscmg | ema_decay | 82.00 | 85.00 | +3.00 | 0 |" in lines
    assert not any(line.startswith("| m-dscmg | pretrained | 12 | 22.0 M | 73.50") for line in lines)


def test_every_published_figure_names_its_source(table):
    assert all(row.source and row.scored_on and 0 < row.f1 < 100 for row in table.PUBLISHED)
    assert table.headline_markdown({}).startswith("No run has a record yet")


def test_the_folds_have_a_section(table):
    fold = {"strict": {"precision": 0.5, "recall": 0.5, "f1": 0.5}}
    text = table.headline_markdown({table.FOLDS: {"layers": 4, "folds": {"m-dscmg": [fold, fold]}}})
    assert f"### {table.FOLDS}" in text and "first 4 layers" in text and "| m-dscmg | 2 | 50.00 ± 0.00 |" in text


@pytest.mark.slow
def test_a_run_is_trained_recorded_and_then_skipped(script, tmp_path, monkeypatch):
    data, encoder = tmp_path / "data", tmp_path / "encoder"
    for split, numbers in (("train", range(24)), ("dev", range(500, 508)), ("test", range(900, 906))):
        write_documents(map(note, numbers), data / f"cmedqaner/{split}.jsonl")
    (data / "lexicon").mkdir()
    (data / "lexicon/medical_words.tsv").write_text("".join(f"{word}\t5\n" for word in DISEASES + SYMPTOMS))
    characters = sorted({character for number in range(40) for character in note(number).text})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", *characters]
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(encoder)
    (encoder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    monkeypatch.setattr(script, "corpora", lambda data, known=script.corpora: {
        name: replace_epochs(corpus, 1) for name, corpus in known(data).items()
    })  # fmt: skip
    options = ["--data", str(data), "--pretrained", str(encoder), "--work", str(tmp_path / "work"), "--seeds", "1"]
    options += ["--only", "cmedqaner-bert-crf-0"]
    script.main(options)
    record = json.loads((script.RECORDS / "cmedqaner-bert-crf-0.json").read_text(encoding="utf-8"))
    assert record["model"]["encoder_layers"] == 2 and record["training"]["encoder_layer_decay"] == 0.9
    assert str(tmp_path) not in json.dumps(record)
    page = script.PAGE.read_text(encoding="utf-8")
    assert (
        "| bert-crf | pretrained | 2 |" in page and "Not run yet: cmedqaner-m-dscmg-0, " in page and "## Speed" in page
    )
    before = (tmp_path / "work/cmedqaner-bert-crf-0" / METRICS_FILE).stat().st_mtime_ns
    script.main(options)
    assert (tmp_path / "work/cmedqaner-bert-crf-0" / METRICS_FILE).stat().st_mtime_ns == before


def replace_epochs(corpus, epochs: int):
    return corpus._replace(epochs=epochs, documents=replace(corpus.documents))
