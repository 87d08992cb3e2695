"""The README and the pages of docs/: links, commands and code that they show."""

import ast
import re
from pathlib import Path

import pytest

import adner_cli
import hf_adner

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "README.zh.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PAGES += [
    REPOSITORY / "model_cards" / "RESULTS.md",
    *sorted((REPOSITORY / "model_cards" / "results").glob("*/README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:    |.*?`)(?:torchrun .*-m hf_adner\.cli|adner) ([a-z-]+)([^`\n]*(?:\\\n.*)*)", re.MULTILINE)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_page
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if not target.startswith("http"):
            file = (page.parent / target) if target else page
            assert file.exists(), link
            assert not anchor or anchor in anchors(file), link


@every_page
def test_code_uses_names_that_exist(page):
    for block in FENCED.findall(page.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "hf_adner":
                assert {name.name for name in node.names} <= set(hf_adner.__all__)


@every_page
def test_commands_exist_and_show_hyphens(page):
    for name, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
        assert name in adner_cli.COMMANDS, name
        assert not re.search(r"--\w+_", rest), rest


def test_every_page_is_in_the_navigation():
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE)) == sorted(
        path.name for path in (REPOSITORY / "docs").glob("*.md")
    )


def test_the_readme_takes_two_minutes():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= 1250
