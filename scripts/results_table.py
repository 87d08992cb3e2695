"""Turn records of finished runs into tables, and update sections of Markdown pages."""

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_adner.comparison.cross_validation import cross_validation_table
from hf_adner.files import write_file
from hf_adner.reporting import markdown_table

_CROSS_VALIDATION = "imcs-5-fold"
_HEADS = (
    "architecture", "strict F1", "precision", "recall", "flattened F1", "boundary F1", "seeds", "F1 per seed",
    "train s",
)  # fmt: skip


def results_markdown(records: Mapping[str, Any]) -> str:
    """Return a table per corpus: mean strict F1 (± sample standard deviation over seeds), boundary F1, F1 per seed.

    Args:
        records: record name (`corpus-architecture-seed`, or that of the cross-validation) -> JSON content.
    """
    corpora: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, record in records.items():
        if name != _CROSS_VALIDATION:
            architecture = record["model"]["architecture"]
            corpora[name.split(f"-{architecture}-")[0]][architecture].append(record)
    parts = [_corpus_table(corpus, runs) for corpus, runs in corpora.items()]
    if _CROSS_VALIDATION in records:
        parts.append(f"### {_CROSS_VALIDATION}\n\n{cross_validation_table(records[_CROSS_VALIDATION])}")
    return "\n".join(parts)


def load_records(folder: Path) -> dict[str, Any]:
    """Load all JSON files of a folder, by name without suffix, sorted."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def update_section(path: Path, heading: str, body: str) -> None:
    """Replace a section of a Markdown file, see `replace_section`."""
    write_file(path, [replace_section(path.read_text(encoding="utf-8"), heading, body)], "utf-8")


def replace_section(page: str, heading: str, body: str) -> str:
    """Return a Markdown page with one section replaced, or appended if the page does not have it.

    Args:
        page: Markdown text.
        heading: heading line of the section, such as ``## Speed``; the section ends before the next heading of the
            same or a higher level.
        body: new text of the section without the heading.

    Raises:
        ValueError: `heading` is not a Markdown heading.
    """
    if not re.fullmatch(r"#+ .+", heading):
        raise ValueError(f"{heading[:30]!r} is not a heading line of Markdown")
    lines = page.rstrip("\n").split("\n")
    headings = _headings(lines)
    first = next((number for number, line in headings if line == heading), len(lines))
    level = heading.index(" ")
    after = next((number for number, line in headings if number > first and line.index(" ") <= level), len(lines))
    sections = ["\n".join(lines[:first]), f"{heading}\n\n{body.strip()}", "\n".join(lines[after:])]
    return "\n\n".join(part.strip("\n") for part in sections if part.strip()) + "\n"


def _headings(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return (line number, text) of the heading lines outside fenced code."""
    headings, fenced = [], False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"#+ ", line):
            headings.append((number, line))
    return headings


def _corpus_table(corpus: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    first = next(iter(runs.values()))[0]
    documents, test = first["documents"], first["test"]
    lines = [
        f"### {corpus}\n",
        f"{documents['train']:,} training documents, {documents['test']:,} test documents, "
        f"{test['gold']:,} gold entities ({test['gold'] - test['flattened_gold']:,} nested), "
        f"{first['training']['num_train_epochs']:g} epochs, encoder layers: {first['model']['encoder_layers']}.\n",
        markdown_table(_HEADS, [_row(architecture, seeds) for architecture, seeds in runs.items()]),
    ]
    return "\n".join(lines) + "\n"


def _row(architecture: str, records: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    ordered = sorted(records, key=lambda record: record["training"]["seed"])
    seconds = statistics.mean(record["train_seconds"] for record in records)
    return architecture, *score_columns([record["test"] for record in ordered]), f"{seconds:.0f}"


def score_columns(tests: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Return strict F1, precision, recall, flattened F1 and boundary F1 in percent, the number of seeds, F1 per seed.

    Args:
        tests: the test figures of each seed.
    """
    figures = [
        [test["strict"]["f1"] for test in tests],
        [test["strict"]["precision"] for test in tests],
        [test["strict"]["recall"] for test in tests],
        [test["strict_flattened"]["f1"] for test in tests],
        [test["boundaries"]["untyped"]["both"]["f1"] for test in tests],
    ]
    per_seed = " ".join(f"{100 * value:.2f}" for value in figures[0])
    return *map(_percent, figures), len(tests), per_seed


def _percent(values: Sequence[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{deviation}"
