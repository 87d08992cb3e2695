r"""The frame language: a sentence frame is parsed into nodes and expanded into a `Draft` with exact offsets.

| syntax | meaning |
|---|---|
| `{slot}` | a term of the topic's slot, or of the group of that name |
| `{slot:2-4}` | a coordinated list of 2 to 4 terms |
| `{slot@x}` | the same term at every `@x` of the document |
| `{slot#Label}`, `{slot!}` | the term with another label; as a mention that is not an entity |
| `{=surface#Label}`, `{=surface!}` | a fixed surface as an entity; as a mention that is not an entity |
| `{slot~family,negated}` | what is asserted of the mentions (attributes of assertion); nothing if left out |
| `<macro>`, `<macro:2-4>` | a phrase, or a coordinated list of phrases |
| `[a\|b*3\|]` | one of several alternatives, with weights; may be empty |
| `%3-10%`, `%0.1-2.5%` | a number |
| `‹words›`, `«words»` | a cue of the next mentions, or of the last mentions (`‹boundary:words›` sets its kind) |
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from hf_adner.data.synthetic.vocabulary import ALL, LABELS, Vocabulary, VocabularyError
from hf_adner.model.assertion_table_adner import ATTRIBUTES

HEAD, NAME, CONTEXT, BOUNDARY = "head", "name", "context", "boundary"
CUE_KINDS = (HEAD, NAME, CONTEXT, BOUNDARY)
"""Kinds of cues: `head` (last morpheme of the entity), `name` (its whole surface), `context` (words outside the entity
that determine its type) and `boundary` (a neighbour outside the entity, or a word that ends it)."""


@dataclass
class Mark:
    """A mention, with an exclusive end; the label is None if it is not an entity; `holds` is asserted of it."""

    start: int
    end: int
    label: str | None
    holds: tuple[str, ...] = ()


@dataclass
class Cue:
    """Characters that determine type or boundary of the mention `mark` (an index into `Draft.marks`)."""

    mark: int
    start: int
    end: int
    kind: str


@dataclass
class Draft:
    """A text that is written from left to right, with its mentions and cues."""

    text: str = ""
    marks: list[Mark] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    waiting: list[tuple[int, int, str]] = field(default_factory=list)
    latest: list[int] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Append plain characters."""
        self.text += text

    def mention(self, surface: str, label: str | None, holds: tuple[str, ...] = ()) -> int:
        """Append `surface` as a mention and return its index."""
        self.marks.append(Mark(len(self.text), len(self.text) + len(surface), label, holds))
        self.text += surface
        return len(self.marks) - 1

    def settle(self, first: int) -> None:
        """Attach the waiting cues to all mentions from index `first` on."""
        self.latest = list(range(first, len(self.marks)))
        for start, end, kind in self.waiting:
            self._attach(self.latest, start, end, kind)
        if self.latest:
            self.waiting = []

    def cue(self, start: int, kind: str, forward: bool) -> None:
        """Make the text from `start` on a cue of the next mentions (`forward`) or of the last mentions."""
        if start == len(self.text):
            return
        if forward:
            self.waiting.append((start, len(self.text), kind))
        else:
            self._attach(self.latest, start, len(self.text), kind)

    def _attach(self, marks: list[int], start: int, end: int, kind: str) -> None:
        marks = marks[:1] if kind == BOUNDARY else marks  # a boundary cue concerns only the adjacent mention
        self.cues.extend(Cue(mark, start, end, kind) for mark in marks)


CLOSERS = {"[": "]", "‹": "›", "«": "»", "{": "}", "<": ">"}
NUMBER = re.compile(r"%(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)%")
REFERENCE = re.compile(
    r"(?P<name>=[^#!~]+|[\w.]+)(?::(?P<low>\d+)-(?P<high>\d+))?(?:@(?P<bind>\w+))?(?:#(?P<label>\w+)|(?P<plain>!))?"
    r"(?:~(?P<holds>[a-z,]*))?"
)


class FrameError(ValueError):
    """A frame has a syntax error, or refers to something that does not exist."""


@dataclass(frozen=True)
class Text:
    """Plain characters."""

    text: str


