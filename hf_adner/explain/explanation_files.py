"""Explained notes as files: a page, or JSON that `Explanation.from_dict` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hf_adner.data.writers.atomic import write_file
from hf_adner.explain.explanation import ExplainedNote
from hf_adner.explain.pages.page import notes_to_html

SUFFIXES = (".html", ".json", ".jsonl")


def check_explanation_path(path: str | Path) -> None:
    """Make sure that explanations can be written under this name.

    Raises:
        ValueError: another suffix than `SUFFIXES`.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: the name of the output must end in {', '.join(SUFFIXES)}")


def write_explanations(notes: Iterable[ExplainedNote], path: str | Path, **page: Any) -> None:
    """Write notes in the form that the file's name says: ``.html``, ``.json`` (a list) or ``.jsonl`` (one a line).

    In JSON each explanation is as `Explanation.to_dict` with the name of its note under ``note``; notes without
    explanations do not appear.

    Args:
        notes: read once; only a page holds them all in memory.
        path: of the file; it appears whole or not at all.
        page: options of `hf_adner.explain.pages.page.page_text`; JSON takes none of them.

    Raises:
        ValueError: another suffix.
    """
    check_explanation_path(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".html":
        notes_to_html(notes, path, **page)
        return
    lines = _json_lines(notes)
    write_file(Path(path), _listed(lines) if suffix == ".json" else (f"{line}\n" for line in lines), "utf-8")


def _json_lines(notes: Iterable[ExplainedNote]) -> Iterator[str]:
    for note in notes:
        for explanation in note.explanations:
            yield json.dumps({"note": note.name, **explanation.to_dict()}, ensure_ascii=False, allow_nan=False)


def _listed(lines: Iterable[str]) -> Iterator[str]:
    yield "["
    for number, line in enumerate(lines):
        yield f"{',' if number else ''}\n{line}"
    yield "\n]\n"
