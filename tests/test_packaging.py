"""What setup.cfg, constraints.txt and CITATION.cff say agrees with each other and with the package."""

import configparser
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
    found = [requirement for requirement in requirements(section) if requirement.name != "hf_adner"]
    assert found
    for requirement in found:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_pins_are_plain_versions(pins):
    assert pins["torch"] == "2.13.0"  # no local version: any build of it will do
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