@dataclass(frozen=True)
class Number:
    """A random number with the decimals of the frame."""

    low: float
    high: float
    decimals: int


@dataclass(frozen=True)
class Slot:
    """A mention, or a coordinated list of mentions."""

    name: str
    low: int
    high: int
    bind: str | None
    label: str | None
    plain: bool
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A phrase, or a coordinated list of phrases."""

    name: str
    low: int
    high: int


@dataclass(frozen=True)
class Choice:
    """One of several node sequences."""

    options: tuple[tuple[Node, ...], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Hint:
    """A cue of the mentions after it (`forward`) or before it."""

    kind: str
    forward: bool
    body: tuple[Node, ...]


Node = Text | Number | Slot | Call | Choice | Hint


@cache
def parse_frame(source: str) -> tuple[Node, ...]:
    """Parse a frame; raise FrameError with the position of a syntax error."""
    nodes: list[Node] = []
    position, plain = 0, ""
    while position < len(source):
        node, end = _node_at(source, position)
        if node is None:
            plain += source[position]
        else:
            nodes += [Text(plain), node] if plain else [node]
            plain = ""
        position = end
    return (*nodes, Text(plain)) if plain else tuple(nodes)


def _node_at(source: str, position: int) -> tuple[Node | None, int]:
    """Return the node that begins at `position` (None for a plain character) and its end."""
    if source[position] == "%" and (match := NUMBER.match(source, position)):
        decimals = max(len(part.partition(".")[2]) for part in match.groups())
        return Number(float(match[1]), float(match[2]), decimals), match.end()
    if source[position] not in CLOSERS:
        return None, position + 1
    end = _closing_bracket(source, position)
    return _parse_node(source[position], source[position + 1 : end], source), end + 1


def _closing_bracket(source: str, start: int) -> int:
    opener, closer, depth = source[start], CLOSERS[source[start]], 0
    for position in range(start + 1, len(source)):
        if source[position] == closer and depth == 0:
            return position
        depth += (source[position] == opener) - (source[position] == closer)
    raise FrameError(f"{opener!r} at {start} is not closed in {source[:20]!r}")


def _parse_node(opener: str, body: str, source: str) -> Node:
    if opener == "[":
        return parse_choice(body)
    if opener in "‹«":
        kind, colon, words = body.partition(":")
        if not (colon and kind in CUE_KINDS):
            kind, words = CONTEXT, body
        return Hint(kind, opener == "‹", parse_frame(words))
    return _parse_reference(opener, body, source)


def _parse_reference(opener: str, body: str, source: str) -> Slot | Call:
    match = REFERENCE.fullmatch(body)
    holds = tuple(filter(None, (match["holds"] or "").split(","))) if match else ()
    if not match or (match["label"] and match["label"] not in LABELS) or not set(holds) <= set(ATTRIBUTES):
        raise FrameError(f"cannot read {opener}{body[:20]} in {source[:20]!r}")
    low, high = int(match["low"] or 1), int(match["high"] or 1)
    if opener == "<":
        return Call(match["name"], low, high)
    return Slot(match["name"], low, high, match["bind"], match["label"], bool(match["plain"]), holds)


@cache
def parse_choice(body: str) -> Choice:
    """Parse alternatives separated by `|` outside brackets, each with an optional `*weight` at its end."""
    parts, depth, part = [], 0, ""
    for character in body:
        depth += (character in "[{<‹«") - (character in "]}>›»")
        if character == "|" and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += character
    options, weights = [], []
    for option in [*parts, part]:
        weighted = re.fullmatch(r"(.*)\*(\d+(?:\.\d+)?)", option.strip(" "), flags=re.DOTALL)
        options.append(parse_frame(weighted[1] if weighted else option.strip(" ")))
        weights.append(float(weighted[2]) if weighted else 1.0)
    return Choice(tuple(options), tuple(weights))


@dataclass
class Scene:
    """State of one document: the slots of its topic, its phrases, bound terms and list separators.

    `misfits` are parts of terms, and `unsaid` words of frames, that do not fit the person of the document; `variant`
    selects macros.
    """

    rng: random.Random
    slots: dict[str, tuple[tuple[str, ...], tuple[float, ...]]]
    phrases: dict[str, str]
    bindings: dict[str, tuple[str, str]]
    separators: tuple[str, ...] = ("、",)
    last_separators: tuple[str, ...] = ("、",)
    pool: str = ALL
    misfits: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    variant: str = ""


class Grammar:
    """Expands parsed frames with the terms of a vocabulary and named phrases (macros).

    `misfits` maps a slot to parts of terms that do not fit it (a tablet is not applied to the skin). A macro
    `name.variant` replaces `name` in scenes of that variant.
    """

    def __init__(
        self, vocabulary: Vocabulary, macros: dict[str, Choice], misfits: Mapping[str, tuple[str, ...]] | None = None
    ):
        self.vocabulary = vocabulary
        self.macros = macros
        self.misfits = misfits or {}

    def expand(self, nodes: tuple[Node, ...], scene: Scene, draft: Draft) -> None:
        """Write the expansion of `nodes` to `draft`; raise VocabularyError if no term fits a slot."""
        for node in nodes:
            match node:
                case Text(text):
                    draft.write(text)
                case Number(low, high, decimals):
                    draft.write(f"{scene.rng.uniform(low, high):.{decimals}f}")
                case Choice(options, weights):
                    self.expand(scene.rng.choices(options, weights)[0], scene, draft)
                case Hint(kind, forward, body):
                    start = len(draft.text)
                    self.expand(body, scene, draft)
                    draft.cue(start, kind, forward)
                case Slot():
                    self._write_slot(node, scene, draft)
                case Call():
                    self._write_call(node, scene, draft)

    def _write_slot(self, slot: Slot, scene: Scene, draft: Draft) -> None:
        first, used = len(draft.marks), set()
        count = scene.rng.randint(slot.low, slot.high)
        for index in range(count):
            term = self._pick_term(slot, scene, used)
            if term is None and not index:
                raise VocabularyError(f"no term fits the slot {slot.name!r} here")
            if term is None:
                break
            surface, label = term
            self._write_separator(index, count, scene, draft)
            used.add(surface)
            draft.mention(surface, None if slot.plain else slot.label or label, slot.holds)
        draft.settle(first)

    def _pick_term(self, slot: Slot, scene: Scene, used: set[str]) -> tuple[str, str] | None:
        """Return surface and label of a new term that fits, or None."""
        if slot.bind in scene.bindings:
            return scene.bindings[slot.bind]
        for _ in range(20):
            surface, label = self._draw_term(slot, scene)
            if surface not in used and self._fits(surface, slot, scene):
                if slot.bind:
                    scene.bindings[slot.bind] = surface, label
                return surface, label
        return None

    def _fits(self, surface: str, slot: Slot, scene: Scene) -> bool:
        return not any(part in surface for part in (*scene.misfits, *self.misfits.get(slot.name, ())))

    def _draw_term(self, slot: Slot, scene: Scene) -> tuple[str, str]:
        if slot.name.startswith("="):
            if slot.label is None and not slot.plain:
                raise FrameError(f"a fixed surface needs a label: {slot.name[:20]!r}")
            return slot.name[1:], slot.label or ""
        group = slot.name
        if group in scene.slots:
            group = scene.rng.choices(*scene.slots[group])[0]
        return self.vocabulary.sample(scene.rng, group, scene.pool), self.vocabulary.label(group)

    def _write_call(self, call: Call, scene: Scene, draft: Draft) -> None:
        if call.name in scene.phrases:
            draft.write(scene.phrases[call.name])
            return
        macro = self.macros.get(f"{call.name}.{scene.variant}", self.macros.get(call.name))
        if macro is None:
            raise FrameError(f"no macro {call.name!r}")
        first, count = len(draft.marks), scene.rng.randint(call.low, call.high)
        for index in range(count):
            self._write_separator(index, count, scene, draft)
            self.expand((macro,), scene, draft)
        if count > 1:
            draft.latest = list(range(first, len(draft.marks)))

    def _write_separator(self, index: int, count: int, scene: Scene, draft: Draft) -> None:
        if index:
            choices = scene.last_separators if index == count - 1 else scene.separators
            draft.write(scene.rng.choice(choices))
