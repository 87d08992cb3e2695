"""The ad-synthetic corpus: invented dermatology notes and answers, the same for the same seed.

Note types: which sections of frames a document of each type is made of.

A plan file has one line per note type: name, weight, kind of topic (derm, general or any), noise level, then sections,
each with an optional `?` (half of the time), `*` (0 to 2 times) or `+` (1 to 2 times).

Minimal pairs: two documents with the same words but another cue, and therefore another label or boundary.

A contrast file holds blocks `[[kind]]` of templates. `⟦a‖b⟧` is the part that differs between the two sides.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from hf_adner.data.records import Document, Entity
from hf_adner.data.synthetic.grammar import (
    BOUNDARY,
    CONTEXT,
    HEAD,
    NAME,
    Choice,
    Cue,
    Draft,
    Grammar,
    Scene,
    parse_choice,
    parse_frame,
)
from hf_adner.data.synthetic.noise import add_noise, tidy
from hf_adner.data.synthetic.scene import Topic, choose_topic, make_person, read_topics
from hf_adner.data.synthetic.vocabulary import ALL, SEEN, UNSEEN, Vocabulary, VocabularyError, data_files, data_text

REPEATS = {"?": (0, 1), "*": (0, 2), "+": (1, 2)}


class Plan(NamedTuple):
    """`steps` are (section, fewest, most) in order."""

    note_type: str
    weight: float
    kind: str
    noise: float
    steps: tuple[tuple[str, int, int], ...]

    def sections(self, rng: random.Random) -> list[str]:
        """The sections of one document."""
        return [name for name, low, high in self.steps for _ in range(rng.randint(low, high))]


def read_plans(text: str) -> list[Plan]:
    """Parse a plan file."""
    plans = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 5:
            raise VocabularyError(f"plans:{number}: expected a name, a weight, a kind, a noise level and sections")
        steps = tuple((w.rstrip("?*+"), *REPEATS.get(w[-1], (1, 1))) for w in words[4:])
        plans.append(Plan(words[0], float(words[1]), words[2], float(words[3]), steps))
    return plans


def read_sections(text: str, source: str = "frames") -> dict[str, list[str]]:
    """Frames by section: `[section]` lines, then one frame a line."""
    sections: dict[str, list[str]] = {}
    frames: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[[") and line.endswith("]]"):
            frames = sections.setdefault(line[2:-2].strip(), [])
        elif frames is None:
            raise VocabularyError(f"{source}:{number}: a frame before the first [[section]]")
        else:
            frames.append(line)
    return sections


SIDES = ("a", "b")
DIFFERENCE = re.compile(r"⟦([^⟦⟧‖]*)‖([^⟦⟧‖]*)⟧")


class PairTemplate(NamedTuple):
    """One template; `kind` says what the cue decides."""

    kind: str
    source: str

    def side(self, index: int) -> str:
        """The frame of side 0 or 1."""
        return DIFFERENCE.sub(lambda match: match[index + 1], self.source)


def read_pairs(text: str) -> list[PairTemplate]:
    """Parse a contrast file; ValueError for a template that has no difference."""
    pairs, kind = [], ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[[") and line.endswith("]]"):
            kind = line[2:-2]
        elif line and not line.startswith("#"):
            if not DIFFERENCE.search(line):
                raise ValueError(f"no difference in the {kind} template {line[:20]!r}")
            pairs.append(PairTemplate(kind, line))
    return pairs


DEFAULT_SIZES = {"train": 3000, "validation": 400, "test": 400, "test_unseen": 400, "contrast": 400}
SHORTEST, LONGEST = 4, 600
PUNCTUATION = "，。；、：！？,.;:!? "
ATTEMPTS = 4000
LIST_STYLES: dict[tuple[str, ...], float] = {
    ("、",): 14.0,
    ("，",): 2.0,
    ("、", "，"): 1.0,
    ("和",): 0.6,
    ("及",): 0.3,
    (" ",): 0.6,
    (",",): 0.4,
    ("",): 0.2,
    ("/",): 0.2,
    ("；",): 0.2,
}
LAST_STYLES: dict[tuple[str, ...], float] = {
    ("、",): 8.0,
    ("、", "和"): 4.0,
    ("和",): 3.0,
    ("及",): 2.0,
    ("、", "及"): 2.0,
    ("以及",): 0.5,
    ("或",): 0.2,
}


@dataclass(frozen=True)
class Materials:
    """Everything the generator reads from packaged data files."""

    grammar: Grammar
    topics: dict[str, Topic]
    plans: list[Plan]
    sections: dict[str, list[str]]
    pairs: list[PairTemplate]
    heads: dict[str, tuple[str, ...]]
    misfits: dict[str, tuple[str, ...]]

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Materials:
        """The packaged materials."""
        sections: dict[str, list[str]] = {}
        for name in data_files("frames"):
            for section, frames in read_sections(data_text("frames", name), name).items():
                sections.setdefault(section, []).extend(frames)
        misfits = read_word_lists(data_text("misfits.txt"))
        return cls(
            Grammar(Vocabulary.default(), read_macros(data_text("macros.txt")), misfits),
            read_topics(data_text("topics.txt")),
            read_plans(data_text("plans.txt")),
            sections,
            read_pairs(data_text("contrast.txt")),
            read_word_lists(data_text("heads.txt")),
            misfits,
        )


def read_macros(text: str) -> dict[str, Choice]:
    """Phrases by name: lines `name = alternative | alternative*2`; a line that starts with `|` continues."""
    bodies: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("|"):
            bodies[name] += line
        elif line and not line.startswith("#"):
            name, _, body = (part.strip() for part in line.partition("="))
            bodies[name] = body
    return {name: parse_choice(body) for name, body in bodies.items()}


def read_word_lists(text: str) -> dict[str, tuple[str, ...]]:
    """Words by key, longest first: lines `key = word word`."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): tuple(sorted(words.split(), key=len, reverse=True)) for key, _, words in lines}


