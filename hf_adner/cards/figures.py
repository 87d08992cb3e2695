"""Reports of nested figures as Markdown tables, whatever their shape, with nothing in them but figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hf_adner.cards import markdown

COLUMNS = ("explainers", "families")
"""Parts of a report whose members are set side by side, a column each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,:%@/()+=@-]{0,59}")
_CENTRES = ("mean", "value", "estimate", "score")
_DEEPEST = 5
Path = tuple[str, ...]


def figures(report: Mapping[str, Any], labels: Sequence[str] = ()) -> dict[Path, str]:
    """Path of keys -> figure as text, for every finite number of a report, intervals as `0.8123 (0.7900–0.8300)`.

    Only numbers are taken, and only under keys that are names in ASCII or among `labels`: a report that holds text by
    mistake cannot bring it into a card.
    """
    return dict(_leaves(report, (), set(labels)))


def _leaves(report: Mapping[str, Any], path: Path, labels: set[str]) -> Iterator[tuple[Path, str]]:
    for key, value in report.items():
        key = str(key)
        if not (_NAME.fullmatch(key) or key in labels) or len(path) == _DEEPEST:
            continue
        if isinstance(value, Mapping):
            interval = _interval(value)
            if interval is None:
                yield from _leaves(value, (*path, key), labels)
            else:
                yield (*path, key), interval
        elif _is_number(value):
            yield (*path, key), markdown.cell(value)


def _interval(value: Mapping[str, Any]) -> str | None:
    centre = next((value[name] for name in _CENTRES if name in value), None)
    if not {"low", "high"} <= value.keys() or not all(map(_is_number, (centre, value["low"], value["high"]))):
        return None
    low, high = (markdown.cell(float(value[end])) for end in ("low", "high"))
    return f"{markdown.cell(float(centre))} ({low}–{high})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def figure_tables(report: Mapping[str, Any] | None, labels: Sequence[str] = ()) -> str:
    """The figures of a report: what `COLUMNS` names side by side, all others in a list; "" if there are none."""
    if not report:
        return ""
    wide = [_columns(report[name], labels) for name in COLUMNS if isinstance(report.get(name), Mapping)]
    others = {key: value for key, value in report.items() if key not in COLUMNS}
    rows = [(_title(path), value) for path, value in figures(others, labels).items()]
    narrow = markdown.table(rows, ("figure", "value"), "lr") if rows else ""
    return "".join(f"\n{one}\n" for one in (*wide, narrow) if one)


def _title(path: Path) -> str:
    return markdown.text(" ".join(path).replace("_", " "))


def _columns(members: Mapping[str, Any], labels: Sequence[str]) -> str:
    """A table with a row per figure and a column per member; the other way round where members outnumber figures."""
    found = {name: figures(part, labels) for name, part in members.items() if isinstance(part, Mapping)}
    found = {name: part for name, part in found.items() if part and _NAME.fullmatch(name)}
    paths = list(dict.fromkeys(path for part in found.values() for path in part))
    if not paths:
        return ""
    titles = list(map(_title, paths))
    cells = [[part.get(path, markdown.NOTHING) for path in paths] for part in found.values()]
    names = list(map(markdown.text, found))
    if len(found) > len(paths):
        lines = [(name, *line) for name, line in zip(names, cells)]
        return markdown.table(lines, ("", *titles), "l" + "r" * len(titles))
    lines = [(title, *line) for title, line in zip(titles, zip(*cells))]
    return markdown.table(lines, ("figure", *names), "l" + "r" * len(names))
