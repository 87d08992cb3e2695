"""Metadata files agree with each other and with the package, and its distributions are complete."""

import configparser
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hf_adner

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def pins():
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def requirements(section):
    return [Requirement(line) for line in section.splitlines() if line]


@pytest.mark.parametrize("extra", [None, "excel", "test"])
def test_every_requirement_is_pinned_within_its_range(setup_cfg, pins, extra):
    section = setup_cfg["options.extras_require"][extra] if extra else setup_cfg["options"]["install_requires"]
    others = [requirement for requirement in requirements(section) if requirement.name != "hf_adner"]
    assert others
    for requirement in others:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_pins_are_plain_versions(pins):
    assert pins["torch"] == "2.13.0"  # no local version: any build of it is accepted
    assert not [name for name, version in pins.items() if not version.replace(".", "").isalnum()]


def test_every_folder_of_the_package_is_packaged():
    folders = {path.parent for path in (REPOSITORY / "hf_adner").rglob("*.py")}
    assert folders
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_data_files_of_the_package_are_packaged(setup_cfg):
    package = REPOSITORY / "hf_adner"
    patterns = setup_cfg["options.package_data"]["hf_adner"].split()
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others <= packaged


def test_citation_names_the_version_of_the_package():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hf_adner.__version__


def test_entry_points_exist(setup_cfg):
    for group, section in setup_cfg["options.entry_points"].items():
        for line in section.split("\n")[1:]:
            name, value = line.split(" = ")
            if group == "spacy_factories":
                pytest.importorskip("spacy", reason="comes with the extra spacy")
            assert callable(EntryPoint(name, value, group).load())


def test_wheel_and_sdist_hold_the_command_and_all_files_of_the_package(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    shutil.copytree(REPOSITORY / "hf_adner", source / "hf_adner", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("adner_cli.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    build = "from setuptools import build_meta as backend; backend.build_wheel('..'); backend.build_sdist('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    expected = {path.relative_to(source).as_posix() for path in (source / "hf_adner").rglob("*") if path.is_file()}
    expected.add("adner_cli.py")
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        assert expected <= {name.partition("/")[2] for name in archive.getnames()}
