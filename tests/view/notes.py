"""Explanations with everything that a page can show, and a reader of pages."""

import json
from html.parser import HTMLParser

from hf_adner import Entity, Explanation
from hf_adner.explain.explanation import Cue, Probe, WordScore
from hf_adner.view.page import page_text

NOTE = "四肢红斑块，瘙痒3年。外用他克莫司软膏后好转"
SPANS = [(0, 2, "BodySite"), (2, 5, "Symptom"), (2, 4, "Symptom"), (6, 8, "Symptom"), (13, 19, "Drug")]
EMPTY_ELEMENTS = {"meta", "input"}


def explanation(text=NOTE, span=(2, 5, "Symptom"), **changes) -> Explanation:
    start, end, label = span
    length = len(text)
    values = {
        "text": text,
        "entity": Entity(start, end, label),
        "scores": [2.0 if start <= place < end else -0.5 if place % 3 == 0 else 0.25 for place in range(length)],
        "method": "fused",
        "target": "label",
        "value": 7.5,
        "lexicon": [WordScore("", start, end, 1.25)],
        "start_profile": [0.96 if place == start else 0.01 for place in range(length)],
        "end_profile": [0.9 if place == end - 1 else 0.08 for place in range(length)],
        "stability": 0.75,
        "fusion_weights": {"local": [0.75] * length, "global": [0.25] * length},
        "details": {"completeness_error": 0.125, "norm": "signed"},
        "posterior": 0.97,
        "cues": [Cue(start, start + 1, "left-edge", 1.5)],
        "probes": [
            Probe("start-edit", "boundary", text, Entity(start, end, label), [(start, start + 1)], 0.97, 0.03),
            Probe("punctuation", "label-preserving", text, Entity(start, end, label), [], 0.97, 0.97),
        ],
    }
    return Explanation(**{**values, **changes})


def many(text=NOTE, spans=tuple(SPANS), **changes) -> list[Explanation]:
    return [explanation(text, span, **changes) for span in spans]


class Page(HTMLParser):
    """Tags, attributes, and texts of elements by class or tag; checks that elements close in order."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag not in EMPTY_ELEMENTS:
            self.open.append((tag, dict(attributes).get("class") or ""))

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.texts.append((list(self.open), data))

    def text_of(self, tag: str, style: str | None = None, without: str | None = None) -> str:
        """All text inside elements of a tag (and class), leaving out what lies in elements of another class."""
        return "".join(
            data
            for around, data in self.texts
            if any(name == tag and (style is None or style in classes.split()) for name, classes in around)
            and not any(without is not None and without in classes.split() for _, classes in around)
        )

    def with_class(self, style: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.attributes if style in (attributes.get("class") or "").split()]

    @property
    def levels(self) -> dict[str, str]:
        """What the script paints with, of all notes."""
        found = {}
        for around, data in self.texts:
            if around and around[-1] == ("script", "levels"):
                found.update(json.loads(data))
        return found


def render(notes, **options) -> Page:
    return Page("".join(page_text(notes, **options)))
