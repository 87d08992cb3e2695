"""An explanation as a matplotlib figure."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from hf_adner.explain.explanation import Explanation
from hf_adner.reporting import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties

CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "Microsoft YaHei",
    "DengXian",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Noto Sans CJK JP",
    "Noto Serif CJK SC",
    "Noto Serif CJK JP",
    "AR PL UMing CN",
    "AR PL UKai CN",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "SimSun",
)
"""Families with Chinese characters, best first."""

DEFAULT_CONTEXT = 20
LEAST = 0.005
"""Least probability of a boundary that is drawn."""
FOR, AGAINST, START, END, ENTITY = "#e8821e", "#5b8fd6", "#0072b2", "#c65400", "#e9ebef"
_SIGNS = {"\n": "↵", "\r": "↵", "\t": "⇥", " ": "␣", "\u3000": "␣"}


def plot_explanation(explanation: Explanation, axes: Axes | None = None, context: int | None = DEFAULT_CONTEXT) -> Axes:
    """Draw the scores of the characters as bars, the boundary profile as pins, the entity as a shaded range.

    Characters that no installed font has are labelled by their positions, with one warning per process.

    Args:
        explanation: of one entity.
        axes: axes to draw into; default: those of a new figure, which is not registered with `pyplot`.
        context: characters shown on both sides of the entity; None: the whole text.

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
    return new_figure(min(max(5.0, 1.5 + 0.24 * characters), 40.0), 3.2).add_subplot()


def _name_characters(axes: Axes, explanation: Explanation, first: int, after: int) -> None:
    characters = [_SIGNS.get(character, character) for character in explanation.text[first:after]]
    title = f"{explanation.entity.text} ({explanation.entity.label})".replace("\n", " ")
    font, drawable = font_for({*characters, *title})
    if not drawable >= {*characters, *title}:
        _warn_without_font()
    names = [
        character if character in drawable else str(place) for place, character in enumerate(characters, start=first)
    ]
    axes.set_xticks(range(first, after))
    for tick, name in zip(axes.set_xticklabels(names, parse_math=False, fontfamily=font.get_family()), names):
        tick.set_rotation(90 if len(name) > 1 else 0)
    if not drawable >= set(title):
        title = f"{explanation.entity.start}–{explanation.entity.end}"
    axes.set_title(title, parse_math=False, fontfamily=font.get_family())


def _draw_profiles(axes: Axes, explanation: Explanation, first: int, after: int) -> None:
    profiles = (
        ("begins", explanation.start_profile, START, "^"),
        ("ends", explanation.end_profile, END, "v"),
    )
    present = [profile for profile in profiles if profile[1] is not None]
    if not present:
        return
    right = axes.twinx()
    for name, profile, colour, marker in present:
        places = [place for place in range(first, after) if profile[place] >= LEAST]
        heights = [profile[place] for place in places]
        right.vlines(places, 0, heights, color=colour, linewidth=1)
        right.plot(places, heights, color=colour, marker=marker, markersize=4, linestyle="none", label=name)
    right.set_ylim(0, 1.02)
    right.set_ylabel("probability of a boundary")
    right.legend(frameon=False, fontsize="small", loc="upper right")


def font_for(characters: Iterable[str]) -> tuple[FontProperties, frozenset[str]]:
    """Return the default font with the installed `CHINESE_FONTS` as fallback, and the characters that it can draw."""
    from matplotlib.font_manager import FontProperties, findfont

    families = [*FontProperties().get_family(), *chinese_fonts()]
    paths = {findfont(FontProperties(family=[family])) for family in families}
    drawable = frozenset().union(*map(_characters_of, paths))
    return FontProperties(family=families), drawable.intersection(characters)


@cache
def chinese_fonts() -> tuple[str, ...]:
    """Return the families of `CHINESE_FONTS` that are installed."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    for path in set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}:
        with contextlib.suppress(Exception):  # matplotlib cannot read every font, and raises errors of many types
            fontManager.addfont(path)  # the list of fonts is cached on disk and may be older than the font
    installed = {font.name for font in fontManager.ttflist}
    return tuple(family for family in CHINESE_FONTS if family in installed)


@cache
def _characters_of(path: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(path).get_charmap()))


@cache
def _warn_without_font() -> None:
    """Warn once per process that characters cannot be drawn."""
    warnings.warn(
        "no installed font has the Chinese characters of this text: the plot names characters by their positions; "
        "install one, for instance the package fonts-noto-cjk",
        stacklevel=5,
    )
