"""Files of the global table, the count of documents per statistic, and the noise record."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hf_adner import Lexicon
from hf_adner.explain import table_files
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_files import NAMES_FILE, TABLE_FILE, DistinctDocuments, TableNoise, has_table, merge_noise


@pytest.fixture
def folder(tmp_path):
    table = GlobalTable(2.0, Lexicon(["红斑"]))
    table.add("红斑伴痒", (0, 2, "Disease"), [1.0, 0.5, -1.0, 0.2], document="d", group="p")
    table.noise = TableNoise(0.2, (0.1, 0.2, 0.3, 0.4, 0.5), 3)
    table.save(tmp_path / "table")
    return tmp_path / "table"


def parts_of(folder):
    numbers = load_file(folder / TABLE_FILE)
    return json.loads(numbers.pop("names").tobytes()), numbers


def change(folder, **values):
    names, numbers = parts_of(folder)
    text = json.dumps({name: value for name, value in {**names, **values}.items() if value != "gone"})
    save_file({**numbers, "names": np.frombuffer(text.encode(), dtype=np.uint8)}, folder / TABLE_FILE)


def as_version_1(folder):
    names, numbers = parts_of(folder)
    (folder / NAMES_FILE).write_text(json.dumps({**names, "version": 1}, ensure_ascii=False), encoding="utf-8")
    save_file(numbers, folder / TABLE_FILE)


def test_everything_comes_back(folder):
    table = GlobalTable.load(str(folder))
    assert table.noise == TableNoise(0.2, (0.1, 0.2, 0.3, 0.4, 0.5), 3)
    assert table.lexicon.words == ("红斑",) and table.kappa == 2.0 and table.min_documents is None
    assert sorted(path.name for path in folder.parent.iterdir()) == ["table"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "x"}, "format 'hf_adner.global_table'"),
        ({"version": 4}, "version 4 is unknown"),
        ({"roles": ["inside"]}, "roles are"),
        ({"kappa": "gone"}, "lacks 'kappa'"),
        ({"kappa": -1}, "kappa must be above 0"),
        ({"labels": []}, "a statistic outside"),
        ({"units": []}, "a statistic outside"),
        ({"documents": []}, "a document outside the 0 that are named"),
        ({"documents": [3]}, "damaged"),
        ({"noise": {"tau2": 3}}, "lacks 'local_variance'"),
    ],
)
def test_damaged_names(folder, values, message):
    change(folder, **values)
    with pytest.raises(ValueError, match=message):
        GlobalTable.load(folder)


@pytest.mark.parametrize("version", [1, 2])
def test_older_tables_are_of_gradient_x_input(folder, version):
    change(folder, version=version, explainer="gone")
    if version == 1:
        as_version_1(folder)
    assert GlobalTable.load(folder).explainer == "grad-x-input"


def test_damaged_files(folder):
    content = (folder / TABLE_FILE).read_bytes()
    (folder / TABLE_FILE).write_bytes(content[:-8])
    with pytest.raises(ValueError, match=f"{folder}: the global table is damaged"):
        GlobalTable.load(folder)
    (folder / TABLE_FILE).unlink()
    assert not has_table(folder)
    with pytest.raises(FileNotFoundError, match="holds no global table"):
        GlobalTable.load(folder)


def test_a_table_of_version_1_is_read_and_replaced(folder):
    expected = GlobalTable.load(folder).lookup("红斑", (0, 2, "Disease"))
    as_version_1(folder)
    table = GlobalTable.load(folder)
    assert all(np.array_equal(*pair) for pair in zip(table.lookup("红斑", (0, 2, "Disease")), expected))
    table.save(folder)
    assert [path.name for path in folder.iterdir()] == [TABLE_FILE]
    as_version_1(folder)
    (folder / NAMES_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=f"the global table is damaged: .*{NAMES_FILE}: not JSON"):
        GlobalTable.load(folder)
    (folder / NAMES_FILE).unlink()
    with pytest.raises(ValueError, match=f"the global table is damaged: .*{NAMES_FILE}"):
        GlobalTable.load(folder)


def test_only_a_table_is_replaced(folder):
    table = GlobalTable.load(folder)
    (folder / "notes.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(FileExistsError):
        table.save(folder)
    assert (folder / "notes.txt").exists() and has_table(folder)


def test_a_table_stays_when_its_successor_cannot_be_written(folder, monkeypatch):
    def fail(tensors):
        raise OSError("disk full")

    before = (folder / TABLE_FILE).read_bytes()
    monkeypatch.setattr(table_files, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        GlobalTable().save(folder)
    assert (folder / TABLE_FILE).read_bytes() == before and [path.name for path in folder.iterdir()] == [TABLE_FILE]


@pytest.mark.parametrize("version", [1, 2])
def test_at_every_step_of_replacing_a_table_there_is_one(folder, version, monkeypatch):
    successor = GlobalTable(3.0)
    successor.add("痒", (0, 1, "Symptom"), [1.0], document="e")
    if version == 1:
        as_version_1(folder)
    calls = [(os, name) for name in ("chmod", "chown", "replace", "unlink")] + [(Path, "mkdir"), (Path, "unlink")]
    seen = []
    for owner, name in calls:
        original = getattr(owner, name)

        def watched(*args, original=original, **options):
            seen.append(GlobalTable.load(folder).kappa)  # what another process, or the next, finds here
            result = original(*args, **options)
            seen.append(GlobalTable.load(folder).kappa)
            return result

        monkeypatch.setattr(owner, name, watched)
    successor.save(folder)
    assert set(seen) == {2.0, 3.0} and seen == sorted(seen)


def test_what_a_dead_process_left_is_no_obstacle(folder):
    (folder / ".global_table.safetens.x.part").write_bytes(b"half")
    GlobalTable(3.0).save(folder)
    assert GlobalTable.load(folder).kappa == 3.0


def counted(documents, **options):
    cells, counts = documents.count(**options)
    return dict(zip(cells.tolist(), counts.tolist()))


def test_documents_count_once_per_key():
    documents = DistinctDocuments()
    assert counted(documents) == {}
    documents.add(np.array([[5, 7, 5], [9, 9, 9]]), "a")
    documents.add(np.array([5]), "a")
    documents.add(np.array([5, 7]), "b")
    assert counted(documents) == {5: 2, 7: 2, 9: 1}
    assert documents.pairs().tolist() == [[5, 0], [5, 1], [7, 0], [7, 1], [9, 0]] or len(documents.pairs()) == 5


def test_groups_count_in_place_of_their_documents():
    documents = DistinctDocuments()
    for number in range(6):
        documents.add(np.array([1]), f"d{number}", f"patient {number % 2}")
    documents.add(np.array([1]), "patient 0")  # a document of that name is no patient
    assert counted(documents) == {1: 3}
    assert counted(documents, group_of=lambda document: document[0]) == {1: 2}


@pytest.mark.parametrize("at_once", [1, 3, 10**6])
def test_only_so_many_are_remembered_and_always_the_same(monkeypatch, at_once):
    monkeypatch.setattr(table_files, "MAX_DOCUMENTS", 4)
    monkeypatch.setattr(table_files, "COMPACT_AT", at_once)
    names = [f"d{number}" for number in range(20)]
    remembered = []
    for order in (names, names[::-1], names[10:] + names[:10]):
        documents = DistinctDocuments()
        for name in order:
            documents.add(np.array([1, 2] if name < "d12" else [2]), name)
        sources = list(documents.sources)
        remembered.append({(cell, sources[source][0]) for cell, source in documents.pairs().tolist()})
        assert counted(documents) == {1: 4, 2: 4}
    assert remembered[0] == remembered[1] == remembered[2] and len(remembered[0]) == 8


def test_joining():
    one, other, both = DistinctDocuments(), DistinctDocuments(), DistinctDocuments()
    for number in range(8):
        for documents in (one if number < 5 else other, both):
            documents.add(np.arange(number), f"d{number}", "g" if number % 3 else None)
    other.add(np.array([3]), "d4", "g")
    both.add(np.array([3]), "d4", "g")
    one.extend(other.pairs(), list(other.sources))
    assert counted(one) == counted(both)
    assert set(one.sources) == set(both.sources)


TAU2 = (0.1, 0.2, 0.3, 0.4, -0.1)


def test_merging_weighs_by_entities():
    one, other = TableNoise(0.2, TAU2, 30), TableNoise(0.6, (0.5,) * 5, 10)
    merged = one.merged(other)
    assert merged.local_variance == pytest.approx(0.3) and merged.entities == 40
    assert merged.tau2 == pytest.approx([0.2, 0.275, 0.35, 0.425, 0.05])
    assert merge_noise([None, one, None]) == one and merge_noise([None]) is None
    assert merge_noise([one, other]).tau2 == pytest.approx(merge_noise([other, one]).tau2)


def test_through_json():
    noise = TableNoise(0.2, TAU2, 30)
    assert TableNoise.from_dict(json.loads(json.dumps(noise.to_dict()))) == noise


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.2, TAU2[:4], 3), "tau2 must be 5 finite numbers"),
        ((0.2, (*TAU2[:4], float("nan")), 3), "tau2 must be 5 finite numbers"),
        ((-0.1, TAU2, 3), "local_variance must be finite"),
        ((0.1, TAU2, 0), "at least one entity"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(ValueError, match=message):
        TableNoise(*values)
