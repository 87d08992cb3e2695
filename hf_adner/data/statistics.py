"""Statistics of a corpus: entities and lengths per split, and what splits share; as tables, JSON and a plot.

Near-duplicate documents of different splits are found by the Jaccard similarity of their sets of character 8-grams
(without white space, in lower case). Candidate pairs come from banded MinHash signatures (Broder 1997), which find a
pair at the threshold with a probability above 0.99; reported similarities are exact. All of it is deterministic.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from hf_adner.data.records import Document, flatten
from hf_adner.files import write_figure
from hf_adner.reporting import NOTHING, markdown_table, new_figure

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
GRAM = 8
HASHES = 64
_DOTS_PER_INCH = 120
_BATCH = 2000
"""Number of texts that are hashed at a time."""
_MAX_MISS_RATE = 0.01
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_KEYS = np.random.default_rng(20).integers(1, 2**63, size=HASHES, dtype=np.uint64)


@dataclass(frozen=True)
class SplitStatistics:
    """Statistics of one split.

    Attributes:
        documents: number of documents.
        empty: number of documents without entities.
        characters: number of characters of all texts.
        entities: number of entities, including nested entities.
        nested: number of entities that flattening to the outermost drops.
        labels: number of entities per label, most frequent first.
        surfaces: number of distinct entity texts per label.
        text_lengths: characters of each text, sorted.
        entity_lengths: characters of each entity, sorted.
    """

    documents: int
    empty: int
    characters: int
    entities: int
    nested: int
    labels: Mapping[str, int]
    surfaces: Mapping[str, int]
    text_lengths: Sequence[int]
    entity_lengths: Sequence[int]

    @property
    def density(self) -> float:
        """Entities per 100 characters."""
        return 100 * self.entities / max(1, self.characters)


@dataclass(frozen=True)
class CorpusStatistics:
    """Statistics of the splits of a corpus, and of what they share.

    Attributes:
        splits: statistics per split.
        seen_entities: (split, other) -> share of the entities of `split` whose text and label occur in `other`.
        duplicates: near-duplicate documents between splits.
    """

    splits: Mapping[str, SplitStatistics]
    seen_entities: Mapping[tuple[str, str], float]
    duplicates: OverlapReport

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON values, with quantiles of lengths and `split in other` for pairs of splits."""
        pairs = {f"{split} in {other}": share for (split, other), share in self.seen_entities.items()}
        duplicates = {f"{split} in {other}": self.duplicates.share(split, other) for split, other in self.seen_entities}
        splits = {name: _split_to_dict(split) for name, split in self.splits.items()}
        return {"splits": splits, "seen_entities": pairs, "near_duplicates": duplicates}

    def to_markdown(self) -> str:
        """Return tables: splits, labels, and what several splits share."""
        shared = [self._shared_table()] if self.seen_entities else []
        return "\n\n".join((self._splits_table(), self._labels_table(), *shared)) + "\n"

    def _splits_table(self) -> str:
        heads = ("documents", "without entity", "characters", "entities", "nested", "per 100 characters")
        rows = [
            (
                name, split.documents, split.empty, split.characters, split.entities, split.nested,
                f"{split.density:.2f}", _length_summary(split.text_lengths), _length_summary(split.entity_lengths),
            )
            for name, split in self.splits.items()
        ]  # fmt: skip
        lengths = ("text length: median (90 %, longest)", "entity length: median (90 %, longest)")
        return markdown_table(("split", *heads, *lengths), rows)

    def _labels_table(self) -> str:
        splits = self.splits.values()
        labels = sorted({label for split in splits for label in split.labels})
        rows = [
            (label, *(f"{split.labels.get(label, 0):,} ({split.surfaces.get(label, 0):,})" for split in splits))
            for label in labels
        ]
        return markdown_table(("label: entities (different texts)", *self.splits), rows)

    def _shared_table(self) -> str:
        rows = [
            (f"{split} in {other}", f"{100 * share:.1f} %", f"{100 * self.duplicates.share(split, other):.1f} %")
            for (split, other), share in self.seen_entities.items()
        ]
        return markdown_table(("shared", "entities seen with their label", "near-duplicate documents"), rows)


