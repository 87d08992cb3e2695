"""Assertion: whether an entity is denied, suspected, past, conditional or someone else's, by rules.

The five attributes are those of ConText (Harkema et al. 2009, doi:10.1016/j.jbi.2009.05.002), under medspaCy's names. A
rule is a cue with a direction and a reach; the rules are a table (`assertion_rules_adner.TABLE`, or a file), not code.
They are matched against the text as `ScriptMap.standard` reads it, so they hold for both scripts.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from .assertion_rules_adner import TABLE
from .assertion_table_adner import (
    DIRECTIONS,
    STOPPED,
    Rule,
    as_read,
    check_rule,
    is_pattern,
    key_of,
    parse_rules,
)
from .lexicon_adner import Lexicon
from .loading_adner import named_errors, write_atomically

RULES_FILE = "assertion_rules.tsv"
CUES_PER_LINE = 12

GAP = 4
"""Characters between an entity and a cue after it that may be unknown words, as in 心包积液征可疑."""

_SENTENCE_ENDS = re.compile(r"[。;!?\n\r]|(?<![0-9])\.(?![0-9a-z])")
_CLAUSE_ENDS = re.compile(rf"{_SENTENCE_ENDS.pattern}|,")
_JOINED = re.compile(r"(?:[\s、/“”‘’「」『』《》]|(?:[及和或与并兼且]|以及|或者|伴)有?)+")
_BARE_END = re.compile(r"(?:等(?:不适|症状|情况|表现|病|疾病)?)?(?:病?史)?$")
_TITLE_END = re.compile(r"[】\]]?\s*:\s*|[】\]]\s*|[^\S\n\r]*[\n\r]\s*")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n|\r[^\S\n\r]*\r")
_BRACKETS = re.compile(r"\([^()\n]*\)")
_NUMBER = "[0-9一二三四五六七八九十数半]+[余多]?"
_CROSSING = re.compile(rf"(?:现|目前|今|后|均|已|其后|随后|{_NUMBER}[天日周月年岁]后|经?治疗后)*$")


Span = tuple[int, int, str]  # start, end and label of an entity


class Cue(NamedTuple):
    """Why an attribute holds: the characters start..end, end exclusive, of the text."""

    attribute: str
    start: int
    end: int


class _Match(NamedTuple):
    start: int
    end: int
    rule: Rule


class AssertionRules:
    """A table of rules, ready to be applied.

    Args:
        rules: later ones replace earlier ones of the same cue.

    Raises:
        ValueError: an unknown attribute, direction or reach, or a regular expression that is none.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        by_cue: dict[tuple[str, bool], Rule] = {}
        for rule in rules:
            check_rule(rule)
            by_cue[key_of(rule)] = rule
        self.rules = tuple(by_cue.values())
        self._patterns = [(re.compile(rule.cue[1:-1]), rule) for rule in self.rules if is_pattern(rule.cue)]
        self._literals = [rule for rule in self.rules if not is_pattern(rule.cue)]
        self._cues = Lexicon(dict.fromkeys(rule.cue for rule in self._literals))
        self._by_cue = defaultdict(list)
        for rule in self._literals:
            self._by_cue[rule.cue].append(rule)

    @classmethod
    @cache
    def standard(cls) -> AssertionRules:
        """Return the rules that the package contains."""
        return UnreadRules(TABLE, "the table of rules")

    @classmethod
    def from_file(cls, path: str | Path) -> AssertionRules:
        """Read a table: lines of attributes, cues, direction and reach with tabs between them.

        Several cues of a line have spaces between them, and ``{a|b}`` in a cue stands for either. Lines that begin with
        ``#`` are comments.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not UTF-8, a line is no rule, or there is none; the message names file and line.
        """
        if not (rules := parse_rules(_table_text(path), str(path))):
            raise ValueError(f"{path}: no rule found")
        return cls(rules)

    @classmethod
    def load_saved(cls, path: str | Path) -> AssertionRules:
        """Read the table that a tokenizer was saved with; its lines are parsed when the rules are first used.

        Raises:
            CheckpointError: the file is not UTF-8, or later, a line is no rule.
        """
        with named_errors(str(path)):
            return UnreadRules(_table_text(path), str(path))

    def __add__(self, other: AssertionRules) -> AssertionRules:
        """Return these rules with those of `other`, which replace those of the same cue."""
        return AssertionRules((*self.rules, *other.rules))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AssertionRules) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def __repr__(self) -> str:
        return f"AssertionRules({len(self.rules)} rules, hash={self.hash[:12]!r})"

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of the rules in their order; the same in every process."""
        return hashlib.sha256(repr([tuple(rule) for rule in self.rules]).encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return AssertionRules, (self.rules,)

    def save(self, path: str | Path) -> None:
        """Write the table, atomically."""
        lines = ["# attributes\tcues\tdirection\treach"]
        for (attributes, *place), rules in itertools.groupby(self.rules, lambda rule: (rule.attributes, *rule[2:])):
            cues = [rule.cue for rule in rules]
            for first in range(0, len(cues), CUES_PER_LINE):
                fields = (",".join(attributes), " ".join(cues[first : first + CUES_PER_LINE]), *place)
                lines.append("\t".join(fields).rstrip("\t"))
        write_atomically(Path(path), "\n".join(lines) + "\n")

    def __call__(self, text: str, spans: Sequence[Span], candidates: Sequence[Span] = ()) -> list[list[Cue]]:
        """Return the attributes of each entity, at most one `Cue` (the nearest) for each attribute, sorted.

        Entities that overlap are read one by one: an inner one, or a candidate, beside the outermost entities that it
        does not overlap, so that candidates change nothing of what is said of `spans`, nor inner entities of outer.

        Args:
            text: as written, in either script.
            spans: start, end and label of each entity, in any order.
            candidates: further ones that may be entities instead; their cues follow those of `spans`.
        """
        every = [*spans, *candidates]
        if not every:
            return []
        text = as_read(text)
        matches, layers, cues = self._found(text), _disjoint_layers(spans), [[] for _ in every]
        outermost = layers[0] if layers else []
        for layer in (*layers, *_sentence_layers(text, candidates, len(spans))):
            beside = [] if layer is outermost else _apart(outermost, layer, every, len(text))
            read = _Reading(text, [every[number] for number in (*layer, *beside)], matches)
            for number, own in zip(layer, read.cues()):
                cues[number] = own
        return cues

    def _found(self, text: str) -> list[_Match]:
        """Return every place of every cue; `text` as it is read."""
        found = []
        for word, start, end in self._cues.match(text):
            found += [_Match(start, end, rule) for rule in self._by_cue[self._cues.words[word - 1]]]
        for pattern, rule in self._patterns:
            found += [_Match(match.start(), match.end(), rule) for match in pattern.finditer(text) if match.group()]
        return found


class UnreadRules(AssertionRules):
    """The rules of a table that is parsed when they are first used: most runs use none, and it takes a while.

    Args:
        table: the text of the table.
        name: its name in messages, the path of a file.
    """

    def __init__(self, table: str, name: str) -> None:
        self._table, self._name = table, name

    @cached_property
    def _parsed(self) -> AssertionRules:
        with named_errors(self._name):
            return AssertionRules(parse_rules(self._table, self._name))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules.

        Raises:
            CheckpointError: a line of the table is no rule.
        """
        return self._parsed.rules

    def _found(self, text: str) -> list[_Match]:
        return self._parsed._found(text)


