"""Near-duplicates between splits: texts of the test set that training has all but seen.

Texts are compared as sets of character 8-grams (white space left out, lower case); the share of common ones is their
Jaccard similarity. MinHash (Broder 1997) finds the pairs worth comparing, banded so that a pair at the threshold is
found with a probability above 0.99; every reported similarity is then computed exactly. All of it is deterministic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from hf_adner.data.records import Document

GRAM = 8
HASHES = 64
_BATCH = 2000  # texts hashed at a time
_MISSED = 0.01
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_KEYS = np.random.default_rng(20).integers(1, 2**63, size=HASHES, dtype=np.uint64)


class NearDuplicate(NamedTuple):
    """A document and the one most like it in another split."""

    split: str
    id: str
    other_split: str
    other_id: str
    similarity: float


class OverlapReport(NamedTuple):
    """What splits share.

    Attributes:
        documents: number of documents per split.
        duplicates: per document and other split the most similar document there, if it reaches the threshold; sorted.
    """

    documents: dict[str, int]
    duplicates: list[NearDuplicate]

    def share(self, split: str, other_split: str) -> float:
        """Share of the documents of `split` that have a near-duplicate in `other_split`."""
        found = sum(one.split == split and one.other_split == other_split for one in self.duplicates)
        return found / max(1, self.documents[split])


def near_duplicates(splits: Mapping[str, Iterable[Document]], threshold: float = 0.8) -> OverlapReport:
    """Find documents that have a near-duplicate in another split.

    Args:
        splits: the documents of each split.
        threshold: similarity from which two texts count as near-duplicates, above 0 and at most 1.

    Raises:
        ValueError: a threshold outside that range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, found {threshold}")
    owners: dict[str, list[tuple[str, str]]] = defaultdict(list)
    documents: dict[str, int] = {}
    for split, members in splits.items():
        documents[split] = 0
        for document in members:
            documents[split] += 1
            owners[comparable(document.text)].append((split, document.id))
    texts = list(owners)
    best: dict[tuple[str, str, str], NearDuplicate] = {}
    for first, second, similarity in _similar_pairs(texts, threshold):
        _note(best, owners[texts[first]], owners[texts[second]], similarity)
    return OverlapReport(documents, sorted(best.values()))


def comparable(text: str) -> str:
    """The text without white space, in lower case, filled up to the length of one gram."""
    return "".join(text.lower().split()).ljust(GRAM, "\0")


def jaccard(first: str, second: str) -> float:
    """Share of common 8-grams of two comparable texts."""
    grams, others = ({text[start : start + GRAM] for start in range(len(text) - GRAM + 1)} for text in (first, second))
    return len(grams & others) / len(grams | others)


def _similar_pairs(texts: list[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    for index in range(len(texts)):
        yield index, index, 1.0
    for first, second in sorted(_candidates(texts, threshold)):
        similarity = jaccard(texts[first], texts[second])
        if similarity >= threshold:
            yield first, second, similarity


def _candidates(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    """Pairs of texts that agree in a band of their MinHash signatures."""
    batches = [signatures(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    rows = _rows_per_band(threshold)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, HASHES - rows + 1, rows):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        bands = (band for batch in batches for band in np.ascontiguousarray(batch[:, start : start + rows]))
        for index, band in enumerate(bands):
            buckets[band.tobytes()].append(index)
        for members in buckets.values():
            pairs.update(combinations(members, 2))
    return pairs


def signatures(texts: list[str]) -> np.ndarray:
    """MinHash signatures of comparable texts: the least hash of their grams under each keyed function.

    Returns:
        (texts, hashes) uint64.
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    grams = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
    for offset in range(GRAM):
        grams = _mixed(grams ^ codes[offset : offset + len(grams)])
    ends = np.cumsum([len(text) for text in texts])
    within = np.ones(len(codes), dtype=bool)
    for back in range(1, GRAM):
        within[ends - back] = False  # grams that begin here would run into the next text
    grams = grams[within[: len(grams)]]
    sizes = np.array([len(text) - GRAM + 1 for text in texts])
    starts = np.cumsum(sizes) - sizes
    return np.stack([np.minimum.reduceat(_mixed(grams ^ key), starts) for key in _KEYS], axis=1)


def _mixed(values: np.ndarray) -> np.ndarray:
    """A 64-bit mixing step: values that differ a little become values that differ everywhere."""
    values = (values + np.uint64(1)) * _MULTIPLIER
    values ^= values >> np.uint64(32)
    values *= _MULTIPLIER
    return values ^ (values >> np.uint64(29))


def _rows_per_band(threshold: float) -> int:
    """The longest bands that still find a pair at the threshold almost surely: fewest needless comparisons."""
    fitting = [rows for rows in range(1, HASHES + 1) if (1 - threshold**rows) ** (HASHES // rows) <= _MISSED]
    return max(fitting, default=1)


def _note(
    best: dict[tuple[str, str, str], NearDuplicate],
    firsts: list[tuple[str, str]],
    seconds: list[tuple[str, str]],
    similarity: float,
) -> None:
    for own, others in ((firsts, seconds), (seconds, firsts)):
        chosen: dict[str, str] = {}
        for split, name in others:
            chosen.setdefault(split, name)
        for split, name in own:
            for other_split, other_name in chosen.items():
                key = (split, name, other_split)
                if other_split != split and (key not in best or best[key].similarity < similarity):
                    best[key] = NearDuplicate(split, name, other_split, other_name, similarity)
