"""The notebooks as they are stored, and that they run."""

import ast
import base64
import importlib
import importlib.util
import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
NAMES = ["01_quickstart", "02_train_on_your_data", "03_explanation_guided_training", "04_explain_and_audit"]
NAMES += ["05_push_to_the_hub"]
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)
PATH = re.compile(
    r"(?<![\w.:/<-])/(?:home|root|tmp|usr|opt|var|mnt|srv|Users|private|content|[\w.-]+/[\w.-]+/)[\w./-]*"
)
HOST = re.compile(r"https?://([\w.:-]+)")
PUBLIC_HOSTS = {"huggingface.co", "github.com", "www.w3.org", "arxiv.org", "doi.org", "ipywidgets.readthedocs.io"}
PROGRESS = re.compile(r"<progress|\d+%\||it/s\]|TqdmWarning")
TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")
PNG = b"\x89PNG\r\n\x1a\n"
SMALLEST_PICTURE = 5000  # bytes; an empty figure has less

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def text(lines):
    return lines if isinstance(lines, str) else "".join(lines)


def code(path):
    """The source of each code cell, with magics left out."""
    return [MAGIC.sub(r"\1pass", text(cell["source"])) for cell in cells(path, "code")]


def outputs(path):
    return [output for cell in cells(path, "code") for output in cell["outputs"]]


def words(output):
    """All text of an output, as one string."""
    data = output.get("data", {})
    return "\n".join([text(output.get("text", "")), *(text(data[kind]) for kind in data if kind.startswith("text/"))])


def pictures(path):
    found = [output["data"]["image/png"] for output in outputs(path) if "image/png" in output.get("data", {})]
    return [base64.b64decode(text(picture)) for picture in found]


def test_there_are_five():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@every_notebook
def test_is_valid_with_portable_metadata(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"] >= 5) == (4, True)
    assert notebook["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert all(not cell["metadata"] for cell in notebook["cells"])
    if importlib.util.find_spec("nbformat"):
        importlib.import_module("nbformat").validate(notebook)


@every_notebook
def test_first_code_cell_installs_only_what_is_missing(path):
    tree = ast.parse(code(path)[0])
    first = text(cells(path, "code")[0]["source"])
    assert [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)][0] == (
        "importlib.util.find_spec('hf_adner') is None"
    )
    assert re.search(r"^    %pip install --quiet \{\(wheels \+ clones\)\[-1\]\}$", first, re.MULTILINE)
    assert "is not on a package index" in first  # no name that an index might give to someone else
    assert "--index" not in first and "http" not in first


@every_notebook
def test_tests_can_shrink_the_settings(path):
    assert any('os.environ.get("HF_ADNER_NOTEBOOK_SMALL") == "1"' in source for source in code(path))


@every_notebook
def test_code_compiles_and_its_names_exist(path):
    for source in code(path):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "hf_adner":
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@every_notebook
def test_code_lines_fit_on_a_page(path):
    assert [line for source in code(path) for line in source.splitlines() if len(line) > 120] == []


@every_notebook
def test_every_cell_ran_in_order_without_an_error(path):
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert [output for output in outputs(path) if output["output_type"] == "error"] == []
    assert [output for output in outputs(path) if output.get("name") == "stderr"] == []


@every_notebook
def test_outputs_have_pictures(path):
    assert pictures(path)
    for picture in pictures(path):
        assert picture.startswith(PNG) and len(picture) > SMALLEST_PICTURE


@every_notebook
def test_outputs_say_which_settings_made_them(path):
    assert any(re.match(r"(small|normal) settings: \d+ training documents", words(one)) for one in outputs(path))


@every_notebook
def test_outputs_tell_nothing_of_a_machine(path):
    for output in outputs(path):
        found = words(output)
        assert PATH.search(found) is None
        assert set(HOST.findall(found)) <= PUBLIC_HOSTS
        assert PROGRESS.search(found) is None


@every_notebook
def test_source_has_no_secret_and_no_place_of_a_machine(path):
    for cell in cells(path, "code") + cells(path, "markdown"):
        source = text(cell["source"])
        assert TOKEN.search(source) is None
        assert PATH.search(source) is None


@every_notebook
def test_readme_has_a_line_for_it(path):
    assert f"notebooks/{path.name}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("found", ["/home/someone/x", "in /tmp/abc", "'/data/models/run/model'", "/opt/venv"])
def test_a_path_is_recognised(found):
    assert PATH.search(found)


@pytest.mark.parametrize("found", ["runs/quickstart/model", "</div>", "precision/recall", "3/5", "https://a.org/b/c/d"])
def test_other_slashes_are_none(found):
    assert PATH.search(found) is None


@pytest.mark.slow
@every_notebook
def test_runs_with_small_settings(path):
    pytest.importorskip("nbclient", reason="comes with the test extra")
    pytest.importorskip("ipykernel", reason="comes with the test extra")
    script = REPOSITORY / "scripts" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks_script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    notebook = module.execute(path, small=True)
    assert any("image/png" in one.get("data", {}) for cell in notebook.cells for one in cell.get("outputs", ()))
