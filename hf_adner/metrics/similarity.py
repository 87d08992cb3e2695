"""Similarity of attribution maps: cosine, rank correlation, overlap of the top k, alignment, and role windows.

A map has one number per character; pass magnitudes where a definition needs them. Tied values share their rank, and
share the last positions of a top k equally, so that no position is preferred. A constant map has no ranks: its rank
correlation is 0 by definition and is never left out of a mean.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from .inputs import Numbers, Vector, as_range, as_vector, mean_or_nan

WIDTH = 10
"""Context characters on either side of the entity in a role window."""

# Below this share of its magnitude, the spread of a float32 map is rounding error.
CONSTANT_SPREAD = 1e-6
LEAST_TOP = 3
# Largest number of elements of a membership table in memory.
BLOCK_ELEMENTS = 1 << 21


def cosine(first: Numbers, second: Numbers) -> float:
    """Compute the cosine of two maps.

    Range [-1, 1], [0, 1] for maps of magnitudes; higher is more similar; 0 where either map is zero everywhere. The
    scale of a map does not matter (Joo et al., AAAI 2023), but a shared offset raises the cosine.

    Raises:
        ValueError: the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    if not first.any() or not second.any():
        return 0.0
    first, second = (values / np.abs(values).max() for values in (first, second))  # squares must not overflow
    return float(np.clip(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)), -1, 1))