def generate_corpus(
    seed: int = 0, sizes: dict[str, int] | None = None, *, hold_out: bool = True
) -> dict[str, list[Document]]:
    """Invented documents by split.

    Args:
        seed: same seed and sizes, same documents; each document draws from its own generator.
        sizes: documents per split, on top of `DEFAULT_SIZES`; 0 leaves a split empty. ValueError for an unknown split.
        hold_out: False lets train and the other splits use every term; `test_unseen` must then have size 0.

    Returns:
        split -> documents. `meta` has `note_type`, `topic`; `cues`, a list of `{"entity", "start", "end", "kind"}`:
        the characters that decide that entity's type or boundary (kinds: `draft.CUE_KINDS`); `distractors`, mentions
        that are no entity here, with their `distractor_cues`; and in `contrast` `contrast`, `pair` and `side`.
    """
    wanted = _checked_sizes(sizes, hold_out)
    builder = _Builder(seed, Materials.load(), SEEN if hold_out else ALL)
    corpus = {split: builder.split(split, wanted[split]) for split in ("train", "validation", "test")}
    corpus["test_unseen"] = builder.unseen(wanted["test_unseen"], corpus["train"])
    corpus["contrast"] = builder.contrast(wanted["contrast"])
    return corpus


def _checked_sizes(sizes: dict[str, int] | None, hold_out: bool) -> dict[str, int]:
    unknown = set(sizes or {}) - set(DEFAULT_SIZES)
    if unknown:
        raise ValueError(f"unknown split {sorted(unknown)[0]!r}, expected {', '.join(DEFAULT_SIZES)}")
    wanted = DEFAULT_SIZES | (sizes or {})
    if min(wanted.values()) < 0:
        raise ValueError("sizes must not be negative")
    if not hold_out and wanted["test_unseen"]:
        raise ValueError("test_unseen needs held-out terms: give it size 0 with hold_out=False")
    return wanted