def corpus_statistics(splits: Mapping[str, Sequence[Document]], threshold: float = 0.8) -> CorpusStatistics:
    """Compute the statistics of a corpus.

    Args:
        splits: the documents of each split.
        threshold: minimum similarity of near-duplicates; see `near_duplicates`.
    """
    entity_types = {name: set(_labelled_texts(split)) for name, split in splits.items()}
    pairs = [(name, other) for name in splits for other in splits if name != other]
    seen = {(name, other): _share_seen(splits[name], entity_types[other]) for name, other in pairs}
    return CorpusStatistics(
        {name: _split_statistics(split) for name, split in splits.items()}, seen, near_duplicates(splits, threshold)
    )


def _split_statistics(documents: Sequence[Document]) -> SplitStatistics:
    entities = [entity for document in documents for entity in document.entities]
    surfaces = Counter(label for label, _ in {(entity.label, entity.text) for entity in entities})
    return SplitStatistics(
        documents=len(documents),
        empty=sum(not document.entities for document in documents),
        characters=sum(len(document.text) for document in documents),
        entities=len(entities),
        nested=sum(len(flatten(document.entities).left_out) for document in documents),
        labels=dict(Counter(entity.label for entity in entities).most_common()),
        surfaces=dict(surfaces),
        text_lengths=sorted(len(document.text) for document in documents),
        entity_lengths=sorted(entity.end - entity.start for entity in entities),
    )


def _share_seen(documents: Sequence[Document], seen: set[tuple[str | None, str]]) -> float:
    entities = list(_labelled_texts(documents))
    return sum(entity in seen for entity in entities) / max(1, len(entities))


def _labelled_texts(documents: Sequence[Document]) -> Iterator[tuple[str | None, str]]:
    return ((entity.text, entity.label) for document in documents for entity in document.entities)


def _split_to_dict(split: SplitStatistics) -> dict[str, Any]:
    lengths = {name: _quantiles(getattr(split, name)) for name in ("text_lengths", "entity_lengths")}
    return {**asdict(split), **lengths, "density": split.density}


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    return {f"{share:.0%}": values[round(share * (len(values) - 1))] for share in QUANTILES} if values else {}


def _length_summary(values: Sequence[int]) -> str:
    """Return median, 90 % quantile and maximum of sorted values."""
    if not values:
        return NOTHING
    return f"{statistics.median(values):g} ({values[round(0.9 * (len(values) - 1))]}, {values[-1]})"


class NearDuplicate(NamedTuple):
    """A document and the most similar document in another split."""

    split: str
    id: str
    other_split: str
    other_id: str
    similarity: float


class OverlapReport(NamedTuple):
    """Near-duplicates between splits.

    Attributes:
        documents: number of documents per split.
        duplicates: for each document and other split the most similar document there, if it reaches the threshold;
            sorted.
    """

    documents: dict[str, int]
    duplicates: list[NearDuplicate]

    def share(self, split: str, other_split: str) -> float:
        """Return the share of the documents of `split` that have a near-duplicate in `other_split`."""
        count = sum(pair.split == split and pair.other_split == other_split for pair in self.duplicates)
        return count / max(1, self.documents[split])


def near_duplicates(splits: Mapping[str, Iterable[Document]], threshold: float = 0.8) -> OverlapReport:
    """Find documents that have a near-duplicate in another split.

    Args:
        splits: the documents of each split.
        threshold: minimum similarity of near-duplicates, in (0, 1].

    Raises:
        ValueError: `threshold` is outside that range.
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
        _update_best(best, owners[texts[first]], owners[texts[second]], similarity)
    return OverlapReport(documents, sorted(best.values()))


def comparable(text: str) -> str:
    """Return the text without white space, in lower case, padded to the length of one n-gram."""
    return "".join(text.lower().split()).ljust(GRAM, "\0")


def jaccard(first: str, second: str) -> float:
    """Return the Jaccard similarity of the sets of 8-grams of two comparable texts."""
    grams, other_grams = (
        {text[start : start + GRAM] for start in range(len(text) - GRAM + 1)} for text in (first, second)
    )
    return len(grams & other_grams) / len(grams | other_grams)


def _similar_pairs(texts: list[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    for index in range(len(texts)):
        yield index, index, 1.0
    for first, second in sorted(_candidates(texts, threshold)):
        similarity = jaccard(texts[first], texts[second])
        if similarity >= threshold:
            yield first, second, similarity


def _candidates(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    """Return the pairs of texts that agree in a band of their MinHash signatures."""
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
    """Return the MinHash signatures of comparable texts: the minimum hash of their n-grams for each key.

    Returns:
        (texts, hashes) uint64.
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    grams = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
    for offset in range(GRAM):
        grams = _mix(grams ^ codes[offset : offset + len(grams)])
    ends = np.cumsum([len(text) for text in texts])
    is_inside = np.ones(len(codes), dtype=bool)
    for back in range(1, GRAM):
        is_inside[ends - back] = False  # n-grams that begin here extend into the next text
    grams = grams[is_inside[: len(grams)]]
    sizes = np.array([len(text) - GRAM + 1 for text in texts])
    starts = np.cumsum(sizes) - sizes
    return np.stack([np.minimum.reduceat(_mix(grams ^ key), starts) for key in _KEYS], axis=1)


