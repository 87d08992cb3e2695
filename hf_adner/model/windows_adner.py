"""Split texts that are longer than the model's input into windows, and merge the entities of the windows.

All positions are characters of the text, ends exclusive. Windows cover the text without gaps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

SENTENCE_ENDS = "。！？；!?;\n"
MOST_PADDING = 8
"""Characters of padding that a row may always have: a batch of its own would cost more."""

EntityT = TypeVar("EntityT", bound=Mapping[str, Any] | Sequence[Any])


class Window(NamedTuple):
    """A range of characters of a text, end exclusive."""

    start: int
    end: int


def prediction_windows(length: int, size: int, overlap: int) -> list[Window]:
    """Cover a text with windows of equal size.

    Args:
        length: characters of the text; an empty text has no window.
        size: characters per window; only a shorter text has a smaller window.
        overlap: characters that neighbours share; the last window ends with the text and may share more.

    Raises:
        ValueError: a negative length, a size below 1, or an overlap outside 0..size-1.
    """
    _check_sizes(length, size, overlap)
    if length <= size:
        return [Window(0, length)] if length else []
    starts = [*range(0, length - size, size - overlap), length - size]
    return [Window(start, start + size) for start in starts]


def owned_ranges(windows: Sequence[Window]) -> list[Window]:
    """Return for each window the characters that have more context in it than in its neighbours.

    The overlap of two neighbours is split in half, so the ranges partition the text.

    Args:
        windows: sorted, starts and ends strictly rising, without gaps.

    Raises:
        ValueError: the windows have another order, or a gap.
    """
    for left, right in zip(windows, windows[1:]):
        if not left.start < right.start <= left.end < right.end:
            raise ValueError(f"{right} after {left}: expected rising starts and ends without a gap")
    cuts = [(left.end + right.start) // 2 for left, right in zip(windows, windows[1:])]
    starts = [windows[0].start, *cuts] if windows else []
    ends = [*cuts, windows[-1].end] if windows else []
    return [Window(start, end) for start, end in zip(starts, ends)]


def length_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the numbers of rows in batches of similar length, the longest first: too little memory shows at once.

    With padding no batch has more characters than `batch_size` rows of the greatest length, so that short rows share
    larger batches; in each row at most an eighth, or `MOST_PADDING` characters, are padding.

    Args:
        lengths: characters of each row, at least 1.
        batch_size: at least 1.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batch: list[int] = []
    for row in order:
        longest = lengths[batch[0]] if batch else lengths[row]
        is_full = (len(batch) + 1) * longest > batch_size * lengths[order[0]]
        if is_full or longest - lengths[row] > max(longest // 8, MOST_PADDING):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def training_windows(
    length: int, size: int, overlap: int, spans: Iterable[Sequence[Any]], text: str | None = None
) -> list[Window]:
    """Cover a text with windows whose edges never cut a span: every span is wholly inside or outside a window.

    A window ends at the last allowed position within `size`; the next window starts at the last allowed position that
    leaves `overlap`, or later if it would not advance otherwise.

    Args:
        length: characters of the text; an empty text has no window.
        size: maximum characters per window.
        overlap: characters that neighbours share, if the spans allow it.
        spans: sequences that begin with start and end; they may be nested or overlap.
        text: the text; if given, edges are moved to the end of a sentence nearby.

    Raises:
        ValueError: as for `prediction_windows`; a span that is empty or out of range; a span, or a chain of overlapping
            spans, longer than `size`.
    """
    _check_sizes(length, size, overlap)
    if text is not None and len(text) != length:
        raise ValueError(f"the text has {len(text)} characters, expected {length}")
    edges = _Edges(_blocks(spans, length, size), text)
    windows, start = [], 0
    while length - start > size:
        covered = windows[-1].end if windows else start
        end = edges.last_before(start + size, at_least=covered + 1, near=size // 4)
        windows.append(Window(start, end))
        start = edges.next_start(start, end, size, overlap)
    return [*windows, Window(start, length)] if length else []


def merge_window_entities(windows: Sequence[Window], entities_per_window: Sequence[Iterable[EntityT]]) -> list[EntityT]:
    """Merge the entities of overlapping windows into one list, sorted by start, without overlaps.

    An entity is taken from the window that owns its middle character (`owned_ranges`). Of overlapping entities the one
    with more context in its window is kept, then the longer, then the earlier.

    Args:
        windows: from `prediction_windows`.
        entities_per_window: per window its entities with positions in the whole text, as mappings with ``start`` and
            ``end`` or sequences that begin with them.

    Raises:
        ValueError: not one list per window, or an entity that is empty or not within its window.
    """
    candidates = list(_owned(windows, entities_per_window))
    candidates.sort(key=lambda candidate: candidate[:3])
    return [candidate.entity for group in _overlapping_groups(candidates) for candidate in _without_overlaps(group)]


def merge_by_label(
    windows: Sequence[Window], entities_per_window: Sequence[Iterable[EntityT]], label_of: Callable[[EntityT], str]
) -> list[EntityT]:
    """Merge the entities of overlapping windows, those of each label by themselves; of different labels they overlap.

    Args:
        windows, entities_per_window: as for `merge_window_entities`.
        label_of: returns the label of an entity.

    Returns:
        The entities sorted by start, longer first, then by label.

    Raises:
        ValueError: as for `merge_window_entities`.
    """
    found = [list(entities) for entities in entities_per_window]
    labels = sorted({label_of(entity) for entities in found for entity in entities})
    merged = []
    for label in labels:
        own = [[entity for entity in entities if label_of(entity) == label] for entities in found]
        merged += merge_window_entities(windows, own)
    return sorted(merged, key=lambda entity: (_span_of(entity)[0], -_span_of(entity)[1]))


def owned_entities(windows: Sequence[Window], entities_per_window: Sequence[Iterable[EntityT]]) -> list[EntityT]:
    """Return the entities of overlapping windows, each from the window that owns its middle character.

    Unlike those of `merge_window_entities` they may overlap; arguments and errors are the same.
    """
    candidates = sorted(_owned(windows, entities_per_window), key=lambda candidate: candidate[:2])
    return [candidate.entity for candidate in candidates]


def with_candidates(
    path: Sequence[Mapping[str, Any]], windows: Sequence[Window], likely: Sequence[Iterable[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the entities of the best path and the likely ones off it, sorted by start and end, marked by `on_path`.

    Args:
        path: entities of the best path, with ``start``, ``end`` and ``entity_group``.
        windows, likely: the text's windows and per window its likely entities, see `owned_entities`.
    """

    def place(entity: Mapping[str, Any]) -> tuple[int, int, str]:
        return entity["start"], entity["end"], entity["entity_group"]

    own = set(map(place, path))
    others = [one for one in owned_entities(windows, likely) if place(one) not in own]
    found = [*({**entity, "on_path": True} for entity in path), *({**entity, "on_path": False} for entity in others)]
    return sorted(found, key=place)


