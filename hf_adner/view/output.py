"""Output of explanations: in a notebook, on the terminal, and as HTML or JSON files (`adner explain`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hf_adner.data.assertion import ASSERTION
from hf_adner.data.records import Document
from hf_adner.explain.closer_look import DEFAULT_BUDGET, CloserLook
from hf_adner.explain.documents import FORCED, ExplainedCheckpoint, explain_documents
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.explain.probes import DEFAULT_PROBES
from hf_adner.files import write_file
from hf_adner.highlighting import painted, shows_colours, tones_of
from hf_adner.model.assertion_adner import choose_rules
from hf_adner.model.codes_adner import choose_codes
from hf_adner.model.pipeline_adner import check_count
from hf_adner.reporting import code_points
from hf_adner.view.charts import shortened
from hf_adner.view.page import notes_of, notes_to_html, page_text
from hf_adner.view.section import STABILITY

HEIGHT = 620
"""Height of the page in a notebook, in pixels."""
TOP = 8
"""Characters per explanation on the terminal."""
BAR = 20
"""Longest bar on the terminal, in characters."""
SUFFIXES = (".html", ".json", ".jsonl")


def show_explanations(explanations: Sequence[Explanation]) -> None:
    """Display the page in a notebook; elsewhere print `explanation_lines`."""
    if in_notebook():
        from IPython.display import HTML, display

        display(HTML(notebook_frame(explanations)))
        return
    for explanation in explanations:
        print("\n".join(explanation_lines(explanation, shows_colours(sys.stdout))))


def in_notebook() -> bool:
    """Return whether the process is the kernel of a notebook."""
    if "IPython" not in sys.modules:  # a kernel has imported it
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def notebook_frame(explanations: Sequence[Explanation]) -> str:
    """Return the page in an iframe, which isolates its style and script from the notebook."""
    page = "".join(page_text(notes_of(explanations)))
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" width="100%" height="{HEIGHT}" '
        'style="border: 0" title="Explanation"></iframe>'
    )


def explanation_lines(explanation: Explanation, in_colour: bool = False) -> list[str]:
    """Return an explanation as lines of text: the entity, its figures, and its strongest characters with bars.

    Args:
        explanation: of one entity.
        in_colour: show the label in its colour, for a terminal.
    """
    entity = explanation.entity
    facts = [f"{entity.start}–{entity.end}", f"{explanation.method}, {explanation.target} {explanation.value:.3g}"]
    facts += [] if explanation.posterior is None else [f"posterior {explanation.posterior:.3f}"]
    facts += [] if explanation.score is None else [f"score {explanation.score:.3f}"]
    facts += list(explanation.details.get(ASSERTION, ()))
    facts += [FORCED] if FORCED in explanation.details else []
    facts += [f"code {code_points(explanation.details['code'])}"] if "code" in explanation.details else []
    label = f"({code_points(entity.label)})"
    if in_colour:
        tone = tones_of([entity.label], explanation.labels)[entity.label]
        label = painted(f" {code_points(entity.label)} ", tone)
    lines = [f"{shortened(code_points(entity.text or ''), 40)} {label}  {'  '.join(facts)}"]
    top = [span for span in explanation.top(TOP) if span.score]
    largest = max((abs(span.score) for span in top), default=1.0)
    for span in top:
        bar = "#" * max(1, round(BAR * abs(span.score) / largest))
        lines.append(f"  {code_points(span.text):<2} {span.start:>5}  {span.score:>9.3g}  {bar}")
    if explanation.stability is not None:
        lines.append(f"  stability of the scores {explanation.stability:.2f} of 1, {STABILITY}")
    return lines


def check_explanation_path(path: str | Path) -> None:
    """Check the suffix of an output file.

    Raises:
        ValueError: it is not one of `SUFFIXES`.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: the name of the output must end in {', '.join(SUFFIXES)}")


def write_explanations(notes: Iterable[ExplainedNote], path: str | Path, **page: Any) -> None:
    """Write notes in the format of the suffix: ``.html``, ``.json`` (a list) or ``.jsonl`` (one explanation per line).

    In JSON an explanation is its `Explanation.to_dict` with the name of its note under ``note``; notes without
    explanations are left out. `Explanation.from_dict` reads it.

    Args:
        notes: read once; only a page needs all of them in memory.
        path: the file, written atomically.
        page: options of `hf_adner.view.page.page_text`, ignored for JSON.

    Raises:
        ValueError: unknown suffix.
    """
    check_explanation_path(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".html":
        notes_to_html(notes, path, **page)
        return
    lines = _json_lines(notes)
    write_file(Path(path), _json_list(lines) if suffix == ".json" else (f"{line}\n" for line in lines), "utf-8")


def _json_lines(notes: Iterable[ExplainedNote]) -> Iterator[str]:
    for note in notes:
        for explanation in note.explanations:
            yield json.dumps({"note": note.name, **explanation.to_dict()}, ensure_ascii=False, allow_nan=False)


def _json_list(lines: Iterable[str]) -> Iterator[str]:
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
    stability_views: int = 0,
    budget: int | None = DEFAULT_BUDGET,
    limit: int | None = None,
    seed: int = 0,
    assertion: Any = None,
    constraints: Any = None,
    codes: Any = None,
) -> None:
    """Explain the entities of documents and write a page or JSON, or print the strongest characters of each.

    By default all entities are explained by a fast explainer, and the least certain of each document also by occlusion
    and by probes, see `CloserLook`.

    Args:
        checkpoint: model, tokenizer and table.
        documents: read while they are explained.
        output: file to write (`write_explanations`); None: print.
        explainer: of all entities; None: see `ExplainedCheckpoint.explainer` and `closer_explainer`.
        target, batch_size: of the explainers.
        entities: as for `explain_documents`.
        probes: as for `CloserLook`; None: all if there is an output file, else none.
        stability_views, budget, seed: as for `CloserLook`.
        limit: number of documents to explain, 1 or more; None: all.
        assertion: as for `hf_adner.model.assertion_adner.choose_rules`.
        constraints: as for `explain_documents`.
        codes: as for `hf_adner.model.codes_adner.choose_codes`.

    Raises:
        ValueError: as `explain_documents` and `write_explanations`, or a limit below 1.
    """
    if limit is not None:
        check_count(limit, "limit")
    if probes is None:
        probes = DEFAULT_PROBES if output else ()
    options = {"target": target, "batch_size": batch_size}
    closer = checkpoint.closer_explainer(**options) if explainer is None and budget != 0 else None
    look = CloserLook(closer, tuple(probes), stability_views, budget, seed)
    if limit is not None:
        documents = documents[:limit] if isinstance(documents, list) else islice(documents, limit)
    with tqdm(desc="explaining", unit="entity", disable=None) as bar:
        notes = explain_documents(
            checkpoint.explainer(explainer, **options),
            documents,
            entities=entities,
            table=checkpoint.table,
            closer_look=look,
            bar=bar,
            assertion=choose_rules(assertion, checkpoint.tokenizer),
            constraints=constraints,
            codes=choose_codes(codes, checkpoint.tokenizer),
        )
        if output:
            page = {"table": checkpoint.shown_table, "review_threshold": checkpoint.review_threshold}
            write_explanations(notes, output, **page)
            return
        for note in notes:
            print(f"{code_points(note.name)}: {len(note.explanations)} entities")
            print("\n".join([note.remark] * bool(note.remark) + _lines(note)))


def _lines(note: ExplainedNote) -> list[str]:
    in_colour = shows_colours(sys.stdout)
    return [line for explanation in note.explanations for line in explanation_lines(explanation, in_colour)]
