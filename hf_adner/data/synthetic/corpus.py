"""The ad-synthetic corpus: invented dermatology notes and answers, reproducible by seed.

A document is made of the sections of its note type (`plans.txt`), a section of frames (`frames/`). A document of the
`contrast` split has a partner with the same words but another cue, and therefore another label or boundary; one of the
`assertion` split a partner with the same entities, of which something else is asserted.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from hf_adner.data.assertion import ASSERTION
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
from hf_adner.data.synthetic.noise import add_noise, apply_edits, regional, tidy
from hf_adner.data.synthetic.scene import Topic, choose_topic, make_person, read_topics
from hf_adner.data.synthetic.vocabulary import (
    ALL,
    DEFAULT,
    PROFILES,
    SEEN,
    UNSEEN,
    Vocabulary,
    VocabularyError,
    data_text,
    profile_files,
)

DEFAULT_SIZES = {"train": 3000, "validation": 400, "test": 400, "test_unseen": 400, "contrast": 400, "assertion": 400}
SHORTEST, LONGEST = 4, 600
PUNCTUATION = "，。；、：！？,.;:!? "
ATTEMPTS = 4000
REGIONAL_SHARE = 0.1
"""Share of the notes that use the words of other regions, of those that hold any; profiles without such words: none."""
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

REPEATS = {"?": (0, 1), "*": (0, 2), "+": (1, 2)}
SIDES = ("a", "b")
ASSERTED_LISTS = {"separators": ("、",), "last_separators": ("、", "、", "和", "及", "或")}
"""How lists are joined where it matters how far a cue reaches: a comma would leave it open."""
DIFFERENCE = re.compile(r"⟦([^⟦⟧‖]*)‖([^⟦⟧‖]*)⟧")


def generate_corpus(
    seed: int = 0, sizes: dict[str, int] | None = None, *, hold_out: bool = True, profile: str = DEFAULT
) -> dict[str, list[Document]]:
    """Generate the documents of each split.

    Args:
        seed: the same seed and sizes give the same documents; each document has its own random generator.
        sizes: documents per split, in place of those of `DEFAULT_SIZES`; 0 leaves a split empty.
        hold_out: reserve terms for `test_unseen`; if False, all splits use all terms, and `test_unseen` must have size
            0.
        profile: `default`, or `notes` with more outpatient notes, prescriptions, laboratory lines, Chinese medicine and
            answers on tests, treatments and triggers; its terms and documents are others.

    Returns:
        split -> documents. `meta` has `note_type`, `topic`; `cues`, a list of `{"entity", "start", "end", "kind"}`: the
        characters that determine the type or boundary of that entity (kinds: `grammar.CUE_KINDS`); `distractors`,
        mentions that are not entities, with their `distractor_cues`; and in the splits `contrast` and `assertion` the
        keys `contrast`, `pair` and `side`. Entities of `assertion` have `assertion` in their meta, the sorted list of
        the attributes that hold.

    Raises:
        ValueError: an unknown split or profile, or invalid sizes.
    """
    sizes = _all_sizes(sizes, hold_out)
    builder = _Builder(seed, Materials.load(profile), SEEN if hold_out else ALL)
    corpus = {split: builder.split(split, sizes[split]) for split in ("train", "validation", "test")}
    corpus["test_unseen"] = builder.unseen(sizes["test_unseen"], corpus["train"])
    for split in ("contrast", "assertion"):
        corpus[split] = builder.pairs(split, sizes[split])
    return corpus


def _all_sizes(sizes: dict[str, int] | None, hold_out: bool) -> dict[str, int]:
    unknown = set(sizes or {}) - set(DEFAULT_SIZES)
    if unknown:
        raise ValueError(f"unknown split {sorted(unknown)[0]!r}, expected {', '.join(DEFAULT_SIZES)}")
    all_sizes = DEFAULT_SIZES | (sizes or {})
    if min(all_sizes.values()) < 0:
        raise ValueError("sizes must not be negative")
    if not hold_out and all_sizes["test_unseen"]:
        raise ValueError("test_unseen needs held-out terms: give it size 0 with hold_out=False")
    return all_sizes


class _Builder:
    """Generates the documents of one seed, all with different texts."""

    def __init__(self, seed: int, materials: Materials, pool: str):
        self.seed, self.materials, self.pool = seed, materials, pool
        self.texts: set[str] = set()

    def split(self, name: str, size: int) -> list[Document]:
        """Generate `size` documents with the terms of the builder's pool."""
        return [self._document(name, index, self.pool) for index in range(size)]

    def unseen(self, size: int, train: list[Document]) -> list[Document]:
        """Generate `size` documents whose entities do not occur in the texts of `train`."""
        seen = "\n".join(document.text for document in train)
        return [self._document("test_unseen", index, UNSEEN, seen) for index in range(size)]

    def pairs(self, split: str, size: int) -> list[Document]:
        """Generate `size` documents in pairs; with an odd size, the last document has no partner."""
        documents: list[Document] = []
        for index in range((size + 1) // 2):
            documents.extend(self._pair(split, index))
        return documents[:size]

    def _document(self, split: str, index: int, pool: str, seen: str | None = None) -> Document:
        rng = random.Random(f"{self.seed}/{split}/{index}")
        for _ in range(ATTEMPTS):
            attempt = self._attempt(rng, pool)
            if attempt is None:
                continue
            draft, meta = attempt
            surfaces = [draft.text[mark.start : mark.end] for mark in draft.marks if mark.label]
            is_seen = seen is not None and (not surfaces or any(surface in seen for surface in surfaces))
            if not is_seen and draft.text not in self.texts:
                self.texts.add(draft.text)
                return self._finish(f"{split}-{index:05d}", draft, meta)
        raise VocabularyError(f"no new document for {split} after {ATTEMPTS} attempts: ask for fewer documents")

    def _attempt(self, rng: random.Random, pool: str) -> tuple[Draft, dict] | None:
        plans = self.materials.plans
        plan = rng.choices(plans, [plan.weight for plan in plans])[0]
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
        draft = self._regional(tidy(draft, rng), rng)
        level = plan.noise * rng.choice((0, 0, 0.5, 1, 2)) if plan.noise else 0
        draft = add_noise(draft, rng, min(level, 1.0))
        if not SHORTEST <= len(draft.text) <= LONGEST:
            return None
        return draft, {"note_type": plan.note_type, "topic": topic.name}

    def _regional(self, draft: Draft, rng: random.Random) -> Draft:
        edits = regional(draft.text, rng, self.materials.profile)
        return apply_edits(draft, edits) if edits and rng.random() < REGIONAL_SHARE else draft

    def _scene(self, rng: random.Random, topic: Topic, pool: str) -> Scene:
        person = make_person(rng, topic.ages, topic.sexes)
        separators = rng.choices(list(LIST_STYLES), list(LIST_STYLES.values()))[0]
        lasts = rng.choices(list(LAST_STYLES), list(LAST_STYLES.values()))[0] if separators == ("、",) else separators
        misfits = self.materials.misfits[person.stage] + self.materials.misfits[person.sex]
        unsaid = self.materials.misfits[f"{person.stage}!"] + self.materials.misfits[f"{person.sex}!"]
        phrases = person.phrases | _draw_words(rng, topic)
        return Scene(rng, topic.slots, phrases, {}, separators, lasts, pool, misfits, unsaid, person.stage)

    def _pair(self, split: str, index: int) -> list[Document]:
        pairs = self.materials.pairs[split]
        for attempt in range(ATTEMPTS):
            # a template with few variants is replaced by the next template
            template = pairs[(index + attempt // 25) % len(pairs)]
            drafts = self._sides(template, f"{self.seed}/{split}/{index}/{attempt}", split == "assertion")
            texts = {draft.text for draft in drafts or ()}
            if len(texts) == len(SIDES) and not texts & self.texts:
                self.texts |= texts
                return [
                    self._finish(f"{split}-{index:05d}-{side}", draft, _pair_meta(split, template, index, side))
                    for side, draft in zip(SIDES, drafts, strict=True)
                ]
        raise VocabularyError(f"no new {split} pair after {ATTEMPTS} attempts: ask for fewer documents")

    def _sides(self, template: PairTemplate, key: str, asserted: bool) -> list[Draft] | None:
        """Expand both sides with the same random numbers; None if a term does not fit the scene."""
        drafts = []
        for side in range(len(SIDES)):
            rng = random.Random(key)
            scene, draft = self._scene(rng, choose_topic(rng, self.materials.topics, "derm"), self.pool), Draft()
            scene = replace(scene, **ASSERTED_LISTS) if asserted else scene
            try:
                self.materials.grammar.expand(parse_frame(template.side(side)), scene, draft)
            except VocabularyError:
                return None
            drafts.append(draft)
        return drafts

    def _finish(self, name: str, draft: Draft, meta: dict) -> Document:
        marks = [index for index, mark in enumerate(draft.marks) if mark.label]
        distractor_marks = [index for index, mark in enumerate(draft.marks) if not mark.label]
        says = meta["note_type"] == "assertion"
        entities = tuple(
            Entity(mark.start, mark.end, mark.label, draft.text[mark.start : mark.end],
                   {ASSERTION: sorted(mark.holds)} if says else {})
            for mark in draft.marks
            if mark.label is not None
        )  # fmt: skip
        cues = draft.cues + _lexical_cues(draft, self.materials.heads) + _neighbour_cues(draft)
        cues.sort(key=lambda cue: (cue.mark, cue.start, cue.end, cue.kind))
        meta = meta | {
            "cues": _cue_records("entity", marks, cues),
            "distractors": [{"start": mark.start, "end": mark.end} for mark in draft.marks if mark.label is None],
            "distractor_cues": _cue_records("distractor", distractor_marks, cues),
        }
        return Document(id=f"ad-synthetic-{name}", text=draft.text, entities=entities, meta=meta)


def _draw_words(rng: random.Random, topic: Topic) -> dict[str, str]:
    """Draw two different words for each macro of the topic, such as `dept` and `dept2`."""
    phrases = {}
    for macro, words in topic.words.items():
        first, second = rng.sample(words, 2)
        phrases |= {macro: first, f"{macro}2": second}
    return phrases


def _pair_meta(split: str, template: PairTemplate, index: int, side: str) -> dict:
    return {"note_type": split, "contrast": template.kind, "pair": f"{split}-{index:05d}", "side": side}


def _cue_records(key: str, marks: list[int], cues: list[Cue]) -> list[dict]:
    """Return the cues of some marks; `key` is the index of the mark among these."""
    numbers = {mark: number for number, mark in enumerate(marks)}
    return [
        {key: numbers[cue.mark], "start": cue.start, "end": cue.end, "kind": cue.kind}
        for cue in cues
        if cue.mark in numbers
    ]


def _neighbour_cues(draft: Draft) -> list[Cue]:
    """Return boundary cues of adjacent mentions: each determines the boundary of the other."""
    cues = []
    for index, (first, second) in enumerate(itertools.pairwise(draft.marks)):
        if first.end == second.start:
            cues.append(Cue(index, second.start, second.end, BOUNDARY))
            cues.append(Cue(index + 1, first.start, first.end, BOUNDARY))
    return cues


def _lexical_cues(draft: Draft, heads: dict[str, tuple[str, ...]]) -> list[Cue]:
    """Return the head, or the whole name, of each entity without a context cue."""
    with_context = {cue.mark for cue in draft.cues if cue.kind == CONTEXT}
    cues = []
    for index, mark in enumerate(draft.marks):
        if index in with_context or mark.label is None:
            continue
        surface = draft.text[mark.start : mark.end]
        head = next((word for word in heads.get(mark.label, ()) if surface.endswith(word) and surface != word), None)
        start = mark.end - len(head) if head else mark.start
        cues.append(Cue(index, start, mark.end, HEAD if head else NAME))
    return cues


@dataclass(frozen=True)
class Materials:
    """Content of the packaged data files."""

    profile: str
    grammar: Grammar
    topics: dict[str, Topic]
    plans: list[Plan]
    sections: dict[str, list[str]]
    pairs: dict[str, list[PairTemplate]]
    heads: dict[str, tuple[str, ...]]
    misfits: dict[str, tuple[str, ...]]

    @classmethod
    @lru_cache(maxsize=4)
    def load(cls, profile: str = DEFAULT) -> Materials:
        """Read the packaged data files of a profile."""
        sections: dict[str, list[str]] = {}
        for name in profile_files("frames", profile):
            for section, frames in read_sections(data_text(name), name).items():
                sections.setdefault(section, []).extend(frames)
        misfits = read_word_lists(data_text("misfits.txt"))
        return cls(
            profile,
            Grammar(Vocabulary.default(profile), read_macros(data_text("macros.txt")), misfits),
            read_topics(data_text("topics.txt")),
            [plan for part in PROFILES[profile] for plan in read_plans(data_text(part, "plans.txt"))],
            sections,
            {split: read_pairs(data_text(f"{split}.txt"), split) for split in ("contrast", "assertion")},
            read_word_lists(data_text("heads.txt")),
            misfits,
        )


def read_macros(text: str) -> dict[str, Choice]:
    """Parse phrases by name: lines `name = alternative | alternative*2`, continued by lines that start with `|`."""
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
    """Parse lines `key = word word` to words by key, longest first."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): tuple(sorted(words.split(), key=len, reverse=True)) for key, _, words in lines}


class Plan(NamedTuple):
    """Structure of a note type; `steps` are (section, minimum, maximum number) in order."""

    note_type: str
    weight: float
    kind: str
    noise: float
    steps: tuple[tuple[str, int, int], ...]

    def sections(self, rng: random.Random) -> list[str]:
        """Draw the sections of one document."""
        return [name for name, low, high in self.steps for _ in range(rng.randint(low, high))]


def read_plans(text: str) -> list[Plan]:
    """Parse a plan file with one line per note type.

    A line has name, weight, kind of topic (derm, general or any), noise level, and sections, each with an optional `?`
    (0 or 1 times), `*` (0 to 2 times) or `+` (1 to 2 times).
    """
    plans = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 5:
            raise VocabularyError(f"plans:{number}: expected a name, a weight, a kind, a noise level and sections")
        steps = tuple((word.rstrip("?*+"), *REPEATS.get(word[-1], (1, 1))) for word in words[4:])
        plans.append(Plan(words[0], float(words[1]), words[2], float(words[3]), steps))
    return plans


def read_sections(text: str, source: str = "frames") -> dict[str, list[str]]:
    """Parse frames by section: a line `[[section]]`, then one frame per line."""
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


class PairTemplate(NamedTuple):
    """Template of a contrast pair; `kind` is what the cue determines."""

    kind: str
    source: str

    def side(self, index: int) -> str:
        """Return the frame of side 0 or 1."""
        return DIFFERENCE.sub(lambda match: match[index + 1], self.source)


def read_pairs(text: str, source: str = "contrast") -> list[PairTemplate]:
    """Parse a file of pairs: templates by `[[kind]]`, in which `⟦a‖b⟧` is the difference between the two sides.

    Raises:
        ValueError: a template has no difference.
    """
    pairs = [PairTemplate(kind, source) for kind, sources in read_sections(text, source).items() for source in sources]
    for pair in pairs:
        if not DIFFERENCE.search(pair.source):
            raise ValueError(f"no difference in the {pair.kind} template {pair.source[:20]!r}")
    return pairs