def _owned(windows: Sequence[Window], entities_per_window: Sequence[Iterable[EntityT]]) -> Iterator[_Candidate]:
    if len(windows) != len(entities_per_window):
        raise ValueError(f"{len(entities_per_window)} lists of entities for {len(windows)} windows")
    text = Window(windows[0].start, windows[-1].end) if windows else Window(0, 0)
    for window, owned, entities in zip(windows, owned_ranges(windows), entities_per_window):
        for entity in entities:
            start, end = _span_of(entity)
            if not window.start <= start < end <= window.end:
                raise ValueError(f"entity ({start}, {end}) is empty or not within its {window}")
            if owned.start <= (start + end - 1) // 2 < owned.end:
                yield _Candidate(start, end, _context(start, end, window, text), entity)


class _Candidate(NamedTuple):
    """An entity with its span and its context in its window."""

    start: int
    end: int
    context: int
    entity: Any


class _Edges:
    """Positions at which a window may begin or end: anywhere except inside a block."""

    def __init__(self, blocks: list[Window], text: str | None) -> None:
        self._blocks, self._starts, self._text = blocks, [block.start for block in blocks], text

    def _around(self, position: int) -> tuple[int, int]:
        """Return the nearest allowed positions at or before, and at or after `position`."""
        index = bisect_left(self._starts, position) - 1
        inside = index >= 0 and position < self._blocks[index].end
        return self._blocks[index] if inside else (position, position)

    def last_before(self, position: int, at_least: int, near: int) -> int:
        """Return the last allowed position up to `position`, or the last sentence end at most `near` before it."""
        last = self._around(position)[0]
        lowest = max(at_least, position - near)
        candidate = last
        while self._text is not None and candidate >= lowest:
            candidate = max(self._text.rfind(mark, lowest - 1, candidate) for mark in SENTENCE_ENDS) + 1
            if candidate < lowest or self._around(candidate)[0] == candidate:
                break
            candidate = self._around(candidate)[0]
        return candidate if self._text is not None and candidate >= lowest else last

    def next_start(self, start: int, end: int, size: int, overlap: int) -> int:
        """Return the start of the window after (start, end): at most `end`, and late enough to reach beyond `end`."""
        preferred = self.last_before(max(end - overlap, start + 1), at_least=start + 1, near=overlap)
        reach = self._around(end + 1)[1]  # the new window must contain at least what follows `end`
        lowest = max(start + 1, reach - size)
        return preferred if preferred >= lowest else min(self._around(lowest)[1], end)