def average_ranks(values: Numbers) -> Vector:
    """Return ranks from 1, ascending; tied values get the mean of their ranks."""
    _, group, sizes = np.unique(as_vector(values), return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[group]


def is_constant(values: Vector) -> bool:
    """Return whether a map is constant: fewer than two values, or a spread within rounding error."""
    return values.size < 2 or np.ptp(values) <= CONSTANT_SPREAD * np.abs(values).max()


def spearman(first: Numbers, second: Numbers) -> float:
    """Compute Spearman's rank correlation: Pearson's correlation of the average ranks.

    Range [-1, 1], higher is more similar. It is undefined where either map is constant: 0.

    Raises:
        ValueError: the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    if is_constant(first) or is_constant(second):
        return 0.0
    return cosine(*(average_ranks(values) - (values.size + 1) / 2 for values in (first, second)))


def partial_spearman(first: Numbers, second: Numbers, given: Numbers) -> float:
    """Compute the partial rank correlation of two maps, controlling for a third (Kendall 1942, for ranks).

    Two maps that agree only because both fall with the distance to an entity have a high `spearman`, but no partial
    correlation given the distance. Range [-1, 1]; 0 where `given` determines either map, and where either is constant.

    Raises:
        ValueError: the maps are not finite vectors of one length.
    """
    direct, with_first, with_second = spearman(first, second), spearman(first, given), spearman(second, given)
    unexplained = (1 - with_first**2) * (1 - with_second**2)
    if unexplained <= CONSTANT_SPREAD:  # within rounding error of fully explained
        return 0.0
    return float(np.clip((direct - with_first * with_second) / math.sqrt(unexplained), -1, 1))


def top_size(length: int, k: int | None = None) -> int:
    """Return the number of characters of a text that count as most important, at most all of them.

    Args:
        length: characters of the text.
        k: the number asked for; by default max(3, a tenth of the text, rounded up).

    Raises:
        ValueError: `k` is below 1.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, found {k}")
    return min(length, max(LEAST_TOP, math.ceil(length / 10)) if k is None else k)


def top_membership(values: Vector, depths: Sequence[int]) -> np.ndarray:
    """Return the membership of each position in the `depth` highest values, (depths, positions) in [0, 1].

    Every row sums to its depth. Values tied at the edge have equal shares: the chance of each if ties are broken at
    random.
    """
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    above = (values.size - np.cumsum(sizes))[group]
    free = np.asarray(depths, dtype=np.float64)[:, None] - above  # (depths, positions)
    return np.clip(free / sizes[group], 0, 1)


def top_k_jaccard(first: Numbers, second: Numbers, k: int | None = None) -> float:
    """Compute the Jaccard index (intersection over union) of the `k` most important positions of two maps.

    Range [0, 1], higher is more similar, 0 for empty maps. `k` is `top_size` by default. Two unrelated maps score about
    k / (2 L - k), as does a constant map with a map without ties.

    Raises:
        ValueError: `k` is below 1, or the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    first, second = (top_membership(values, [top_size(values.size, k)]) for values in (first, second))
    union = np.maximum(first, second).sum()
    return float(np.minimum(first, second).sum() / union) if union else 0.0


def map_consistency(first: Numbers, second: Numbers, k: int | None = None) -> float:
    """Compute the mean over i = 1..k of the share of the top i of one map that is in the top i of the other.

    Range [0, 1], higher is more similar, 0 for empty maps. This is the consistency (MAP) of the English/Chinese
    interpretability benchmark of Wang et al. (CoNLL 2022). `k` is the whole text by default, where unrelated maps score
    about 0.5.

    Raises:
        ValueError: `k` is below 1, or the maps are not finite vectors of one length.
    """
    first, second = _pair(first, second)
    depths = np.arange(1, (first.size if k is None else top_size(first.size, k)) + 1)
    if not depths.size:
        return 0.0
    blocks = np.array_split(depths, math.ceil(depths.size * first.size / BLOCK_ELEMENTS))
    shared = [np.minimum(top_membership(first, block), top_membership(second, block)).sum(1) for block in blocks]
    return float(np.mean(np.concatenate(shared) / depths))


def aligned(
    original: Numbers, perturbed: Numbers, alignment: Sequence[int | None] | None = None, name: str = "map"
) -> tuple[Vector, np.ndarray]:
    """Align the map of a perturbed text with the characters of the original text.

    Args:
        original: the map of the original text, (L,).
        perturbed: the map of the perturbed text, (L',).
        alignment: per original character its position in the perturbed text, `None` where it was removed; by default
            the texts have the same length and each character keeps its position.
        name: name of the map in error messages.

    Returns:
        (L,) values of `perturbed`, 0 where the character was removed, and (L,) booleans, whether it is present.

    Raises:
        ValueError: the maps are not finite vectors, the alignment is not as long as the original, or points outside.
    """
    original, perturbed = as_vector(original, name), as_vector(perturbed, f"perturbed {name}")
    if alignment is None:
        alignment = range(original.size)
        as_vector(perturbed, f"perturbed {name}", original.size)
    alignment = [-1 if position is None else position for position in alignment]
    positions = as_vector(alignment, f"alignment of {name}", original.size)
    if (positions >= perturbed.size).any() or (positions < -1).any() or (positions % 1).any():
        raise ValueError(f"alignment of {name} must point into the {perturbed.size} perturbed characters")
    present = positions >= 0
    values = np.zeros(original.size)
    values[present] = perturbed[positions[present].astype(np.intp)]
    return values, present


def _pair(first: Numbers, second: Numbers) -> tuple[Vector, Vector]:
    first = as_vector(first, "first map")
    return first, as_vector(second, "second map", first.size)


def role_window(
    values: Numbers, span: Sequence[int], present: np.ndarray | None = None, width: int = WIDTH
) -> tuple[np.ndarray, np.ndarray]:
    """Arrange a map by the role of each character, so that maps of different entities and texts can be compared.

    A role window has one slot for each of the `width` characters before the entity, one for its first character, one
    for the mean of its middle, one for its last character, and one for each of the `width` characters after it. A slot
    whose characters do not exist (beyond the text, or removed by a perturbation) is absent, not zero: two constant
    maps, or two that depend on the role alone, agree perfectly wherever their entities are.

    Args:
        values: the map, (L,).
        span: `(start, end)` of the entity, `end` exclusive. The middle is between its first and its last character, or
            the whole entity if it is shorter than three characters.
        present: (L,) booleans, which characters have a value; all by default.
        width: context characters on either side.

    Returns:
        (2 width + 3,) values, 0 in absent slots, and (2 width + 3,) booleans, whether the slot is present.

    Raises:
        ValueError: not a finite map, or the entity is outside it.
    """
    values = as_vector(values, "map")
    start, end = as_range(span, values.size)
    present = np.ones(values.size, dtype=bool) if present is None else present
    positions = np.concatenate([np.arange(start - width, start + 1), [end - 1], np.arange(end, end + width)])
    inside = (positions >= 0) & (positions < values.size)
    window_present = np.zeros(positions.size, dtype=bool)
    window_present[inside] = present[positions[inside]]
    window = np.zeros(positions.size)
    window[window_present] = values[positions[window_present]]
    middle = slice(start + 1, end - 1) if end - start > 2 else slice(start, end)
    middle_values = values[middle][present[middle]]
    window = np.insert(window, width + 1, middle_values.mean() if middle_values.size else 0.0)
    return window, np.insert(window_present, width + 1, middle_values.size > 0)


def stacked_windows(rows: Sequence[tuple[np.ndarray, np.ndarray]], width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Stack role windows to (windows, 2 width + 3) values and booleans, also where there are none."""
    slots = 2 * width + 3
    windows = np.array([values for values, _ in rows]).reshape(len(rows), slots)
    return windows, np.array([present for _, present in rows], dtype=bool).reshape(len(rows), slots)


def window_spearmans(
    first: np.ndarray, first_present: np.ndarray, second: np.ndarray, second_present: np.ndarray
) -> np.ndarray:
    """Compute the rank correlations of every first with every second role window, (m, slots), (n, slots) -> (m, n).

    Each is over the slots present in both; 0 where either window is constant there. Unlike in `spearman`, values that
    differ in the last digit differ, so that any strictly increasing change of a window leaves the result as it is.
    """
    second_signs = _signs(second)
    rows = max(1, BLOCK_ELEMENTS // max(1, second.size))
    blocks = [
        _spearmans(_signs(first[part]), first_present[part], second_signs, second_present)
        for part in (slice(start, start + rows) for start in range(0, len(first), rows))
    ]
    return np.concatenate([*blocks, np.zeros((0, len(second)))])


def _signs(windows: np.ndarray) -> np.ndarray:
    """(windows, slots) -> (windows, slots, slots), 1 where the first slot has the higher value, -1 where the second."""
    higher = windows[:, :, None] > windows[:, None, :]
    return higher.astype(np.float64) - higher.swapaxes(1, 2)


def _spearmans(
    first_signs: np.ndarray, first_present: np.ndarray, second_signs: np.ndarray, second_present: np.ndarray
) -> np.ndarray:
    """As `window_spearmans`; over any set of slots the sum of a slot's signs is twice its average rank, centred."""
    both = (first_present[:, None] & second_present).astype(np.float64)  # (m, n, slots)
    first_ranks = both @ first_signs.swapaxes(1, 2) * both
    second_ranks = (both.swapaxes(0, 1) @ second_signs.swapaxes(1, 2)).swapaxes(0, 1) * both
    products = (first_ranks * second_ranks).sum(axis=2)
    norms = (first_ranks**2).sum(axis=2) * (second_ranks**2).sum(axis=2)
    return np.divide(products, np.sqrt(norms), out=np.zeros_like(products), where=norms > 0).clip(-1, 1)


def window_cosines(
    first: np.ndarray, first_present: np.ndarray, second: np.ndarray, second_present: np.ndarray
) -> np.ndarray:
    """Compute the cosines of every first with every second role window, (m, slots) and (n, slots) -> (m, n).

    Each is over the slots present in both; 0 where either window is zero there, or no slot is shared.
    """
    first, second = _scaled(first, first_present), _scaled(second, second_present)
    products = first @ second.T  # (m, n)
    norms = (first**2 @ second_present.T) * (first_present @ (second**2).T)
    return np.divide(products, np.sqrt(norms), out=np.zeros_like(products), where=norms > 0).clip(-1, 1)


def _scaled(windows: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Scale each window to a largest magnitude of 1, so that squares neither overflow nor vanish."""
    windows = np.where(present, windows, 0.0)
    largest = np.abs(windows).max(axis=1, keepdims=True, initial=0.0)
    return np.divide(windows, largest, out=np.zeros_like(windows), where=largest > 0)


def members_by_label(labels: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the entities of each type."""
    members = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    return members


def contrast_summary(
    names: tuple[str, str, str], own: np.ndarray, others: np.ndarray, views: Sequence[Sequence[Numbers | None]]
) -> dict[str, Any]:
    """Return what a measure reports that takes the similarity to other entities off that to the entity itself.

    Args:
        names: of the difference, of `own` and of `others`.
        own, others: (entities,) mean similarities, NaN where an entity is not compared.
        views: per entity the maps of its perturbed texts, `None` where it was not predicted again.
    """
    difference = own - others
    compared = np.isfinite(difference)
    pairs, kept = sum(map(len, views)), sum(view is not None for entity in views for view in entity)
    return {
        **dict(zip(names, (mean_or_nan(values[compared]) for values in (difference, own, others)))),
        "entities": len(views),
        "compared": int(compared.sum()),
        "pairs": pairs,
        "kept": kept,
        "coverage": kept / pairs if pairs else float("nan"),
        "per_entity": [float(value) if np.isfinite(value) else None for value in difference],
    }
