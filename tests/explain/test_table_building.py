"""Building global tables from documents and for checkpoints, and finding them again."""

import logging

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner import Document, Entity, make_explainer
from hf_adner.explain import table_building
from hf_adner.explain.fused import local_maps
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import (
    MeasuredMap,
    build_checkpoint_table,
    build_global_table,
    estimate_noise,
    find_global_table,
    sample_documents,
    save_checkpoint_table,
)
from hf_adner.explain.unit_statistics import character_roles

from .inputs import random_table


def documents_of(case, copies=2):
    return [
        Document(f"d{copy}-{number}", text, tuple(Entity(*one) for one in entities), meta={"patient": f"p{copy}"})
        for copy in range(copies)
        for number, (text, entities) in enumerate(zip(case.texts, case.entities))
    ]


@pytest.fixture(scope="module")
def case(build):
    return build("bert-crf")


@pytest.fixture(scope="module")
def local(case):
    return make_explainer("grad-x-input", case.model, case.tokenizer)


def test_the_table_holds_every_map(case, local):
    documents = documents_of(case)
    table = build_global_table(local, documents, progress=False, kappa=2.0)
    expected = GlobalTable(2.0, case.tokenizer.lexicon, explainer="grad-x-input")
    for document in documents:
        for found in local_maps(local([document.text], [document.spans])[0]):
            expected.add(found.text, found.entity, found.values, document=document.id)
    for text, entities in zip(case.texts, case.entities):
        for entity in entities:
            for one, other in zip(table.lookup(text, entity), expected.lookup(text, entity)):
                assert np.allclose(one, other, atol=1e-4)
    assert len(table.publish(2)) == len(table) and table.noise.entities == 14
    assert table.lexicon is case.tokenizer.lexicon and table.target == "label"


def test_target_and_maps_are_the_explainers(case, tmp_path):
    local = make_explainer("grad-x-input", case.model, case.tokenizer, target="end")
    table = build_global_table(local, documents_of(case, 1), progress=False, variance_views=0)
    table.publish(1).save(tmp_path / "table")
    assert table.target == GlobalTable.load(tmp_path / "table").target == "end"
    assert table.explainer == GlobalTable.load(tmp_path / "table").explainer == "grad-x-input"
    with pytest.raises(ValueError, match="a table of grad-x-input's maps cannot be merged into one of occlusion's"):
        GlobalTable(lexicon=table.lexicon, target="end", script_map=table.script_map).merge(table)


def interrupted(explainer, documents, kept, monkeypatch, after):
    """Build a table and stop before group `after` is explained; return the sizes of the groups that were."""
    sizes, measure = [], table_building._Sweep._measure

    def counted(self, documents, with_gold):
        if len(sizes) == after:
            raise KeyboardInterrupt
        sizes.append(len(documents))
        return measure(self, documents, with_gold)

    with monkeypatch.context() as patch:
        patch.setattr(table_building._Sweep, "_measure", counted)
        try:
            build_global_table(explainer, documents, progress=False, kept_in=kept)
        except KeyboardInterrupt:
            assert len(sizes) == after
    return sizes


def test_an_interrupted_build_goes_on(case, local, tmp_path, monkeypatch):
    documents, kept = documents_of(case, 8), tmp_path / "kept"
    assert interrupted(local, documents, kept, monkeypatch, 2) == [16, 16] and len(list(kept.iterdir())) == 2
    other = make_explainer("grad-x-input", case.model, case.tokenizer, target="end")
    assert interrupted(other, documents, kept, monkeypatch, 1) == [16]  # nothing of another target
    assert interrupted(local, documents, kept, monkeypatch, 0) == []
    found = build_global_table(local, documents, progress=False, kept_in=kept)
    expected = build_global_table(local, documents, progress=False)
    assert not kept.exists() and found.noise == expected.noise
    entries = [table.lookup(case.texts[0], case.entities[0][0]) for table in (found, expected)]
    assert all(np.array_equal(one, two) for one, two in zip(*entries))


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: b"",
        lambda kept: b"PK",
        lambda kept: kept[: len(kept) // 2],
        lambda kept: kept.replace(b"places", b"pieces"),
        lambda kept: bytes(len(kept)),
    ],
)
def test_damaged_maps_are_measured_again(change, case, local, tmp_path, monkeypatch):
    documents, kept = documents_of(case, 4), tmp_path / "kept"
    interrupted(local, documents, kept, monkeypatch, 1)
    (file,) = kept.iterdir()
    file.write_bytes(change(file.read_bytes()))
    assert interrupted(local, documents, kept, monkeypatch, 9) == [16, 4] and not kept.exists()


def test_a_sample_of_documents(case):
    documents = [*documents_of(case, 4), Document("empty", "红斑")]
    drawn = table_building.sample_documents(documents, 5, seed=1)
    assert len(drawn) == 5 and all(one.entities for one in drawn)
    assert (
        drawn == table_building.sample_documents(documents, 5, seed=1) != table_building.sample_documents(documents, 5)
    )
    places = [documents.index(one) for one in drawn]
    assert places == sorted(places)
    everything = [one for one in documents if one.entities]
    assert (
        table_building.sample_documents(documents, None) == everything == table_building.sample_documents(documents, 99)
    )
    with pytest.raises(ValueError, match="count must be"):
        sample_documents(documents, 0)


