r"""The frame language: a sentence frame is parsed once into nodes and expanded many times into a `Draft`.

| written | meaning |
|---|---|
| `{slot}` | a term of the topic's slot, or of the group of that name |
| `{slot:2-4}` | a coordinated list of 2 to 4 terms |
| `{slot@x}` | the same term wherever `@x` stands in the document |
| `{slot#Label}`, `{slot!}` | the term under another label; as plain text |
| `{=surface#Label}`, `{=surface!}` | a fixed surface as an entity, as a mention that is none |
| `<macro>`, `<macro:2-4>` | a phrase, or a coordinated list of phrases |
| `[a\|b*3\|]` | one of several, with weights; empty is allowed |
| `%3-10%`, `%0.1-2.5%` | a number |
| `‹words›`, `«words»` | words that decide the next mentions, or the last ones (`‹boundary:words›` names the kind) |

A text under construction: characters, entities and the spans that decide them, with exact offsets.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from hf_adner.data.synthetic.vocabulary import ALL, LABELS, Vocabulary, VocabularyError

HEAD, NAME, CONTEXT, BOUNDARY = "head", "name", "context", "boundary"
CUE_KINDS = (HEAD, NAME, CONTEXT, BOUNDARY)
"""What a cue decides: `head` (last morpheme of the entity), `name` (the whole surface), `context` (words outside
that fix the type) and `boundary` (a neighbour that stays outside, or a word that closes the entity)."""


@dataclass
class Mark:
    """One mention: characters `start` to `end` (exclusive); `label` None marks a mention that is no entity here."""

    start: int
    end: int
    label: str | None


@dataclass
class Cue:
    """Characters `start` to `end` decide the mention `mark` (an index into `Draft.marks`)."""

    mark: int
    start: int
    end: int
    kind: str


@dataclass
class Draft:
    """Collects text left to right; every mention and cue is written once, with its final offsets."""

    text: str = ""
    marks: list[Mark] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    waiting: list[tuple[int, int, str]] = field(default_factory=list)
    latest: list[int] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Append plain characters."""
        self.text += text

    def mention(self, surface: str, label: str | None) -> int:
        """Append `surface` as a mention and return its index."""
        self.marks.append(Mark(len(self.text), len(self.text) + len(surface), label))
        self.text += surface
        return len(self.marks) - 1

    def settle(self, first: int) -> None:
        """Tie the cues that were waiting for a mention to all mentions from index `first` on."""
        self.latest = list(range(first, len(self.marks)))
        for start, end, kind in self.waiting:
            self._tie(self.latest, start, end, kind)
        if self.latest:
            self.waiting = []

    def cue(self, start: int, kind: str, forward: bool) -> None:
        """Make the characters from `start` to here a cue of the next mentions (`forward`) or of the last ones."""
        if start == len(self.text):
            return
        if forward:
            self.waiting.append((start, len(self.text), kind))
        else:
            self._tie(self.latest, start, len(self.text), kind)

    def _tie(self, marks: list[int], start: int, end: int, kind: str) -> None:
        # A boundary cue speaks only for the mention that touches it.
        chosen = marks[:1] if kind == BOUNDARY else marks
        self.cues.extend(Cue(index, start, end, kind) for index in chosen)


CLOSERS = {"[": "]", "‹": "›", "«": "»", "{": "}", "<": ">"}
NUMBER = re.compile(r"%(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)%")
REFERENCE = re.compile(
    r"(?P<name>=[^#!]+|[\w.]+)(?::(?P<low>\d+)-(?P<high>\d+))?(?:@(?P<bind>\w+))?(?:#(?P<label>\w+)|(?P<plain>!))?"
)


class FrameError(ValueError):
    """A frame cannot be parsed or names something that does not exist."""


@dataclass(frozen=True)
class Text:
    """Plain characters."""

    text: str


@dataclass(frozen=True)
class Number:
    """A random number with as many decimals as written."""

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
    """Words that decide the mentions after (`forward`) or before them."""

    kind: str
    forward: bool
    body: tuple[Node, ...]


Node = Text | Number | Slot | Call | Choice | Hint


@cache
def parse_frame(source: str) -> tuple[Node, ...]:
    """Parse a frame; FrameError with the position of what is wrong."""
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
    """The node that opens at `position` (None for a plain character) and where it ends."""
    if source[position] == "%" and (match := NUMBER.match(source, position)):
        decimals = max(len(part.partition(".")[2]) for part in match.groups())
        return Number(float(match[1]), float(match[2]), decimals), match.end()
    if source[position] not in CLOSERS:
        return None, position + 1
    end = _closing(source, position)
    return _parse_node(source[position], source[position + 1 : end], source), end + 1


def _closing(source: str, start: int) -> int:
    opener, closer, depth = source[start], CLOSERS[source[start]], 0
    for position in range(start + 1, len(source)):
        if source[position] == closer and depth == 0:
            return position
        depth += (source[position] == opener) - (source[position] == closer)
    raise FrameError(f"{opener!r} at {start} is never closed in {source[:20]!r}")


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
    if not match or (match["label"] and match["label"] not in LABELS):
        raise FrameError(f"cannot read {opener}{body[:20]} in {source[:20]!r}")
    low, high = int(match["low"] or 1), int(match["high"] or 1)
    if opener == "<":
        return Call(match["name"], low, high)
    return Slot(match["name"], low, high, match["bind"], match["label"], bool(match["plain"]))


@cache
def parse_choice(body: str) -> Choice:
    """Parse alternatives separated by `|` outside any bracket, each with an optional `*weight` at its end."""
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
    """What stays fixed within one document: its topic's slots, its phrases, its terms, its way of writing lists.

    `misfits` are parts of terms, `unsaid` words of frames that do not fit the person the document is about; `variant`
    chooses between macros.
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

    `misfits` names parts of terms that do not fit a slot (a tablet is not rubbed in). A macro `name.variant` stands in
    for `name` in scenes of that variant.
    """

    def __init__(
        self, vocabulary: Vocabulary, macros: dict[str, Choice], misfits: Mapping[str, tuple[str, ...]] | None = None
    ):
        self.vocabulary = vocabulary
        self.macros = macros
        self.misfits = misfits or {}

    def expand(self, nodes: tuple[Node, ...], scene: Scene, draft: Draft) -> None:
        """Write the expansion of `nodes` to `draft`; VocabularyError when the scene's pool lacks a term."""
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
            found = self._pick(slot, scene, used)
            if found is None and not index:
                raise VocabularyError(f"no term fits the slot {slot.name!r} here")
            if found is None:
                break
            self._write_separator(index, count, scene, draft)
            used.add(found[0])
            draft.mention(found[0], None if slot.plain else slot.label or found[1])
        draft.settle(first)

    def _pick(self, slot: Slot, scene: Scene, used: set[str]) -> tuple[str, str] | None:
        if slot.bind in scene.bindings:
            return scene.bindings[slot.bind]
        for _ in range(20):
            found = self._term(slot, scene)
            if found[0] not in used and self._fits(found[0], slot, scene):
                if slot.bind:
                    scene.bindings[slot.bind] = found
                return found
        return None

    def _fits(self, surface: str, slot: Slot, scene: Scene) -> bool:
        return not any(part in surface for part in (*scene.misfits, *self.misfits.get(slot.name, ())))

    def _term(self, slot: Slot, scene: Scene) -> tuple[str, str]:
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
