"""An explanation as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fonts import font_for, warn_without_font

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_CONTEXT = 20
LEAST = 0.005
"""Probability from which on a boundary is drawn."""
FOR, AGAINST, START, END, ENTITY = "#e8821e", "#5b8fd6", "#0072b2", "#c65400", "#e9ebef"
_SIGNS = {"\n": "↵", "\r": "↵", "\t": "⇥", " ": "␣", "\u3000": "␣"}


def plot_explanation(explanation: Explanation, axes: Axes | None = None, context: int | None = DEFAULT_CONTEXT) -> Axes:
    """Draw the scores of the characters as bars, the boundary profile as pins, the entity as a shaded range.

    Characters that no installed font has are named by their places, with one warning in a process.

    Args:
        explanation: of one entity.
        axes: to draw into; default: those of a new figure, which `pyplot` does not know.
        context: characters that are shown on both sides of the entity; None shows the whole text.

    Returns:
        The axes; `axes.figure` is the figure.

    Raises:
        ValueError: a negative context.
    """
    if context is not None and context < 0:
        raise ValueError(f"context must be 0 or more, or None, found {context}")
    entity, length = explanation.entity, len(explanation.text)
    reach = length if context is None else context
    first, after = max(entity.start - reach, 0), min(entity.end + reach, length)
    axes = _new_axes(after - first) if axes is None else axes
    axes.axvspan(entity.start - 0.5, entity.end - 0.5, color=ENTITY, zorder=0)
    scores = explanation.scores[first:after]
    axes.bar(range(first, after), scores, color=[FOR if score >= 0 else AGAINST for score in scores], zorder=2)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xlim(first - 0.5, after - 0.5)
    axes.set_ylabel(f"score ({explanation.method})")
    _name_characters(axes, explanation, first, after)
    _draw_profiles(axes, explanation, first, after)
    return axes


def _new_axes(characters: int) -> Axes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(max(5.0, 1.5 + 0.24 * characters), 40.0), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _name_characters(axes: Axes, explanation: Explanation, first: int, after: int) -> None:
    characters = [_SIGNS.get(one, one) for one in explanation.text[first:after]]
    title = f"{explanation.entity.text} ({explanation.entity.label})"
    path, drawable = font_for({*characters, *title})
    if not drawable >= {*characters, *title}:
        warn_without_font()
    names = [one if one in drawable else str(first + index) for index, one in enumerate(characters)]
    axes.set_xticks(range(first, after))
    font = _font(path)
    for tick, name in zip(axes.set_xticklabels(names, parse_math=False), names):
        tick.set(rotation=90 if len(name) > 1 else 0, **font)
    if not drawable >= set(title):
        title = f"{explanation.entity.start}–{explanation.entity.end}"
    axes.set_title(title.replace("\n", " "), parse_math=False, **font)


def _font(path: str | None) -> dict[str, Any]:
    from matplotlib.font_manager import FontProperties

    return {} if path is None else {"fontproperties": FontProperties(fname=path)}


def _draw_profiles(axes: Axes, explanation: Explanation, first: int, after: int) -> None:
    profiles = (
        ("begins", explanation.start_profile, START, "^"),
        ("ends", explanation.end_profile, END, "v"),
    )
    present = [one for one in profiles if one[1] is not None]
    if not present:
        return
    beside = axes.twinx()
    for name, profile, colour, marker in present:
        places = [place for place in range(first, after) if profile[place] >= LEAST]
        heights = [profile[place] for place in places]
        beside.vlines(places, 0, heights, color=colour, linewidth=1)
        beside.plot(places, heights, color=colour, marker=marker, markersize=4, linestyle="none", label=name)
    beside.set_ylim(0, 1.02)
    beside.set_ylabel("probability of a boundary")
    beside.legend(frameon=False, fontsize="small", loc="upper right")
