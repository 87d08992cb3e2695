"""How entities look on pages and terminals: one colour per label everywhere, and what stays on one line.

A label has the colour of its place among the labels of the model, so that it looks the same on every page of a model.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TONES = (
    "#0072b2",
    "#bd4f00",
    "#007a59",
    "#a34d80",
    "#8a6000",
    "#3d2f91",
    "#882255",
    "#6b6c19",
    "#4d5560",
    "#1a7399",
)
"""Colours of labels (after Okabe and Ito 2008, darkened): white on each has a contrast of at least 4.5, as WCAG asks.
Further labels repeat them with another line style."""

_PAPER, _NIGHT = "#ffffff", "#1d2127"
_TINT, _NIGHT_TINT, _NIGHT_TONE = 0.16, 0.42, 0.55
"""Shares of the colour in the ground of an entity on white and on dark paper, and in lines and chips on dark paper."""

SHORT, WIDE = 14.0, 26.0
"""Widths in full-width characters, label included: an entity of the first fits one line of a telephone, of the second
one of a wider screen."""
_CHIP = 0.62
"""Size of a label beside its entity, as a share of that of the text."""


def tones_of(labels: Iterable[str], order: Iterable[str] = ()) -> dict[str, int]:
    """Return the number of the colour of each label, from 0: those in `order` as they stand there, then others sorted.

    Args:
        labels: all that are shown.
        order: labels of the model; those that are not shown keep their numbers, too.
    """
    known = dict.fromkeys(order)
    return {label: number for number, label in enumerate([*known, *sorted(set(labels) - known.keys())])}


def tone_style(selector: str, number: int, dark: bool = True) -> str:
    """Return rules that set ``--tone`` (line and chip), ``--tint`` (ground) and ``--on`` (letters on the chip).

    Args:
        selector: of CSS.
        number: of the colour.
        dark: for pages that follow the reader's dark setting: also the rule for that.
    """
    tone = TONES[number % len(TONES)]
    rules = f"{selector} {{ --tone: {tone}; --tint: {mixed(tone, _PAPER, _TINT)}; --on: {_PAPER}; }}\n"
    if dark:
        night = (
            f"--tone: {mixed(tone, _PAPER, _NIGHT_TONE)}; --tint: {mixed(tone, _NIGHT, _NIGHT_TINT)}; --on: {_NIGHT};"
        )
        rules += f"@media screen and (prefers-color-scheme: dark) {{ {selector} {{ {night} }} }}\n"
    return rules


def mixed(colour: str, ground: str, share: float) -> str:
    """Return the mixture of two colours (``#rrggbb``) with a share of the first in [0, 1]."""
    pairs = zip(_channels(colour), _channels(ground))
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def line_class(text: str, label: str) -> str:
    """Return the style class of an entity that shall not break across lines: ``kept``, ``kept-wide``, or none if long.

    Args:
        text: of the entity; with a line end in it, it breaks.
        label: shown behind it.
    """
    width = text_width(text) + _CHIP * text_width(label) + 1
    if "\n" in text or width > WIDE:
        return ""
    return "kept" if width <= SHORT else "kept-wide"


LINE_STYLE = """.kept { white-space: nowrap; }
@media (min-width: 48rem) { .kept-wide { white-space: nowrap; } }
.rest::before { content: "\\2060"; }
"""
"""Style of `line_class`; ``rest`` is for pieces of an entity but the first, which stay on the line of those before."""


def text_width(text: str) -> float:
    """Return the width of a text in full-width characters: 1 for those, 0.5 for others."""
    return sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.5 for character in text)


# ---- terminal ---------------------------------------------------------------------------------------------------


def shows_colours(stream: Any, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a stream is a terminal with colours; `NO_COLOR` (no-color.org) turns them off."""
    if environment.get("NO_COLOR") or environment.get("TERM") in (None, "", "dumb"):
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


def painted(text: str, number: int) -> str:
    """Return a text on the ground of a colour, in the codes of terminals with 256 colours."""
    red, green, blue = (_step(channel) for channel in _channels(TONES[number % len(TONES)]))
    return f"\x1b[48;5;{16 + 36 * red + 6 * green + blue};97m{text}\x1b[0m"


def _step(channel: int) -> int:
    """Return the nearest of the six levels 0, 95, 135, 175, 215 and 255."""
    levels: Sequence[int] = (0, 95, 135, 175, 215, 255)
    return min(range(6), key=lambda number: abs(levels[number] - channel))
