"""What the notebook command leaves out of outputs; no notebook is executed here."""

import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "notebooks.py"


class Node(dict):
    """As nbformat's nodes: keys are attributes too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    __setattr__ = dict.__setitem__


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("notebooks")


def stream(text, name="stdout"):
    return Node(output_type="stream", name=name, text=text)


def shown(**data):
    return Node(output_type="display_data", data=data, metadata=Node(needs_background="light"))


def cleaned(script, folder, *outputs):
    cell = Node(cell_type="code", metadata=Node(execution={}), outputs=list(outputs))
    notebook = Node(metadata=Node(widgets={}), cells=[cell, Node(cell_type="markdown", metadata=Node(id="x"))])
    script.clean(notebook, str(folder))
    assert notebook.metadata == script.METADATA
    assert not any(one.metadata for one in notebook.cells)
    return notebook.cells[0].outputs


def test_standard_error_and_progress_are_left_out(script, tmp_path, capsys):
    bar = shown(**{"text/html": "<div><progress value='3'></progress></div>"})
    widget = shown(**{"application/vnd.jupyter.widget-view+json": {}, "text/plain": "bar"})
    line = stream("tagging:  50%|#####     | 1/2")
    found = cleaned(script, tmp_path, stream("a warning", "stderr"), bar, widget, line, stream("kept"))
    assert [one.text for one in found] == ["kept"]
    assert "a warning" in capsys.readouterr().err


def test_neighbouring_pieces_of_output_are_joined(script, tmp_path):
    picture = shown(**{"image/png": "iVBORw0K", "text/plain": "<Figure>"})
    found = cleaned(script, tmp_path, stream("a\n"), stream("b\n"), picture, stream("c\n"))
    assert [one.get("text") for one in found] == ["a\nb\n", None, "c\n"]
    assert found[1].data == picture.data and not found[1].metadata


def test_paths_inside_the_folder_become_relative(script, tmp_path):
    there = shown(**{"text/plain": f"PosixPath('{tmp_path}/runs/model')"})
    found = cleaned(script, tmp_path, stream(f"{tmp_path}{os.sep}runs/model, {tmp_path}"), there)
    assert found[0].text == "runs/model, ."
    assert found[1].data["text/plain"] == "PosixPath('runs/model')"


@pytest.mark.parametrize("place", [sys.prefix + "/lib", str(SCRIPT), str(Path.home() / "model")])
def test_any_other_place_of_the_machine_is_an_error(script, tmp_path, place):
    with pytest.raises(ValueError, match="path or name of this machine"):
        cleaned(script, tmp_path, stream(f"loaded from {place}"))


def test_kernels_see_this_package_and_no_hub(script, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("MPLBACKEND", "agg")
    environment = script.kernel_environment(small=True)
    assert environment["PYTHONPATH"] == os.pathsep.join([str(SCRIPT.parents[1]), "elsewhere"])
    assert (environment["HF_HUB_OFFLINE"], environment[script.SMALL]) == ("1", "1")
    assert "MPLBACKEND" not in environment
    assert script.kernel_environment(small=False)[script.SMALL] == "0"


def test_notebooks_are_chosen_by_the_beginning_of_their_names(script):
    assert [path.name for path in script.notebook_paths(["05", "01"])] == [
        "01_quickstart.ipynb",
        "05_push_to_the_hub.ipynb",
    ]
    assert len(script.notebook_paths()) == 5
    with pytest.raises(ValueError, match="no notebook begins with '09'"):
        script.notebook_paths(["09"])