class _Builder:
    """Makes the documents of one seed and remembers their texts, so that no text appears twice."""

    def __init__(self, seed: int, materials: Materials, pool: str):
        self.seed, self.materials, self.pool = seed, materials, pool
        self.texts: set[str] = set()

    def split(self, name: str, size: int) -> list[Document]:
        """`size` documents with the builder's terms."""
        return [self._document(name, index, self.pool) for index in range(size)]

    def unseen(self, size: int, train: list[Document]) -> list[Document]:
        """`size` documents none of whose entities occurs anywhere in the text of `train`."""
        seen = "\n".join(document.text for document in train)
        return [self._document("test_unseen", index, UNSEEN, seen) for index in range(size)]

    def contrast(self, size: int) -> list[Document]:
        """`size` documents, two a pair; an odd size leaves the last one without its partner."""
        documents: list[Document] = []
        for index in range((size + 1) // 2):
            documents.extend(self._pair(index))
        return documents[:size]

    def _document(self, split: str, index: int, pool: str, seen: str | None = None) -> Document:
        rng = random.Random(f"{self.seed}/{split}/{index}")
        for _ in range(ATTEMPTS):
            made = self._attempt(rng, pool)
            if made is None:
                continue
            draft, meta = made
            surfaces = [draft.text[m.start : m.end] for m in draft.marks if m.label]
            known = seen is not None and (not surfaces or any(s in seen for s in surfaces))
            if not known and draft.text not in self.texts:
                self.texts.add(draft.text)
                return self._finish(f"{split}-{index:05d}", draft, meta)
        raise VocabularyError(f"no new document for {split} after {ATTEMPTS} attempts: ask for fewer documents")

    def _attempt(self, rng: random.Random, pool: str) -> tuple[Draft, dict] | None:
        plans = self.materials.plans
        plan = rng.choices(plans, [p.weight for p in plans])[0]
        topic = choose_topic(rng, self.materials.topics, plan.kind)
        scene, draft = self._scene(rng, topic, pool), Draft()
        try:
            for section in plan.sections(rng):
                frame = rng.choice(self.materials.sections[section])
                if draft.text and draft.text[-1] not in PUNCTUATION:
                    draft.write(rng.choices(("，", "。", " ", "；"), (6, 4, 1, 0.5))[0])
                self.materials.grammar.expand(parse_frame(frame), scene, draft)
        except VocabularyError:
            return None
        if any(word in draft.text for word in scene.unsaid):
            return None
        draft = tidy(draft, rng)
        level = plan.noise * rng.choice((0, 0, 0.5, 1, 2)) if plan.noise else 0
        draft = add_noise(draft, rng, min(level, 1.0))
        if not SHORTEST <= len(draft.text) <= LONGEST:
            return None
        return draft, {"note_type": plan.note_type, "topic": topic.name}

    def _scene(self, rng: random.Random, topic: Topic, pool: str) -> Scene:
        person = make_person(rng, topic.ages, topic.sexes)
        separators = rng.choices(list(LIST_STYLES), list(LIST_STYLES.values()))[0]
        lasts = rng.choices(list(LAST_STYLES), list(LAST_STYLES.values()))[0] if separators == ("、",) else separators
        misfits = self.materials.misfits[person.stage] + self.materials.misfits[person.sex]
        unsaid = self.materials.misfits[f"{person.stage}!"] + self.materials.misfits[f"{person.sex}!"]
        phrases = person.phrases | _words(rng, topic)
        return Scene(rng, topic.slots, phrases, {}, separators, lasts, pool, misfits, unsaid, person.stage)

    def _pair(self, index: int) -> list[Document]:
        pairs = self.materials.pairs
        for attempt in range(ATTEMPTS):
            # A template with few variants gives way to the next one.
            template = pairs[(index + attempt // 25) % len(pairs)]
            drafts = self._sides(template, f"{self.seed}/contrast/{index}/{attempt}")
            texts = {d.text for d in drafts or ()}
            if len(texts) == len(SIDES) and not texts & self.texts:
                self.texts |= texts
                return [
                    self._finish(f"contrast-{index:05d}-{side}", draft, _pair_meta(template, index, side))
                    for side, draft in zip(SIDES, drafts, strict=True)
                ]
        raise VocabularyError(f"no new contrast pair after {ATTEMPTS} attempts: ask for fewer documents")

    def _sides(self, template: PairTemplate, key: str) -> list[Draft] | None:
        """Both sides from the same random numbers, or None where a term does not fit the scene."""
        drafts = []
        for side in range(len(SIDES)):
            rng = random.Random(key)
            scene, draft = self._scene(rng, choose_topic(rng, self.materials.topics, "derm"), self.pool), Draft()
            try:
                self.materials.grammar.expand(parse_frame(template.side(side)), scene, draft)
            except VocabularyError:
                return None
            drafts.append(draft)
        return drafts

    def _finish(self, name: str, draft: Draft, meta: dict) -> Document:
        number = {m: i for i, m in enumerate(i for i, mark in enumerate(draft.marks) if mark.label)}
        entities = tuple(
            Entity(m.start, m.end, m.label, draft.text[m.start : m.end]) for m in draft.marks if m.label is not None
        )
        distractors = [{"start": m.start, "end": m.end} for m in draft.marks if m.label is None]
        other = {m: i for i, m in enumerate(i for i, mark in enumerate(draft.marks) if not mark.label)}
        cues = draft.cues + _lexical_cues(draft, self.materials.heads) + _neighbour_cues(draft)
        meta = meta | {
            "cues": [_cue_record("entity", number[c.mark], c) for c in _sorted(cues) if c.mark in number],
            "distractors": distractors,
            "distractor_cues": [_cue_record("distractor", other[c.mark], c) for c in _sorted(cues) if c.mark in other],
        }
        return Document(id=f"ad-synthetic-{name}", text=draft.text, entities=entities, meta=meta)


def _words(rng: random.Random, topic: Topic) -> dict[str, str]:
    """Plain words of the topic, `dept` and `dept2` being two different ones where there are two."""
    phrases = {}
    for macro, words in topic.words.items():
        first, second = rng.sample(words, 2)
        phrases |= {macro: first, f"{macro}2": second}
    return phrases


def _pair_meta(template: PairTemplate, index: int, side: str) -> dict:
    return {"note_type": "contrast", "contrast": template.kind, "pair": f"contrast-{index:05d}", "side": side}


def _sorted(cues: list[Cue]) -> list[Cue]:
    return sorted(cues, key=lambda c: (c.mark, c.start, c.end, c.kind))


def _cue_record(key: str, index: int, cue: Cue) -> dict:
    return {key: index, "start": cue.start, "end": cue.end, "kind": cue.kind}


def _neighbour_cues(draft: Draft) -> list[Cue]:
    """Two mentions without a character between them fix each other's boundary."""
    cues = []
    for index, (first, second) in enumerate(itertools.pairwise(draft.marks)):
        if first.end == second.start:
            cues.append(Cue(index, second.start, second.end, BOUNDARY))
            cues.append(Cue(index + 1, first.start, first.end, BOUNDARY))
    return cues


def _lexical_cues(draft: Draft, heads: dict[str, tuple[str, ...]]) -> list[Cue]:
    """The head (or the whole name) of every entity whose type no context cue decides."""
    decided = {c.mark for c in draft.cues if c.kind == CONTEXT}
    cues = []
    for index, mark in enumerate(draft.marks):
        if index in decided or mark.label is None:
            continue
        surface = draft.text[mark.start : mark.end]
        head = next((h for h in heads.get(mark.label, ()) if surface.endswith(h) and surface != h), None)
        start = mark.end - len(head) if head else mark.start
        cues.append(Cue(index, start, mark.end, HEAD if head else NAME))
    return cues
