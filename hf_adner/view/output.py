"""Explanations where a person works: in a notebook as a page, in a terminal as text.

Explained notes as files: a page, or JSON that `Explanation.from_dict` reads.

Explaining the entities of documents from beginning to end: what `adner explain` does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hf_adner.data.records import Document
from hf_adner.explain.documents import ExplainedCheckpoint, explain_documents
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.explain.probes import DEFAULT_PROBES
from hf_adner.explain.stability import DEFAULT_VIEWS
from hf_adner.files import write_file
from hf_adner.view.charts import shortened, visible
from hf_adner.view.page import notes_of, notes_to_html, page_text

HEIGHT = 620
"""Pixels of a page in a notebook."""
TOP = 8
BAR = 20


def show_explanations(explanations: Sequence[Explanation]) -> None:
    """Display the page in a notebook; elsewhere print `explanation_lines`."""
    if in_notebook():
        from IPython.display import HTML, display

        display(HTML(notebook_frame(explanations)))
        return
    for one in explanations:
        print("\n".join(explanation_lines(one)))


def in_notebook() -> bool:
    """Whether the process runs cells of a notebook."""
    if "IPython" not in sys.modules:  # a notebook has loaded it
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def notebook_frame(explanations: Sequence[Explanation]) -> str:
    """The page in a frame of its own, so that neither its style nor its script meets the notebook's."""
    page = "".join(page_text(notes_of(explanations)))
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" width="100%" height="{HEIGHT}" '
        'style="border: 0" title="Explanation"></iframe>'
    )


def explanation_lines(explanation: Explanation) -> list[str]:
    """An explanation as text: the entity, what is known of it, and its strongest characters with bars."""
    entity = explanation.entity
    facts = [f"{entity.start}–{entity.end}", f"{explanation.method}, {explanation.target} {explanation.value:.3g}"]
    facts += [] if explanation.posterior is None else [f"posterior {explanation.posterior:.3f}"]
    facts += [] if explanation.stability is None else [f"stability {explanation.stability:.2f}"]
    lines = [f"{shortened(visible(entity.text or ''), 40)} ({visible(entity.label)})  {'  '.join(facts)}"]
    top = [span for span in explanation.top(TOP) if span.score]
    largest = max((abs(span.score) for span in top), default=1.0)
    for span in top:
        bar = "#" * max(1, round(BAR * abs(span.score) / largest))
        lines.append(f"  {visible(span.text)!s:<2} {span.start:>5}  {span.score:>9.3g}  {bar}")
    return lines


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
        page: options of `hf_adner.view.page.page_text`; JSON takes none of them.

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


def run_explanations(
    checkpoint: ExplainedCheckpoint,
    documents: Iterable[Document],
    output: str | Path | None = None,
    *,
    explainer: str | None = None,
    target: str = "label",
    batch_size: int = 16,
    entities: str = "predicted",
    probes: Iterable[str] | None = None,
    stability_views: int = DEFAULT_VIEWS,
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Explain entities and write a page or JSON, or print the strongest characters of each.

    Args:
        checkpoint: model, tokenizer and table.
        documents: read as they are explained.
        output: file to write (`write_explanations`); None prints.
        explainer: see `ExplainedCheckpoint.explainer`.
        target, batch_size: of the explainer.
        entities, stability_views, seed: as for `explain_documents`.
        probes: the same; None takes all, but only where there is an output to show them.
        limit: explain only the first so many documents.

    Raises:
        ValueError: as `explain_documents` and `write_explanations`.
    """
    if probes is None:
        probes = DEFAULT_PROBES if output else ()
    notes = explain_documents(
        checkpoint.explainer(explainer, target=target, batch_size=batch_size),
        tqdm(islice(documents, limit), desc="explaining", unit="document", disable=None),
        entities=entities,
        table=checkpoint.table,
        probes=tuple(probes),
        stability_views=stability_views,
        seed=seed,
    )
    if output:
        write_explanations(notes, output, table=checkpoint.shown_table)
        return
    for note in notes:
        print(f"{note.name}: {len(note.explanations)} entities")
        print("\n".join(line for one in note.explanations for line in explanation_lines(one)))
