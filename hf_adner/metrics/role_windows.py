"""Role windows: attribution maps of different entities and texts laid over each other by the part each character plays.

A window has one cell for each of the `width` characters left of the entity, one for its first character, one for the
mean of its middle, one for its last character, and one for each of the `width` characters to its right. A cell whose
characters do not exist (the text ends there, or a perturbation removed them) is absent, not zero: so two constant maps,
or two that depend on the role alone, agree perfectly wherever their entities stand.
"""

from collections.abc import Sequence

import numpy as np

from .vectors import Numbers, as_range, as_vector

WIDTH = 10


def role_window(
    values: Numbers, span: Sequence[int], present: np.ndarray | None = None, width: int = WIDTH
) -> tuple[np.ndarray, np.ndarray]:
    """One map in role cells.

    Args:
        values: the map, (L,).
        span: `(start, end)` of the entity, `end` exclusive. The middle is what lies between its first and its last
            character, or the whole of an entity shorter than three.
        present: (L,) booleans, which characters have a value; all by default.
        width: characters of context on either side.

    Returns:
        (2 width + 3,) values, 0 in absent cells, and (2 width + 3,) booleans.

    Raises:
        ValueError: no finite map, or the entity lies outside it.
    """
    values = as_vector(values, "map")
    start, end = as_range(span, values.size)
    present = np.ones(values.size, dtype=bool) if present is None else present
    places = np.concatenate([np.arange(start - width, start + 1), [end - 1], np.arange(end, end + width)])
    inside = (places >= 0) & (places < values.size)
    found = np.zeros(places.size, dtype=bool)
    found[inside] = present[places[inside]]
    cells = np.zeros(places.size)
    cells[found] = values[places[found]]
    middle = slice(start + 1, end - 1) if end - start > 2 else slice(start, end)
    inner = values[middle][present[middle]]
    cells = np.insert(cells, width + 1, inner.mean() if inner.size else 0.0)
    return cells, np.insert(found, width + 1, inner.size > 0)


def window_cosines(
    first: np.ndarray, first_present: np.ndarray, second: np.ndarray, second_present: np.ndarray
) -> np.ndarray:
    """Cosines of every first with every second window, each over the cells both have: (m, cells), (n, cells) -> (m, n).

    0 where either window is zero, or empty, over the common cells.
    """
    first, second = _scaled(first, first_present), _scaled(second, second_present)
    products = first @ second.T  # (m, n)
    norms = (first**2 @ second_present.T) * (first_present @ (second**2).T)
    return np.divide(products, np.sqrt(norms), out=np.zeros_like(products), where=norms > 0).clip(-1, 1)


def _scaled(windows: np.ndarray, present: np.ndarray) -> np.ndarray:
    windows = np.where(present, windows, 0.0)
    largest = np.abs(windows).max(axis=1, keepdims=True, initial=0.0)
    return np.divide(windows, largest, out=np.zeros_like(windows), where=largest > 0)