def test_processes_sweep_over_parts(case, local):
    documents = documents_of(case)
    whole = build_global_table(local, iter(documents), progress=False, variance_views=0)
    merged = build_global_table(local, documents[:5], progress=False, variance_views=0)
    merged.merge(build_global_table(local, documents[5:], progress=False, variance_views=0))
    entry, expected = (table.lookup(case.texts[0], case.entities[0][0]) for table in (merged, whole))
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(entry, expected))
    assert whole.noise is None


def test_entities_that_the_model_finds(case, local):
    documents = documents_of(case, 1)
    table = build_global_table(local, documents, progress=False, entities="predicted", variance_views=0)
    found = [one for ones in local([one.text for one in documents]) for one in ones]
    assert found
    for one in found:
        span = one.span
        assert table.lookup(one.text, span).count[one.entity.start] >= 1
    with pytest.raises(ValueError, match="entities must be one of"):
        build_global_table(local, documents, entities="silver")


def test_groups(case, local):
    documents = documents_of(case, 3)
    for key in ("patient", lambda document: document.meta["patient"]):
        table = build_global_table(local, documents, progress=False, group_key=key, variance_views=0)
        assert len(table.publish(3)) == len(table) and len(table.publish(4)) == 0
    with pytest.raises(ValueError, match="document 'd0-0' has no 'ward' in its meta"):
        build_global_table(local, documents, progress=False, group_key="ward")


def test_entities_that_cannot_be_explained_are_reported(stock, caplog):
    local = make_explainer("grad-x-input", stock.model, stock.tokenizer)
    good = documents_of(stock, 1)
    inside = Document("inside", stock.texts[0], (Entity(23, 26, "Disease"), Entity(16, 29, "Disease")))
    with caplog.at_level(logging.WARNING):
        table = build_global_table(local, [*good, inside], progress=False, variance_views=0)
    assert "1 of 7 entities could not be explained" in caplog.text and "inside the token" in caplog.text
    assert table.lookup(stock.texts[0], (16, 29, "Disease")).count[16] == 2
    with pytest.raises(ValueError, match="inside the token"):
        build_global_table(local, [Document("i", stock.texts[0], (Entity(23, 26, "Disease"),))], progress=False)
    with pytest.raises(ValueError, match="does not have the label 'Tumour'"):
        build_global_table(local, [Document("t", stock.texts[0], (Entity(0, 3, "Tumour"),))], progress=False)
    with pytest.raises(ValueError, match="no entity to build a global table from"):
        build_global_table(local, [Document("n", stock.texts[0])], progress=False)


def test_the_noise_is_found_again():
    """Maps made of a known table, known errors of it and known noise."""
    rng = np.random.default_rng(0)
    characters = [chr(0x4E00 + number) for number in range(40)]
    shared = dict(zip(characters, rng.normal(size=40)))
    tau2, noise = np.array([0.1, 0.3, 0.5, 0.3, 0.2]), 0.25
    tables, maps = [GlobalTable(), GlobalTable()], [[], []]
    for number in range(800):
        text = "".join(rng.choice(characters, 12))
        roles = character_roles(12, 4, 8)
        true = np.array([shared[one] for one in text]) + rng.normal(size=12) * np.sqrt(tau2[roles])
        values = true + rng.normal(size=12) * np.sqrt(noise)
        tables[number % 2].add(text, (4, 8, "Disease"), values, document=str(number))
        explanation = _Map(text, (4, 8, "Disease"), values)
        maps[number % 2].append(MeasuredMap(explanation, noise if number % 3 else None))
    found = estimate_noise(zip(tables, maps[::-1]))
    assert found.local_variance == pytest.approx(noise) and found.entities == 800
    assert found.tau2 == pytest.approx(tau2.tolist(), abs=0.12)
    assert estimate_noise([(tables[0], [one._replace(variance=None) for one in maps[1]])]) is None


class _Map:
    def __init__(self, text, entity, values):
        self.text, self.entity, self.values, self.logs = text, entity, values, values
        self.mask = np.ones(len(text), dtype=bool)


def test_a_sweep_takes_no_random_numbers(case, local):
    state = torch.get_rng_state()
    first, second = (build_global_table(local, documents_of(case), progress=False) for _ in range(2))
    assert torch.get_rng_state().equal(state) and first.noise == second.noise


@pytest.fixture
def folder(case, tmp_path):
    case.model.save_pretrained(tmp_path)
    case.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_built_saved_found_and_used(case, folder):
    table = build_checkpoint_table(folder, documents_of(case, 3), min_documents=3, progress=False, group_key="patient")
    raw, public = GlobalTable.load(folder / "private" / "global_table"), GlobalTable.load(folder / "global_table")
    assert raw.min_documents is None and public.min_documents == 3 and raw.noise == table.noise
    assert public.noise == table.noise.rounded(3)
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

    monkeypatch.setattr(table_building, "snapshot_download", download)
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
    with pytest.raises(FileNotFoundError, match="is not a checkpoint folder"):
        build_checkpoint_table(tmp_path / "none", [])


def test_both_forms_say_the_same_of_common_units(case, tmp_path):
    table = random_table(case)
    save_checkpoint_table(tmp_path, table, 1)
    entries = [
        GlobalTable.load(tmp_path / place).lookup(case.texts[0], case.entities[0][0])
        for place in ("global_table", "private/global_table")
    ]
    assert all(np.allclose(one, other) for one, other in zip(*entries))