def _table_text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def choose_rules(choice: Any, tokenizer: Any = None) -> Any:
    """Return the rules of an `assertion` argument, None for none.

    Args:
        choice: False or None; True for the rules of the checkpoint's tokenizer; the path of a table, whose rules are
            added to those; or rules of your own.
        tokenizer: of the checkpoint; one without rules has `AssertionRules.standard`.

    Raises:
        FileNotFoundError, ValueError: see `AssertionRules.from_file`.
        TypeError: another value.
    """
    if choice is None or choice is False or hasattr(choice, "rules"):  # not isinstance: see remote_code_adner
        return choice or None
    own = getattr(tokenizer, "assertion_rules", None) or AssertionRules.standard()
    if choice is True:
        len(own.rules)  # reads them: a damaged table fails here, not at the first entity
        return own
    if isinstance(choice, (str, Path)):
        return own + AssertionRules.from_file(choice)
    raise TypeError(f"assertion is {type(choice).__name__}, expected True, False, a path or AssertionRules")


def add_assertions(texts: Sequence[str], found: Sequence[Sequence[dict[str, Any]]], rules: Any) -> None:
    """Add `assertion`, the sorted attributes that hold, and `assertion_cues` to the entities of each text.

    Args:
        texts: the texts.
        found: per text the entities of a pipeline, those with a false `on_path` being candidates; a cue is a dictionary
            of `attribute`, `start` and `end`.
        rules: an `AssertionRules`.
    """
    for text, entities in zip(texts, found, strict=True):
        sides: tuple[list[dict[str, Any]], ...] = ([], [])  # those of the best path, candidates off it
        for entity in entities:
            sides[not entity.get("on_path", True)].append(entity)
        spans = [[(entity["start"], entity["end"], entity["entity_group"]) for entity in side] for side in sides]
        for entity, cues in zip([*sides[0], *sides[1]], rules(text, *spans), strict=True):
            entity |= assertion_record(cues)


