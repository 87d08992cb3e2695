"""Fonts that have Chinese characters, for pictures: without one, matplotlib draws empty boxes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any

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
