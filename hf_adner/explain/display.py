"""Explanations where a person works: in a notebook as a page, in a terminal as text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape

from hf_adner.explain.explanation import Explanation
from hf_adner.explain.pages.page import notes_of, page_text
from hf_adner.explain.pages.visible_text import shortened, visible

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
