"""The table beside a checkpoint."""

import numpy as np
import pytest
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner import make_explainer
from hf_adner.explain import table_building as checkpoint_table
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import build_checkpoint_table, find_global_table, save_checkpoint_table

from .tables import random_table
from .test_table_sweep import documents_of


@pytest.fixture(scope="module")
def case(build):
    return build("bert-crf")


@pytest.fixture
def folder(case, tmp_path):
    case.model.save_pretrained(tmp_path)
    case.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_built_saved_found_and_used(case, folder):
    table = build_checkpoint_table(folder, documents_of(case, 3), min_documents=3, progress=False, group_key="patient")
    raw, public = GlobalTable.load(folder / "private" / "global_table"), GlobalTable.load(folder / "global_table")
    assert raw.min_documents is None and public.min_documents == 3 and raw.noise == public.noise == table.noise
    model = AutoModelForTokenClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert find_global_table(model).min_documents == 3
    (expected,) = make_explainer("fused", model, tokenizer, global_table=public)(case.texts[:1], case.entities[:1])
    for given in (None, folder, str(folder / "global_table")):
        assert make_explainer("fused", model, tokenizer, global_table=given)(case.texts[:1], case.entities[:1]) == [
            expected
        ]
    build_checkpoint_table(folder, documents_of(case, 1), min_documents=1, progress=False)  # in place of the first
    assert find_global_table(model).min_documents == 1


def test_the_raw_table_serves_where_nothing_was_published(case, folder):
    table = random_table(case)
    table.save(folder / "private" / "global_table")
    found = find_global_table(AutoModelForTokenClassification.from_pretrained(folder))
    assert found.min_documents is None and found.noise == table.noise


def test_without_a_table_the_error_says_how_to_build_one(case, folder, tmp_path):
    model = AutoModelForTokenClassification.from_pretrained(folder)
    for name in ("fused", "global"):
        with pytest.raises(ValueError, match=r"has no global_table/. Build one .*build_checkpoint_table"):
            make_explainer(name, model, case.tokenizer)
        with pytest.raises(ValueError, match="the model's checkpoint has no global_table/"):
            make_explainer(name, case.model, case.tokenizer)
        with pytest.raises(FileNotFoundError, match="holds no global table"):
            make_explainer(name, model, case.tokenizer, global_table=tmp_path)
        with pytest.raises(TypeError, match="global_table is int"):
            make_explainer(name, model, case.tokenizer, global_table=3)


def test_a_model_of_the_hub_brings_its_table(case, tmp_path, monkeypatch):
    asked = []

    def download(name, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        if name == "someone/else":
            raise FileNotFoundError("not there")
        return str(tmp_path)

    monkeypatch.setattr(checkpoint_table, "snapshot_download", download)
    random_table(case).publish(2).save(tmp_path / "global_table")
    monkeypatch.setattr(case.model, "name_or_path", "someone/adner")
    monkeypatch.setattr(case.model.config, "_commit_hash", "abc", raising=False)
    assert find_global_table(case.model).min_documents == 2
    assert asked == [("someone/adner", "abc", ["global_table/*"])]
    monkeypatch.setattr(case.model, "name_or_path", "someone/else")
    assert find_global_table(case.model) is None
    monkeypatch.undo()
    monkeypatch.setattr(case.model, "name_or_path", "/not/there/any/more")
    assert find_global_table(case.model) is None


def test_what_is_refused(case, tmp_path):
    public = random_table(case).publish(2)
    with pytest.raises(ValueError, match="takes the raw table"):
        save_checkpoint_table(tmp_path, public)
    with pytest.raises(ValueError, match="min_documents must be"):
        save_checkpoint_table(tmp_path, random_table(case), 0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="is no folder of a checkpoint"):
        build_checkpoint_table(tmp_path / "none", [])


def test_both_forms_say_the_same_of_common_units(case, tmp_path):
    table = random_table(case)
    save_checkpoint_table(tmp_path, table, 1)
    entries = [
        GlobalTable.load(tmp_path / place).lookup(case.texts[0], case.entities[0][0])
        for place in ("global_table", "private/global_table")
    ]
    assert all(np.allclose(one, other) for one, other in zip(*entries))