def assertion_record(cues: Iterable[Cue]) -> dict[str, Any]:
    """Return the attributes of an entity, and their cues, as JSON values."""
    cues = list(cues)
    return {"assertion": [cue.attribute for cue in cues], "assertion_cues": [cue._asdict() for cue in cues]}


class _Reading:
    """The rules at work on one text; `self.spans` are sorted, with the number that each entity had."""

    def __init__(self, text: str, spans: Sequence[Span], found: list[_Match]) -> None:
        self.text, self.count = text, len(spans)
        self.labels = [label for _, _, label in spans]
        self.spans = sorted((start, end, number) for number, (start, end, _) in enumerate(spans))
        self.starts = [span[0] for span in self.spans]
        self.sentences = [match.start() for match in _SENTENCE_ENDS.finditer(text)]
        self.clauses = [match.start() for match in _CLAUSE_ENDS.finditer(text)]
        self.brackets = [match.span() for match in _BRACKETS.finditer(text)]
        found = self._kept(found)
        self.cue_matches = [match for match in found if match.rule.direction in DIRECTIONS]
        self.headers = [match.start for match in found if match.rule.attributes == ("header",)]
        stops: dict[str, list[_Match]] = {attribute: [] for attribute in STOPPED}
        for match in found:
            kind = match.rule.attributes[0]
            ended = STOPPED if kind == "header" or match.rule.direction == "all" else match.rule.direction.split(",")
            for attribute in ended if kind in ("stop", "header") else ():
                stops[attribute].append(match)
        self.stop_starts = {attribute: [stop.start for stop in own] for attribute, own in stops.items()}
        self.stop_ends = {attribute: sorted(stop.end for stop in own) for attribute, own in stops.items()}

    # ---- finding cues -----------------------------------------------------------------------------------------

    def _kept(self, found: list[_Match]) -> list[_Match]:
        """Drop matches that cut an entity, and those inside a longer one that speaks of the same, or is no cue.

        Nor does a cue count that is an entity itself; a title does, as models take 查体 for one.
        """
        inside = [False] * (len(self.text) + 1)  # whether an entity covers the characters before and after a place
        covered = bytearray(len(self.text))
        for start, end, _ in self.spans:
            covered[start:end] = b"\1" * (end - start)
            inside[start + 1 : end] = [True] * (end - start - 1)
        kept: list[_Match] = []
        over: dict[int, list[_Match]] = defaultdict(list)  # the kept matches that cover a character
        for match in sorted(found, key=lambda match: (match.start - match.end, match.start)):
            holds_entities = covered.find(1, match.start, match.end) >= 0
            is_entity = match.rule.attributes != ("header",) and all(covered[match.start : match.end])
            if holds_entities and (inside[match.start] or inside[match.end] or is_entity):
                continue
            if not any(_hides(longer, match) for longer in over.get(match.start, ())):
                kept.append(match)
                for place in range(match.start, match.end):
                    over[place].append(match)
        return sorted(kept, key=lambda match: match.start)

    # ---- reach ------------------------------------------------------------------------------------------------

    def cues(self) -> list[list[Cue]]:
        """Return the cues of each entity."""
        nearest: list[dict[str, tuple[int, Cue]]] = [{} for _ in range(self.count)]
        present: set[int] = set()
        for match in self.cue_matches:
            for attribute in match.rule.attributes:
                for start, end, number in self._reached(match, attribute):
                    if attribute == "present":
                        present.add(number)
                        continue
                    distance = max(start - match.end, match.start - end, 0)
                    if attribute not in nearest[number] or distance < nearest[number][attribute][0]:
                        nearest[number][attribute] = (distance, Cue(attribute, match.start, match.end))
        for number in present:
            nearest[number].pop("historical", None)
        return [[found[attribute][1] for attribute in sorted(found)] for found in nearest]

    def _reached(self, match: _Match, attribute: str) -> list[tuple[int, int, int]]:
        direction, reach = match.rule.direction, match.rule.reach
        if direction == "inside":
            return self._between(match.start, match.end)
        if direction == "forward":
            return self._after(match, attribute, reach)
        if direction == "backward":
            return self._before(match, attribute, reach)
        if direction == "both":
            return self._after(match, attribute, reach) + self._before(match, attribute, reach)
        after = self._after(match, attribute, reach)
        before = self._before(match, attribute, reach)
        return after if after and (not before or after[0][0] - match.end < GAP) else before

    def _between(self, first: int, last: int) -> list[tuple[int, int, int]]:
        low = bisect_left(self.starts, first)
        return [span for span in self.spans[low : bisect_left(self.starts, last)] if span[1] <= last]

    def _after(self, match: _Match, attribute: str, reach: str) -> list[tuple[int, int, int]]:
        first = match.end
        if reach == "adjacent":
            return self._list_from(first)
        if reach == "section" and (title := _TITLE_END.match(self.text, first)):
            return self._section(title.end(), attribute)
        ends = self.clauses if reach in ("list", "clause") else self.sentences
        limit = self._stop_after(attribute, first, self._bracket_end(match, _next(ends, first, len(self.text))))
        spans = self._between(first, limit)
        if reach == "list" and spans:
            spans += self._bare_clauses(spans[-1], limit, attribute)
        return spans

    def _bracket_end(self, match: _Match, limit: int) -> int:
        """Return where the reach of a cue in brackets ends: with them, as in 心悸(无胸痛)乏力."""
        index = bisect_left(self.brackets, (match.start,)) - 1
        inside = index >= 0 and match.end < self.brackets[index][1]
        return min(limit, self.brackets[index][1] - 1) if inside else limit

    def _section(self, first: int, attribute: str) -> list[tuple[int, int, int]]:
        """Return the entities up to the next header or blank line; a stop ends the reach in its sentence only."""
        end = _next(self.headers, first, len(self.text))
        blank = _BLANK_LINE.search(self.text, first, end)
        end = blank.start() if blank else end
        spans: list[tuple[int, int, int]] = []
        while first < end:
            limit = min(_next(self.sentences, first, end), end)
            spans += self._between(first, self._stop_after(attribute, first, limit))
            first = limit + 1
        return spans

    def _list_from(self, first: int) -> list[tuple[int, int, int]]:
        """Return the entity that begins at a place, and those that are joined to it."""
        spans = []
        for index in range(bisect_left(self.starts, first), len(self.spans)):
            span = self.spans[index]
            between = self.text[first : span[0]]
            if between and (not spans or not _JOINED.fullmatch(between)):
                break
            spans.append(span)
            first = span[1]
        return spans

    def _bare_clauses(self, last: tuple[int, int, int], limit: int, attribute: str) -> list[tuple[int, int, int]]:
        """Return the entities of the following clauses, as long as those are nothing else: 无恶心，呕吐，腹痛等。"""
        spans: list[tuple[int, int, int]] = []
        place, size = last[1], len(self.text)
        while place == limit < size and self.text[limit] == ",":
            limit = _next(self.clauses, place + 1, size)
            if self._stop_after(attribute, place + 1, limit) < limit:
                break
            clause = [span for span in self._list_from(place + 1) if span[1] <= limit]
            same_label = {self.labels[span[2]] for span in clause} == {self.labels[last[2]]}
            is_bare = clause and _BARE_END.match(self.text[clause[-1][1] : limit])
            if not (is_bare and same_label) or self.text[limit : limit + 1] == "?":
                break
            spans += clause
            place = limit
        return spans

    def _before(self, match: _Match, attribute: str, reach: str) -> list[tuple[int, int, int]]:
        last = match.start
        if reach in ("sentence", "section"):
            return self._between(self._stop_before(attribute, _last(self.sentences, last), last), last)
        first = _last(self.clauses, last)
        if first and self.text[first - 1] == "," and _CROSSING.match(self.text[first:last]):
            last = first - 1
            first = _last(self.clauses, last)
            spans = self._between(first, last)
            return spans if reach == "clause" else self._joined_before(spans, spans[-1][1] if spans else last)
        spans = self._between(self._stop_before(attribute, first, last), last)
        if reach == "clause":
            return spans
        return self._joined_before(spans, last, 0 if reach == "adjacent" else GAP)

    def _joined_before(self, spans: list[tuple[int, int, int]], last: int, gap: int = GAP) -> list[Any]:
        """Return the last entity, if it ends at most `gap` characters before a place, and those joined to it."""
        if not spans or last - spans[-1][1] > gap:
            return []
        chosen = [spans[-1]]
        for span in reversed(spans[:-1]):
            if not _JOINED.fullmatch(self.text[span[1] : chosen[-1][0]]):
                break
            chosen.append(span)
        return chosen[::-1]

    def _stop_after(self, attribute: str, first: int, limit: int) -> int:
        return min(_next(self.stop_starts.get(attribute, ()), first, limit), limit)

    def _stop_before(self, attribute: str, first: int, last: int) -> int:
        ends = self.stop_ends.get(attribute, ())
        index = bisect_right(ends, last)
        return max(ends[index - 1], first) if index else first


