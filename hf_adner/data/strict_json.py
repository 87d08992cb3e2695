"""Strict JSON: a value that is ambiguous, or that not every JSON reader takes alike, is an error.

Refused are a key given twice, NaN and numbers that overflow, halves of surrogate pairs, and nesting so deep that other
parts of a program would exceed the recursion limit.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt

MAX_DEPTH = 200
"""Number of lists and objects that may enclose a value."""

_TOO_DEEP = f"JSON is nested too deeply, expected at most {MAX_DEPTH} levels"
_TOO_LONG = "an integer has thousands of digits"
_MAY_BE_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise DataFormatError(f"duplicate key {excerpt(duplicate, 20)} in a JSON object")
    return value


def _reject_constant(name: str) -> None:
    raise DataFormatError(f"{name} is not a JSON number")


def _finite(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise DataFormatError(f"the number {excerpt(number, 20)} is too large")
    return value


_strict = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_reject_constant, parse_float=_finite)
_lenient = json.JSONDecoder(parse_int=str, parse_float=str)


def parse_json(text: str) -> Any:
    """Return the JSON value of a text.

    Raises:
        DataFormatError: the text is not JSON, or not strict JSON.
    """
    try:
        value = _strict.decode(text)
    except json.JSONDecodeError as error:
        raise DataFormatError(f"broken JSON at column {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise DataFormatError(_TOO_DEEP) from None
    except DataFormatError:
        raise
    except ValueError:
        raise DataFormatError(f"broken JSON: {_TOO_LONG}") from None
    _check_value(value, text, 0, len(text))
    return value


def parse_prefix(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins at a position of a text, and the position after it.

    Returns:
        The value, or the `DataFormatError` that tells why it is not strict JSON; and its end.

    Raises:
        json.JSONDecodeError: no complete value begins there.
        DataFormatError: the value is nested so deeply that its end cannot be found.
    """
    try:
        try:
            value, end = _strict.raw_decode(text, start)
            _check_value(value, text, start, end)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            fault = error if isinstance(error, DataFormatError) else DataFormatError(f"broken JSON: {_TOO_LONG}")
            return fault, _lenient.raw_decode(text, start)[1]
        return value, end
    except RecursionError:
        raise DataFormatError(_TOO_DEEP) from None


def _check_value(value: Any, text: str, start: int, end: int) -> None:
    if text.count("[", start, end) + text.count("{", start, end) > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise DataFormatError(_TOO_DEEP)
    if _MAY_BE_HALF_A_PAIR.search(text, start, end):
        check_characters(json.dumps(value, ensure_ascii=False), "the JSON value")


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        nested = (outer.values() if isinstance(outer, dict) else outer for outer in layer)
        layer = [inner for values in nested for inner in values if isinstance(inner, (dict, list))]
        if not layer:
            return False
    return True


def check_characters(text: str, what: str) -> None:
    """Check that a string can be encoded.

    Raises:
        DataFormatError: it has half of a surrogate pair, which no encoding can express.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataFormatError(f"{what} contains half of a surrogate pair at character {error.start}") from None


def dump_json(value: Any) -> str:
    """Return `value`, which is or contains `meta`, as JSON on one line.

    Raises:
        DataFormatError: something in it is not JSON, such as NaN or half of a surrogate pair.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataFormatError(f"meta cannot be written as JSON: {error}") from None
    except RecursionError:
        raise DataFormatError("meta cannot be written as JSON: it is nested too deeply") from None
    check_characters(text, "meta")
    return text
