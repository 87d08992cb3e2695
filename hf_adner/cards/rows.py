"""The lines of a card's tables, their cells as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hf_adner.cards import markdown
from hf_adner.cards.labels import Label


def label_row(label: Label) -> tuple[str, ...]:
    """Name, definition where there is one, training entities, different texts."""
    middle = () if label.definition is None else (markdown.text(label.definition),)
    return markdown.cell(label.name), *middle, markdown.cell(label.entities), markdown.cell(label.surfaces)


def entity_rows(entities: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each entity that was found: characters, label, score with two decimals."""
    for one in entities:
        yield markdown.cell(one["word"]), markdown.cell(one["entity_group"]), f"{one['score']:.2f}"


def score_rows(scores: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for each label and one for all: strict precision, recall, F1, gold, predicted."""
    for name, figures in scores["strict"]["per_label"].items():
        yield markdown.cell(name), *_figures(figures), *_counts(figures)
    yield "**all**", *_figures(scores["strict"]), *_counts(scores["strict"])


def boundary_rows(scores: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for starts, ends and both: precision, recall, F1, the label ignored."""
    for edge, figures in scores["boundaries"]["untyped"].items():
        yield markdown.cell(edge), *_figures(figures)


def _figures(scores: Mapping[str, Any]) -> Iterator[str]:
    return (markdown.cell(float(scores[name])) for name in ("precision", "recall", "f1"))


def _counts(scores: Mapping[str, Any]) -> Iterator[str]:
    return (markdown.cell(scores[name]) for name in ("support", "predicted"))


def split_rows(statistics: Mapping[str, Any] | None) -> Iterator[tuple[str, ...]]:
    """A line for each split: counts, density, lengths."""
    for name, split in (statistics or {}).get("splits", {}).items():
        counts = (split[key] for key in ("documents", "empty", "characters", "entities", "nested"))
        lengths = split["text_lengths"]
        spread = f"{lengths['50%']} ({lengths['90%']}, {lengths['100%']})" if lengths else markdown.NOTHING
        yield markdown.cell(name), *map(markdown.cell, counts), f"{split['density']:.1f}", spread


def shared_rows(statistics: Mapping[str, Any] | None) -> Iterator[tuple[str, ...]]:
    """A line for each split and where its entities and documents were seen before, training itself left out."""
    copies = (statistics or {}).get("near_duplicates", {})
    for pair, seen in (statistics or {}).get("seen_entities", {}).items():
        if not pair.startswith("train in "):
            yield markdown.cell(pair), markdown.share(seen), markdown.share(copies.get(pair, 0.0))


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each hyper-parameter, sorted by name."""
    return [(f"`{name}`", markdown.setting(value)) for name, value in sorted(settings.items())]


def version_rows(versions: Mapping[str, str]) -> list[Sequence[str]]:
    """A line for each library."""
    return [(markdown.text(name), markdown.text(number)) for name, number in versions.items()]


def hardware_line(found: Mapping[str, Any]) -> str:
    """The machine in a line."""
    if not found:
        return "not recorded"
    processor = f"{found.get('threads', '?')} of {found.get('cores', '?')} cores ({found.get('cpu', 'unknown CPU')})"
    if not found.get("accelerators"):
        return markdown.text(f"CPU only, {processor}")
    return markdown.text(f"{found['accelerators']} × {found['accelerator']}, {processor}")
