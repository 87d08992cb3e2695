"""The scripts run against a stand-in for Python that only writes down what it was asked to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

INTERPRETER = """#!/usr/bin/env bash
echo "python $*" >>"$CALLS"
case "$*" in
  *sys.version_info*) exit "${TOO_OLD:-0}" ;;
  --version) echo "Python 3.9.2" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$DEMO" "$3/bin/adner" ;;
  "-m pip install "*) exit "${PIP_EXIT:-0}" ;;
  "-c import xdist") exit "${NO_XDIST:-0}" ;;
esac
"""
DEMO = """#!/usr/bin/env bash
printf 'adner'  >>"$CALLS"; printf ' [%s]' "$@" >>"$CALLS"; echo >>"$CALLS"
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with what the scripts need of the repository; its name has a blank."""
    folder = tmp_path / "a clone"
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
    shutil.copytree(REPOSITORY / ".ci", folder / ".ci")
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, folder)
    for name, source in (("python", INTERPRETER), ("demo", DEMO)):
        (tmp_path / name).write_text(source)
        (tmp_path / name).chmod(0o755)
    return folder


def run(clone, script, *arguments, **environment):
    """(exit code, what was printed, calls of this run)."""
    base, calls = clone.parent, clone.parent / "calls"
    calls.write_text("")
    stand_ins = {"PYTHON": str(base / "python"), "DEMO": str(base / "demo"), "CALLS": str(calls)}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    command = ["bash", str(clone / script), *arguments]
    result = subprocess.run(
        command, env=kept | stand_ins | environment, cwd=base, text=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    return result.returncode, result.stdout + result.stderr, calls.read_text()


def test_quickstart_makes_an_environment_installs_pinned_and_runs_the_demo(clone):
    code, _, calls = run(clone, "scripts/quickstart.sh", "--seed", "two words")
    assert code == 0
    assert f"-m venv {clone}/.venv" in calls
    assert f"pip install --constraint {clone}/constraints.txt --quiet --editable {clone}\n" in calls
    assert calls.endswith("adner [demo] [--seed] [two words]\n")


def test_second_run_installs_nothing(clone):
    run(clone, "scripts/quickstart.sh")
    assert run(clone, "scripts/quickstart.sh")[2] == "adner [demo]\n"


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_anew(clone, name):
    run(clone, "scripts/quickstart.sh")
    with open(clone / name, "a") as file:
        file.write("\n# changed\n")
    assert "pip install" in run(clone, "scripts/quickstart.sh")[2]


def test_failed_installation_is_told_and_tried_again(clone):
    code, printed, calls = run(clone, "scripts/quickstart.sh", PIP_EXIT="1")
    assert code == 1
    assert "error: the installation failed" in printed and "WHEELHOUSE" in printed
    assert "adner" not in calls.split("--editable")[1].replace("hf_adner", "")
    assert "pip install" in run(clone, "scripts/quickstart.sh")[2]


PYTEST = "python -m pytest -n 2 --dist worksteal -m not slow"


@pytest.mark.parametrize(
    ("script", "then"),
    [
        ("scripts/test.sh", ""),
        (".ci/run", f"python -c import xdist\n{PYTEST} -m slow\n"),
    ],
)
def test_tests_get_their_extra_and_every_argument(clone, script, then):
    code, _, calls = run(clone, script, "-k", "one and two")
    assert code == 0
    assert f"--editable {clone}[test]\n" in calls
    assert calls.endswith(f"{PYTEST} -k one and two\n{then}")


def test_tests_run_in_one_process_without_xdist(clone):
    assert run(clone, "scripts/test.sh", NO_XDIST="1")[2].endswith("python -m pytest -m not slow\n")


def test_test_extra_is_added_to_a_plain_installation_and_covers_it(clone):
    run(clone, "scripts/quickstart.sh")
    assert "[test]" in run(clone, "scripts/test.sh")[2]
    assert "pip install" not in run(clone, "scripts/quickstart.sh")[2]


def test_wheelhouse_replaces_the_registry(clone):
    wheels = clone.parent / "wheels"
    wheels.mkdir()
    assert f"--no-index --find-links {wheels} " in run(clone, "scripts/quickstart.sh", WHEELHOUSE=str(wheels))[2]


def test_missing_wheelhouse_is_named(clone):
    code, printed, calls = run(clone, "scripts/quickstart.sh", WHEELHOUSE="/no/such/wheels")
    assert code == 1
    assert "WHEELHOUSE=/no/such/wheels is not a folder" in printed
    assert "pip install" not in calls


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TOO_OLD": "1"}, "Python 3.11 or newer is needed"),
        ({"PYTHON": "no-such-python"}, "no-such-python was not found"),
    ],
)
def test_unfit_interpreter_is_refused_before_anything_is_made(clone, environment, message):
    code, printed, _ = run(clone, "scripts/quickstart.sh", **environment)
    assert code == 1
    assert message in printed
    assert not (clone / ".venv").exists()
