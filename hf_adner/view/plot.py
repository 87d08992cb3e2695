"""An explanation as a picture.

Fonts that have Chinese characters, for pictures: without one, matplotlib draws empty boxes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from hf_adner.explain.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PREFERRED = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Noto Sans CJK JP",
    "Noto Serif CJK SC",
    "Noto Serif CJK JP",
    "AR PL UMing CN",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "SimSun",
)
"""Names of fonts that are tried first, best first."""

BOXES = "Last Resort"
"""Name of the fonts that have a box for every character; one comes with matplotlib."""

PROBE = "的一病症"
"""A font that has these is taken for a Chinese one."""


def font_for(characters: Iterable[str]) -> tuple[str | None, frozenset[str]]:
    """A font file for some characters, and those of them that it can draw.

    The default font is kept where it has them all; else the installed font that has most of them, preferred ones first.

    Args:
        characters: single characters.

    Returns:
        Path of the font, None for the default one; the characters that it has.
    """
    wanted = frozenset(characters)
    default = _default_font()
    candidates = [(None, wanted & _coverage(default))]
    if candidates[0][1] != wanted:
        candidates += [(path, wanted & _coverage(path)) for path in chinese_fonts()]
    return max(candidates, key=lambda one: len(one[1]))  # the first among equals


@cache
def chinese_fonts() -> tuple[str, ...]:
    """Paths of the installed fonts with Chinese characters, preferred ones first."""
    from matplotlib.font_manager import fontManager

    known = {font.fname: (_rank(font.name), font.weight != 400) for font in fontManager.ttflist if _is_upright(font)}
    found = _with_chinese(sorted(known, key=known.__getitem__))
    return found or tuple(sorted(_with_chinese(set(_installed()) - set(known)), key=_file_rank))


def _installed() -> list[str]:
    """All font files of the system: matplotlib's own list may be older than a font."""
    from matplotlib.font_manager import findSystemFonts

    return findSystemFonts()


def _rank(name: str) -> int:
    return PREFERRED.index(name) if name in PREFERRED else len(PREFERRED)


def _file_rank(path: str) -> tuple[int, bool, str]:
    from matplotlib.ft2font import FT2Font

    return _rank(FT2Font(path).family_name), "Regular" not in path, path


def _is_upright(font: Any) -> bool:
    return font.style == "normal" and not font.name.startswith(BOXES)


def _with_chinese(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if frozenset(PROBE) <= _coverage(path))


def warn_without_font() -> None:
    """Say once in a process that characters cannot be drawn."""
    if not _has_warned:
        _has_warned.append(True)
        warnings.warn(
            "no installed font has the Chinese characters of this text: the plot names characters by their place; "
            "install one, for instance the package fonts-noto-cjk",
            stacklevel=4,
        )


_has_warned: list[bool] = []


@cache
def _default_font() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return findfont(FontProperties())


@cache
def _coverage(path: str) -> frozenset[str]:
    """Characters that a font file has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


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
