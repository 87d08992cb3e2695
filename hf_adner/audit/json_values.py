"""Numbers of reports as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_DIGITS = 6


def plain(value: Any) -> Any:
    """Plain JSON values: numbers rounded to six digits, None for what is not finite, lists for sequences."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, (bool, int)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
