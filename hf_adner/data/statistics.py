"""What a corpus is made of: labels, lengths, nesting, and what its splits share."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hf_adner.data.overlap import OverlapReport, near_duplicates
from hf_adner.data.records import Document, flatten

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
