"""The two files of a table: what is refused, and that they appear whole or not at all."""

import json

import numpy as np
import pytest

from hf_adner import Lexicon
from hf_adner.explain import table_files
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_files import NAMES_FILE, NUMBERS_FILE, TableNoise, has_table


@pytest.fixture
def folder(tmp_path):
    table = GlobalTable(2.0, Lexicon(["红斑"]))
    table.add("红斑伴痒", (0, 2, "Disease"), [1.0, 0.5, -1.0, 0.2], document="d", group="p")
    table.noise = TableNoise(0.2, (0.1, 0.2, 0.3, 0.4, 0.5), 3)
    table.save(tmp_path / "table")
    return tmp_path / "table"


def change(folder, **values):
    names = json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))
    names.update(values)
    names = {name: value for name, value in names.items() if value != "gone"}
    (folder / NAMES_FILE).write_text(json.dumps(names), encoding="utf-8")


def test_everything_comes_back(folder):
    table = GlobalTable.load(str(folder))
    assert table.noise == TableNoise(0.2, (0.1, 0.2, 0.3, 0.4, 0.5), 3)
    assert table.lexicon.words == ("红斑",) and table.kappa == 2.0 and table.min_documents is None
    assert sorted(path.name for path in folder.parent.iterdir()) == ["table"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "x"}, "format 'hf_adner.global_table'"),
        ({"version": 2}, "version 2 is unknown"),
        ({"roles": ["inside"]}, "roles are"),
        ({"kappa": "gone"}, "lacks 'kappa'"),
        ({"kappa": -1}, "kappa must be above 0"),
        ({"labels": []}, "a cell outside"),
        ({"units": []}, "a cell outside"),
        ({"documents": []}, "a document outside the 0 that are named"),
        ({"documents": [3]}, "damaged"),
        ({"noise": {"tau2": 3}}, "lacks 'local_variance'"),
    ],
)
def test_damaged_names(folder, values, message):
    change(folder, **values)
    with pytest.raises(ValueError, match=message):
        GlobalTable.load(folder)


def test_damaged_files(folder):
    numbers = (folder / NUMBERS_FILE).read_bytes()
    (folder / NUMBERS_FILE).write_bytes(numbers[:-8])
    with pytest.raises(ValueError, match=f"{folder}: the global table is damaged"):
        GlobalTable.load(folder)
    (folder / NUMBERS_FILE).write_bytes(numbers)
    (folder / NAMES_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="the global table is damaged"):
        GlobalTable.load(folder)
    (folder / NUMBERS_FILE).unlink()
    assert not has_table(folder)
    with pytest.raises(FileNotFoundError, match="holds no global table"):
        GlobalTable.load(folder)


def test_only_a_table_is_replaced(folder):
    table = GlobalTable.load(folder)
    (folder / "notes.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(FileExistsError):
        table.save(folder)
    assert (folder / "notes.txt").exists() and has_table(folder)


def test_a_table_stays_when_its_successor_cannot_be_written(folder, monkeypatch):
    def fail(tensors, path):
        raise OSError("disk full")

    before = GlobalTable.load(folder).lookup("红斑", (0, 2, "Disease"))
    monkeypatch.setattr(table_files, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        GlobalTable().save(folder)
    after = GlobalTable.load(folder).lookup("红斑", (0, 2, "Disease"))
    assert all(np.array_equal(one, other) for one, other in zip(before, after))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["table"]
