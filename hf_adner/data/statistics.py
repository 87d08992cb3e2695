"""What a corpus is made of: labels, lengths, nesting, and what its splits share.

Near-duplicates between splits: texts of the test set that training has all but seen.

Texts are compared as sets of character 8-grams (white space left out, lower case); the share of common ones is their
Jaccard similarity. MinHash (Broder 1997) finds the pairs worth comparing, banded so that a pair at the threshold is
found with a probability above 0.99; every reported similarity is then computed exactly. All of it is deterministic.

The statistics of a corpus as a picture.
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


QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class SplitStatistics:
    """One split.

    Attributes:
        documents: number of documents; `empty` of them hold no entity.
        empty: documents without entities.
        characters: characters of all texts.
        entities: entities, nested ones included; `nested` of them a flat tagger leaves out (outermost stay).
        nested: entities that flattening leaves out.
        labels: entities per label, most frequent first.
        surfaces: different entity texts per label.
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
    """Splits, and how far each split has been seen in another.

    Attributes:
        splits: statistics per split.
        seen_entities: (split, other) -> share of `split`'s entities whose text and label occur in `other`.
        duplicates: near-duplicate documents between splits.
    """

    splits: Mapping[str, SplitStatistics]
    seen_entities: Mapping[tuple[str, str], float]
    duplicates: OverlapReport

    def to_dict(self) -> dict[str, Any]:
        """Numbers only, ready for JSON: lengths as quantiles, pairs of splits as `split in other`."""
        pairs = {f"{split} in {other}": share for (split, other), share in self.seen_entities.items()}
        copies = {f"{split} in {other}": self.duplicates.share(split, other) for split, other in self.seen_entities}
        splits = {name: _plain(split) for name, split in self.splits.items()}
        return {"splits": splits, "seen_entities": pairs, "near_duplicates": copies}

    def to_markdown(self) -> str:
        """Three tables: splits, labels, what is shared."""
        return "\n\n".join((self._splits_table(), self._labels_table(), self._shared_table())) + "\n"

    def _splits_table(self) -> str:
        heads = ("documents", "without entity", "characters", "entities", "nested", "per 100 characters")
        rows = [
            (
                name, one.documents, one.empty, one.characters, one.entities, one.nested, f"{one.density:.2f}",
                _range(one.text_lengths), _range(one.entity_lengths),
            )
            for name, one in self.splits.items()
        ]  # fmt: skip
        lengths = ("text length: median (90 %, longest)", "entity length: median (90 %, longest)")
        return _table(("split", *heads, *lengths), rows)

    def _labels_table(self) -> str:
        labels = sorted({label for split in self.splits.values() for label in split.labels})
        rows = [
            (label, *(f"{one.labels.get(label, 0):,} ({one.surfaces.get(label, 0):,})" for one in self.splits.values()))
            for label in labels
        ]
        return _table(("label: entities (different texts)", *self.splits), rows)

    def _shared_table(self) -> str:
        rows = [
            (f"{split} in {other}", f"{100 * share:.1f} %", f"{100 * self.duplicates.share(split, other):.1f} %")
            for (split, other), share in self.seen_entities.items()
        ]
        return _table(("shared", "entities seen with their label", "near-duplicate documents"), rows)


def corpus_statistics(splits: Mapping[str, Sequence[Document]], threshold: float = 0.8) -> CorpusStatistics:
    """Statistics of documents by split.

    Args:
        splits: the documents of each split.
        threshold: similarity from which two texts count as near-duplicates (`near_duplicates`).
    """
    known = {name: set(_labelled_texts(split)) for name, split in splits.items()}
    pairs = [(name, other) for name in splits for other in splits if name != other]
    seen = {(name, other): _share_seen(splits[name], known[other]) for name, other in pairs}
    return CorpusStatistics(
        {name: _split_statistics(split) for name, split in splits.items()}, seen, near_duplicates(splits, threshold)
    )


def _split_statistics(documents: Sequence[Document]) -> SplitStatistics:
    entities = [one for document in documents for one in document.entities]
    surfaces = Counter(label for label, _ in {(one.label, one.text) for one in entities})
    return SplitStatistics(
        documents=len(documents),
        empty=sum(not document.entities for document in documents),
        characters=sum(len(document.text) for document in documents),
        entities=len(entities),
        nested=sum(len(flatten(document.entities).left_out) for document in documents),
        labels=dict(Counter(one.label for one in entities).most_common()),
        surfaces=dict(surfaces),
        text_lengths=sorted(len(document.text) for document in documents),
        entity_lengths=sorted(one.end - one.start for one in entities),
    )


def _share_seen(documents: Sequence[Document], known: set[tuple[str | None, str]]) -> float:
    entities = list(_labelled_texts(documents))
    return sum(one in known for one in entities) / max(1, len(entities))


def _labelled_texts(documents: Sequence[Document]) -> Iterator[tuple[str | None, str]]:
    return ((one.text, one.label) for document in documents for one in document.entities)


def _plain(split: SplitStatistics) -> dict[str, Any]:
    lengths = {name: _quantiles(getattr(split, name)) for name in ("text_lengths", "entity_lengths")}
    return {**asdict(split), **lengths, "density": split.density}


def _quantiles(ordered: Sequence[int]) -> dict[str, int]:
    return {f"{share:.0%}": ordered[round(share * (len(ordered) - 1))] for share in QUANTILES} if ordered else {}


def _range(ordered: Sequence[int]) -> str:
    if not ordered:
        return "-"
    return f"{statistics.median(ordered):g} ({ordered[round(0.9 * (len(ordered) - 1))]}, {ordered[-1]})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


_DOTS_PER_INCH = 120


def plot_statistics(statistics: CorpusStatistics, path: str | os.PathLike[str]) -> None:
    """Draw label mix, text lengths and entity lengths of every split side by side, as PNG, SVG or PDF by the suffix.

    Raises:
        ValueError: a suffix that matplotlib cannot write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    mix, texts, entities = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    _draw_labels(mix, statistics)
    _draw_lengths(texts, statistics, lambda split: split.text_lengths, "text length in characters", "documents")
    _draw_lengths(entities, statistics, lambda split: split.entity_lengths, "entity length in characters", "entities")
    texts.legend(frameon=False)
    write_figure(path, figure, _DOTS_PER_INCH)


def _draw_labels(axes, statistics: CorpusStatistics) -> None:
    totals: dict[str, int] = {}
    for split in statistics.splits.values():
        for label, count in split.labels.items():
            totals[label] = totals.get(label, 0) + count
    labels = sorted(totals, key=lambda label: totals[label])
    thickness = 0.8 / max(1, len(statistics.splits))
    for number, (name, split) in enumerate(statistics.splits.items()):
        shares = [100 * split.labels.get(label, 0) / max(1, split.entities) for label in labels]
        places = [row + 0.4 - (number + 0.5) * thickness for row in range(len(labels))]
        axes.barh(places, shares, height=thickness, label=name)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("share of the split's entities, %")
    axes.set_title("labels")


def _draw_lengths(
    axes, statistics: CorpusStatistics, lengths_of: Callable[..., Sequence[int]], title: str, unit: str
) -> None:
    for name, split in statistics.splits.items():
        ordered = lengths_of(split)
        if ordered:
            shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
            axes.step(ordered, shares, where="post", label=name)
    axes.set_xlabel(title)
    axes.set_ylabel(f"{unit} up to that length, %")
    if axes.lines:
        axes.set_xscale("log")
    axes.set_title(title.split(" in ")[0])
