"""The code of an entity (ICD-10, or a local one) as documents keep it, in the entity's `meta`."""

from __future__ import annotations

import re
from typing import Any

CODE = "code"
"""Key of an entity's `meta` for its code."""

_CODE = re.compile(r"\S(?:[^\t\r\n]*\S)?")


def is_code(value: Any) -> bool:
    """Return whether a value of `meta` is a code: a string of one line, without white space at its ends."""
    return isinstance(value, str) and bool(_CODE.fullmatch(value))
