"""Records of finished runs as the Markdown of `model_cards/RESULTS.md`."""

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from hf_adner.comparison.cross_validation import markdown_table

_CROSS_VALIDATION = "imcs-5-fold"
_HEADS = (
    "architecture", "strict F1", "precision", "recall", "flattened F1", "boundary F1", "seeds", "F1 per seed",
    "train s",
)  # fmt: skip


def results_markdown(records: Mapping[str, Any]) -> str:
    """All records, by corpus: mean strict F1 (± sample standard deviation over seeds), boundaries, per-seed figures.

    Args:
        records: record name (`corpus-architecture-seed`, or the cross-validation's) -> its JSON content.
    """
    corpora: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, record in records.items():
        if name != _CROSS_VALIDATION:
            architecture = record["model"]["architecture"]
            corpora[name.split(f"-{architecture}-")[0]][architecture].append(record)
    parts = [_corpus_table(corpus, runs) for corpus, runs in corpora.items()]
    if _CROSS_VALIDATION in records:
        parts.append(f"### {_CROSS_VALIDATION}\n\n{markdown_table(records[_CROSS_VALIDATION])}")
    return "\n".join(parts)


def replace_section(page: str, heading: str, body: str) -> str:
    """A Markdown page with one section made anew; a section that is not there yet is appended.

    Args:
        page: the page.
        heading: the section's whole heading line, such as ``## Speed``; the section ends before the next heading of the
            same or a higher level.
        body: its text without the heading.

    Raises:
        ValueError: `heading` is not a Markdown heading.
    """
    if not re.fullmatch(r"#+ .+", heading):
        raise ValueError(f"{heading[:30]!r} is not a heading line of Markdown")
    lines = page.rstrip("\n").split("\n")
    headings = _headings(lines)
    first = next((n for n, found in headings if found == heading), len(lines))
    level = heading.index(" ")
    after = next((n for n, found in headings if n > first and found.index(" ") <= level), len(lines))
    sections = ["\n".join(lines[:first]), f"{heading}\n\n{body.strip()}", "\n".join(lines[after:])]
    return "\n\n".join(part.strip("\n") for part in sections if part.strip()) + "\n"


def _headings(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Number and text of the heading lines outside fenced code."""
    found, fenced = [], False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"#+ ", line):
            found.append((number, line))
    return found


def _corpus_table(corpus: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    first = next(iter(runs.values()))[0]
    documents, test = first["documents"], first["test"]
    lines = [
        f"### {corpus}\n",
        f"{documents['train']:,} training documents, {documents['test']:,} test documents, "
        f"{test['gold']:,} gold entities ({test['gold'] - test['flattened_gold']:,} nested), "
        f"{first['training']['num_train_epochs']:g} epochs, encoder layers: {first['model']['encoder_layers']}.\n",
        f"| {' | '.join(_HEADS)} |",
        "|---" * len(_HEADS) + "|",
    ]
    return "\n".join([*lines, *(_row(architecture, found) for architecture, found in runs.items())]) + "\n"


def _row(architecture: str, found: Sequence[Mapping[str, Any]]) -> str:
    tests = [record["test"] for record in sorted(found, key=lambda record: record["training"]["seed"])]
    figures = [
        [test["strict"]["f1"] for test in tests],
        [test["strict"]["precision"] for test in tests],
        [test["strict"]["recall"] for test in tests],
        [test["strict_flattened"]["f1"] for test in tests],
        [test["boundaries"]["untyped"]["both"]["f1"] for test in tests],
    ]
    singles = " ".join(f"{100 * value:.2f}" for value in figures[0])
    seconds = statistics.mean(record["train_seconds"] for record in found)
    cells = " | ".join(_percent(values) for values in figures)
    return f"| {architecture} | {cells} | {len(tests)} | {singles} | {seconds:.0f} |"


def _percent(values: Sequence[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{deviation}"
