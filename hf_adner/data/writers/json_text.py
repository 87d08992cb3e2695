"""JSON as all writers put it."""

from __future__ import annotations

import json
from typing import Any

from hf_adner.data.errors import DataFormatError


def json_text(value: Any, document_id: str) -> str:
    """`value` as JSON on one line.

    Raises:
        DataFormatError: it holds something that JSON cannot (NaN, an arbitrary object).
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataFormatError(f"meta cannot be written as JSON: {error}", record=document_id) from None


def decimal_id(document_id: str) -> int | str:
    """An id as annotation tools keep it: a number where it reads as one."""
    is_number = document_id.isascii() and document_id.isdigit() and str(int(document_id)) == document_id
    return int(document_id) if is_number else document_id
