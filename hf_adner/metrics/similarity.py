"""Similarity of two attribution maps of one text: cosine, rank correlation, overlap of what is most important.

Maps are one number per character; where a definition wants magnitudes, give magnitudes. Tied values share their rank,
and share the last places of a top k by equal parts, so that no position is preferred. A map without contrast ranks
nothing: its rank correlation is 0 by definition and is never left out of a mean.

Role windows: attribution maps of different entities and texts laid over each other by the part each character plays.

A window has one cell for each of the `width` characters left of the entity, one for its first character, one for the
mean of its middle, one for its last character, and one for each of the `width` characters to its right. A cell whose
characters do not exist (the text ends there, or a perturbation removed them) is absent, not zero: so two constant maps,
or two that depend on the role alone, agree perfectly wherever their entities stand.
"""

import math
from collections.abc import Sequence

import numpy as np

from .inputs import Numbers, Vector, as_range, as_vector

# Below this share of its magnitude the spread of a float32 map is rounding, not contrast.
CONSTANT_SPREAD = 1e-6
LEAST_TOP = 3
# Cells of the membership tables held at once.
BLOCK_CELLS = 1 << 21


def cosine(first: Numbers, second: Numbers) -> float:
    """Cosine of two maps.

    Range [-1, 1], [0, 1] for maps of magnitudes; higher is more alike; 0 where either map is zero everywhere. Scaling
    a map changes nothing (Joo et al., AAAI 2023), but a shared offset raises it.

    Raises:
        ValueError: the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    if not first.any() or not second.any():
        return 0.0
    first, second = (values / np.abs(values).max() for values in (first, second))  # squares must not overflow
    return float(np.clip(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)), -1, 1))


def average_ranks(values: Numbers) -> Vector:
    """Ranks from 1, ascending; equal values get the mean of the ranks they take up."""
    _, group, sizes = np.unique(as_vector(values), return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[group]


def is_constant(values: Vector) -> bool:
    """Whether a map has no contrast: fewer than two values, or a spread that is only rounding."""
    return values.size < 2 or np.ptp(values) <= CONSTANT_SPREAD * np.abs(values).max()


def spearman(first: Numbers, second: Numbers) -> float:
    """Spearman's rank correlation: Pearson's of the average ranks.

    Range [-1, 1], higher is more alike. It is not defined where either map is constant: that scores 0.

    Raises:
        ValueError: the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    if is_constant(first) or is_constant(second):
        return 0.0
    return cosine(*(average_ranks(values) - (values.size + 1) / 2 for values in (first, second)))


def partial_spearman(first: Numbers, second: Numbers, given: Numbers) -> float:
    """Rank correlation of two maps with what a third one tells of both taken out (Kendall 1942, for ranks).

    Two maps that agree because both fall with the distance to an entity, say, have a high `spearman` and, given the
    distance, none of it. Range [-1, 1]; 0 where `given` tells everything of either map, and where either is constant.

    Raises:
        ValueError: the maps are not finite vectors of one length.
    """
    direct, mine, theirs = spearman(first, second), spearman(first, given), spearman(second, given)
    rest = (1 - mine**2) * (1 - theirs**2)
    # within rounding of a full explanation nothing is left to correlate
    return float(np.clip((direct - mine * theirs) / math.sqrt(rest), -1, 1)) if rest > CONSTANT_SPREAD else 0.0


def default_top(length: int) -> int:
    """How many characters of a text count as most important: max(3, a tenth rounded up), at most all of them."""
    return min(length, max(LEAST_TOP, math.ceil(length / 10)))


def top_membership(values: Vector, depths: Sequence[int]) -> np.ndarray:
    """How far each position belongs to the `depth` highest values: (depths, positions) in [0, 1].

    Every row adds up to its depth. Tied values at the edge belong by equal parts, the chance each has when ties are
    broken by lot.
    """
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    above = (values.size - np.cumsum(sizes))[group]
    places = np.asarray(depths, dtype=np.float64)[:, None] - above  # (depths, positions)
    return np.clip(places / sizes[group], 0, 1)


def top_k_jaccard(first: Numbers, second: Numbers, k: int | None = None) -> float:
    """Overlap over union of the `k` most important positions of two maps; `default_top` of them by default.

    Range [0, 1], higher is more alike, 0 for empty maps. Two unrelated maps score about k / (2 L - k), and that is
    also what a constant map scores against one without ties.

    Raises:
        ValueError: `k` is below 1, or the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    depth = [_depth(k, first.size)]
    mine, theirs = top_membership(first, depth), top_membership(second, depth)
    union = np.maximum(mine, theirs).sum()
    return float(np.minimum(mine, theirs).sum() / union) if union else 0.0


def map_consistency(first: Numbers, second: Numbers, k: int | None = None) -> float:
    """Mean over i = 1..k of the share of the top i of one map that is in the top i of the other.

    Range [0, 1], higher is more alike, 0 for empty maps; the consistency of the English/Chinese interpretability
    benchmark of Wang et al. (CoNLL 2022), there called MAP. `k` is the whole text by default, where unrelated maps
    score about one half.

    Raises:
        ValueError: `k` is below 1, or the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    depths = np.arange(1, _depth(first.size if k is None and first.size else k, first.size) + 1)
    if not depths.size:
        return 0.0
    blocks = np.array_split(depths, math.ceil(depths.size * first.size / BLOCK_CELLS))
    shared = [np.minimum(top_membership(first, block), top_membership(second, block)).sum(1) for block in blocks]
    return float(np.mean(np.concatenate(shared) / depths))


def aligned(
    original: Numbers, perturbed: Numbers, alignment: Sequence[int | None] | None = None, name: str = "map"
) -> tuple[Vector, np.ndarray]:
    """The values of `perturbed` at the places of the original characters, and which of them are still there.

    Args:
        original: the map of the original text, (L,).
        perturbed: the map of the perturbed text, (L',).
        alignment: per original character its place in the perturbed text, `None` where it is gone; by default the
            texts have one length and each character stays in its place.
        name: what an error calls them.

    Returns:
        (L,) values, 0 where the character is gone, and (L,) booleans.

    Raises:
        ValueError: the maps are no finite vectors, the alignment is not as long as the original, or points outside.
    """
    original, perturbed = as_vector(original, name), as_vector(perturbed, f"perturbed {name}")
    if alignment is None:
        alignment = range(original.size)
        as_vector(perturbed, f"perturbed {name}", original.size)
    places = as_vector([-1 if place is None else place for place in alignment], f"alignment of {name}", original.size)
    if (places >= perturbed.size).any() or (places < -1).any() or (places % 1).any():
        raise ValueError(f"alignment of {name} must point into the {perturbed.size} perturbed characters")
    present = places >= 0
    values = np.zeros(original.size)
    values[present] = perturbed[places[present].astype(np.intp)]
    return values, present


def _pair(first: Numbers, second: Numbers) -> tuple[Vector, Vector]:
    first = as_vector(first, "first map")
    return first, as_vector(second, "second map", first.size)


def _depth(k: int | None, length: int) -> int:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, found {k}")
    return default_top(length) if k is None else min(k, length)


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