def _mix(values: np.ndarray) -> np.ndarray:
    """Hash 64-bit integers, so that similar values get unrelated hashes."""
    values = (values + np.uint64(1)) * _MULTIPLIER
    values ^= values >> np.uint64(32)
    values *= _MULTIPLIER
    return values ^ (values >> np.uint64(29))


def _rows_per_band(threshold: float) -> int:
    """Return the longest bands that find a pair at the threshold, for the fewest comparisons."""
    band_sizes = [rows for rows in range(1, HASHES + 1) if (1 - threshold**rows) ** (HASHES // rows) <= _MAX_MISS_RATE]
    return max(band_sizes, default=1)


def _update_best(
    best: dict[tuple[str, str, str], NearDuplicate],
    firsts: list[tuple[str, str]],
    seconds: list[tuple[str, str]],
    similarity: float,
) -> None:
    """Record the similarity of two texts for the (split, id) of the documents that have them."""
    for documents, others in ((firsts, seconds), (seconds, firsts)):
        first_of_split: dict[str, str] = {}
        for split, document_id in others:
            first_of_split.setdefault(split, document_id)
        for split, document_id in documents:
            for other_split, other_id in first_of_split.items():
                key = (split, document_id, other_split)
                if other_split != split and (key not in best or best[key].similarity < similarity):
                    best[key] = NearDuplicate(split, document_id, other_split, other_id, similarity)


def plot_statistics(statistics: CorpusStatistics, path: str | os.PathLike[str]) -> None:
    """Plot labels, text lengths and entity lengths of all splits to a file, in the format of its suffix.

    Raises:
        ValueError: matplotlib does not support the suffix.
    """
    figure = new_figure(13, 4.2)
    labels, texts, entities = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    _draw_labels(labels, statistics)
    _draw_lengths(texts, statistics, lambda split: split.text_lengths, "text length in characters", "documents")
    _draw_lengths(entities, statistics, lambda split: split.entity_lengths, "entity length in characters", "entities")
    texts.legend(frameon=False)
    write_figure(path, figure, _DOTS_PER_INCH)


def _draw_labels(axes, statistics: CorpusStatistics) -> None:
    totals: Counter[str] = Counter()
    for split in statistics.splits.values():
        totals.update(split.labels)
    labels = sorted(totals, key=lambda label: totals[label])
    thickness = 0.8 / max(1, len(statistics.splits))
    for number, (name, split) in enumerate(statistics.splits.items()):
        shares = [100 * split.labels.get(label, 0) / max(1, split.entities) for label in labels]
        positions = [row + 0.4 - (number + 0.5) * thickness for row in range(len(labels))]
        axes.barh(positions, shares, height=thickness, label=name)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_xlabel("share of the split's entities, %")
    axes.set_title("labels")


def _draw_lengths(
    axes, statistics: CorpusStatistics, lengths_of: Callable[..., Sequence[int]], title: str, unit: str
) -> None:
    for name, split in statistics.splits.items():
        lengths = lengths_of(split)
        if lengths:
            shares = [100 * number / len(lengths) for number in range(1, len(lengths) + 1)]
            axes.step(lengths, shares, where="post", label=name)
    axes.set_xlabel(title)
    axes.set_ylabel(f"{unit} up to that length, %")
    if axes.lines:
        axes.set_xscale("log")
    axes.set_title(title.split(" in ")[0])
