"""Characters as a page can show them, one for one, so that places in a text are places on the page."""

from __future__ import annotations

import re

_REPLACEMENT = "\ufffd"
_INVISIBLE = "\u200b"  # stands for the first half of a Windows line end
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"}
# halves of surrogate pairs, C1 controls, and what turns the direction of writing and could reorder a line
_UNSAFE = [*range(0xD800, 0xE000), *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_TABLE = {**_CONTROL_PICTURES, 0x7F: "\u2421", **dict.fromkeys(_UNSAFE, _REPLACEMENT)}


def visible(text: str) -> str:
    """The text with as many characters, none of which an HTML parser drops, joins or reads as something else.

    Control characters become their pictures, halves of surrogate pairs and direction overrides U+FFFD, a carriage
    return a line end or, before a line end, nothing that is seen. Markup is not escaped here.
    """
    return re.sub(r"\r(?!\n)", "\n", text).replace("\r", _INVISIBLE).translate(_TABLE)


def shortened(text: str, most: int) -> str:
    """The text, its middle left out where it has more than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most - most // 2 - 1]}…{text[len(text) - most // 2 :]}"