def _disjoint_layers(spans: Sequence[Span]) -> list[list[int]]:
    """Return the numbers of entities in layers of disjoint ones, the outermost first."""
    layers: list[list[int]] = []
    for number in sorted(range(len(spans)), key=lambda number: (spans[number][0], -spans[number][1], spans[number][2])):
        layer = next((layer for layer in layers if spans[layer[-1]][1] <= spans[number][0]), None)
        if layer is None:
            layers.append(layer := [])
        layer.append(number)
    return layers


def _sentence_layers(text: str, spans: Sequence[Span], first: int) -> list[list[int]]:
    """Return the numbers of candidates, counted from `first`, in layers with one of each sentence at most."""
    ends = [match.start() for match in _SENTENCE_ENDS.finditer(text)] if spans else []
    sentences: dict[int, list[int]] = defaultdict(list)
    for number, (start, _, _) in enumerate(spans, first):
        sentences[bisect_left(ends, start)].append(number)
    return [[one for one in rank if one is not None] for rank in itertools.zip_longest(*sentences.values())]


def _apart(numbers: list[int], layer: list[int], spans: Sequence[Span], size: int) -> list[int]:
    """Return those of the numbered entities of a text of `size` characters that overlap none of a layer."""
    covered = bytearray(size)
    for start, end, _ in (spans[number] for number in layer):
        covered[start:end] = b"\1" * (end - start)
    return [number for number in numbers if covered.find(1, *spans[number][:2]) < 0]


def _hides(longer: _Match, match: _Match) -> bool:
    """Return whether a longer match takes the characters of a match, so that it is none.

    A match that spans entities leaves the cues of other attributes between them, but those at its ends are its own.
    """
    if not (longer.start <= match.start and match.end <= longer.end and longer[:2] != match[:2]):
        return False
    if longer.rule.direction != "inside":
        return longer.rule.attributes != ("header",)
    shared = set(longer.rule.attributes) & set(match.rule.attributes)
    return bool(shared) or longer.start == match.start or longer.end == match.end


def _next(places: Sequence[int], first: int, default: int) -> int:
    index = bisect_left(places, first)
    return places[index] if index < len(places) else default


def _last(places: Sequence[int], place: int) -> int:
    """Return the place after the last of `places` before `place`, 0 if there is none."""
    index = bisect_right(places, place - 1)
    return places[index - 1] + 1 if index else 0
