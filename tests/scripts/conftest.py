"""The evidence commands as modules: scripts/ is no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))  # as `python scripts/NAME.py` has it: the scripts import each other


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_script():
    """Gives a command's module by its name."""
    return load


@pytest.fixture
def script(request, tmp_path, monkeypatch):
    """The script of the test module's name, at work in an empty folder with a results page of two sections."""
    module = load(request.module.__name__.rpartition("test_")[2])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_cards").mkdir()
    page = f"# Results\n\n{module.HEADING}\n\nyesterday\n\n## Speed\n\nfast\n"
    (tmp_path / "model_cards" / "RESULTS.md").write_text(page, encoding="utf-8")
    return module
