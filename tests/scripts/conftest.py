"""Load scripts as modules; scripts/ is not a package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hf_adner.comparison.record import RunRecord

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))  # as with `python scripts/NAME.py`: scripts import each other


def load(name: str) -> ModuleType:
    """Load a script by name."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_script():
    """Return the function that loads a script by name."""
    return load


@pytest.fixture
def script(request, tmp_path, monkeypatch):
    """Load the script that the test module is named after, in an empty folder with a results page of two sections."""
    module = load(request.module.__name__.rpartition("test_")[2])
    monkeypatch.chdir(tmp_path)
    module.PAGE.parent.mkdir(parents=True)
    page = f"# Results\n\n{module.HEADING}\n\nyesterday\n\n## Speed\n\nfast\n"
    module.PAGE.write_text(page, encoding="utf-8")
    return module


def record(corpus: str, model: str, arm: str, correct: int, seed: int = 0) -> RunRecord:
    counts = {"clean": [[correct, 3, 3]] * 4, "boundary": [[correct, 6, 6]] * 4, "seen": [], "unseen": []}
    return RunRecord(
        corpus, model, arm, seed, {"digest": corpus}, f"weights {seed}", {"train": 100, "test": 4}, 10, 7.0, 1000,
        counts, {}, dict.fromkeys(("precision", "recall", "f1"), correct / 3), {"ece": 0.1, "aurc": 0.2},
    )  # fmt: skip


@pytest.fixture
def make_record():
    """Return the function that makes a record of a run with four test documents of three entities each."""
    return record