def _check_sizes(length: int, size: int, overlap: int) -> None:
    if length < 0:
        raise ValueError(f"length is {length}, expected 0 or more")
    if size < 1:
        raise ValueError(f"size is {size}, expected 1 or more")
    if not 0 <= overlap < size:
        raise ValueError(f"overlap is {overlap}, expected 0 to {size - 1} (size {size})")


def _blocks(spans: Iterable[Sequence[Any]], length: int, size: int) -> list[Window]:
    """Merge overlapping spans into blocks, sorted; adjacent spans stay separate."""
    blocks: list[Window] = []
    for start, end in sorted((span[0], span[1]) for span in spans):
        if not 0 <= start < end <= length:
            raise ValueError(f"span ({start}, {end}) is empty or not within 0..{length}")
        if blocks and start < blocks[-1].end:
            start, end = blocks[-1].start, max(end, blocks[-1].end)
            blocks.pop()
        if end - start > size:
            raise ValueError(f"span ({start}, {end}) has {end - start} characters, more than a window of {size}")
        blocks.append(Window(start, end))
    return blocks


def _span_of(entity: Any) -> tuple[int, int]:
    return (entity["start"], entity["end"]) if isinstance(entity, Mapping) else (entity[0], entity[1])


def _context(start: int, end: int, window: Window, text: Window) -> int:
    """Return the characters between an entity and the nearer edge of its window; edges of the text do not count."""
    left = start - window.start if window.start > text.start else text.end
    right = window.end - end if window.end < text.end else text.end
    return min(left, right)


def _overlapping_groups(candidates: Iterable[_Candidate]) -> Iterator[list[_Candidate]]:
    """Split candidates, sorted by start, into groups that do not overlap each other."""
    group: list[_Candidate] = []
    furthest = 0
    for candidate in candidates:
        if group and candidate.start >= furthest:
            yield group
            group = []
        group.append(candidate)
        furthest = max(furthest, candidate.end)
    if group:
        yield group


def _without_overlaps(group: list[_Candidate]) -> list[_Candidate]:
    """Return the best candidates of a group that do not overlap, sorted by start."""
    if len(group) == 1:
        return group
    selected: list[_Candidate] = []
    for candidate in sorted(group, key=lambda c: (-c.context, c.start - c.end, c.start)):
        if all(candidate.end <= other.start or other.end <= candidate.start for other in selected):
            selected.append(candidate)
    return sorted(selected, key=lambda c: c.start)
