"""Tests of the HTML page."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.formats import write_documents
from hf_adner.data.formats.html import html_text
from hf_adner.data.records import Document, Entity
from hf_adner.highlighting import TONES

HIDDEN = "\u202e\u2066\u200b\ufeff\x9b\x1b"
"""Characters that reorder a line, have no width, or control a terminal."""


class Page(HTMLParser):
    """Collects tags, attributes, and the text of each document."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.depth, self.open = [], [], [], 0, []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append(dict(attributes))
        if tag not in ("meta", "input"):
            self.open.append((tag, dict(attributes)))
        if dict(attributes).get("class") == "text":
            self.texts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if any(attributes.get("class") == "text" for _, attributes in self.open):
            self.texts[-1] += data


def parse(documents, **options):
    page = Page()
    page.feed("".join(html_text(documents, **options)))
    assert page.open == []
    return page


def test_a_script_in_a_note_is_escaped():
    bad = "<script>alert(1)</script>\"'&"
    entity = Entity(0, 8, 'x"><script>', meta={"note": "<img src=x onerror=alert(1)>"})
    page = parse([Document(bad, bad, (entity,), {"<b>": bad})], title=bad)
    assert page.texts == [bad]
    assert not {"script", "img", "b><"} & set(page.tags)
    assert page.tags.count("b") == 2  # the document's id and the label in the legend
    allowed = {
        "id",
        "type",
        "checked",
        "class",
        "data-label",
        "data-asserted",
        "data-tip",
        "tabindex",
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
    }
    assert {name for attributes in page.attributes for name in attributes} <= allowed
    assert any("default-src 'none'" in attributes.get("content", "") for attributes in page.attributes)


def test_no_character_reorders_a_line_or_is_not_seen():
    bad = f"红斑{HIDDEN}"
    page = "".join(html_text([Document(bad, bad, (Entity(0, 2, bad, meta={bad: bad}),), {bad: bad})], title=bad))
    assert not set(HIDDEN) & set(page)
    assert parse([Document("a", bad)]).texts == [f"红斑{chr(0xFFFD) * 5}\u241b"]


def test_the_page_has_no_external_resources():
    page = "".join(html_text([Document("a", "痒")]))
    assert not re.search(r"https?://|src=|@import|url\(|<link|<script", page)


def test_marks_tooltips_and_legend():
    meta = {"score": 0.98765, "needs_review": True, "start_score": 1.0}
    page = parse([Document("a", "面部瘙痒", (Entity(2, 4, "Symptom", meta=meta), Entity(0, 2, "BodySite")))])
    marks = [attributes for tag, attributes in zip(page.tags, page.attributes) if tag == "mark"]
    assert [mark["data-label"] for mark in marks] == ["BodySite", "Symptom"]
    assert "score: 0.988" in marks[1]["data-tip"] and "needs_review: yes" in marks[1]["data-tip"]
    assert "review" in marks[1]["class"].split() and "review" not in marks[0]["class"].split()
    text = html.unescape("".join(html_text([Document("a", "面部瘙痒", (Entity(2, 4, "Symptom"),))])))
    assert "1 document · 1 entity<" in text


def tones(documents, **options):
    """Colour of each entity of a page, by its style class."""
    text = "".join(html_text(documents, **options))
    colours = dict(re.findall(r"^(?:<style>)?\.(c\d+) { --tone: (#[0-9a-f]{6});", text, re.MULTILINE))
    page = parse(documents, **options)
    return [colours[mark["class"].split()[0]] for tag, mark in zip(page.tags, page.attributes) if tag == "mark"]


def test_a_label_has_the_colour_of_its_place_in_the_model():
    document = Document("a", "abc", (Entity(0, 1, "Y"), Entity(1, 2, "X"), Entity(2, 3, "Y")))
    assert tones([document, document]) == [TONES[1], TONES[0], TONES[1]] * 2  # unknown ones by name
    other = Document("b", "abc", (Entity(0, 1, "X"), Entity(1, 2, "A")))
    labels = ["Y", "Z", "X"]
    assert tones([other, document], labels=labels) == [TONES[2], TONES[3], TONES[0], TONES[2], TONES[0]]
    assert tones([document], labels=labels) == [TONES[0], TONES[2], TONES[0]]
    many = ["Z" * number for number in range(1, len(TONES) + 1)]
    again = "".join(html_text([document], labels=[*many, "Y"]))
    assert tones([document], labels=[*many, "Y"])[0] == TONES[0] and "border-bottom-style: double" in again


def test_entities_are_hidden_by_what_is_asserted_of_them():
    stated = [["negated"], [], ["family", "negated"], None, ["no such attribute"]]
    entities = tuple(
        Entity(place, place + 1, "X", meta={} if value is None else {"assertion": value})
        for place, value in enumerate(stated)
    )
    page = parse([Document("a", "abcde", entities)])
    boxes = [attributes["id"] for tag, attributes in zip(page.tags, page.attributes) if tag == "input"]
    affirmed, family, negated = boxes  # by name
    marks = [set(mark["class"].split()) for tag, mark in zip(page.tags, page.attributes) if tag == "mark"]
    assert [mark & set(boxes) for mark in marks] == [{negated}, {affirmed}, {family, negated}, set(), set()]
    shown = [mark.get("data-asserted") for tag, mark in zip(page.tags, page.attributes) if tag == "mark"]
    assert shown == ["negated", None, "family negated", None, None]
    text = "".join(html_text([Document("a", "abcde", entities)]))
    assert f"body:has(#{negated}:not(:checked)) mark.{negated}::after {{ visibility: hidden; }}" in text
    assert "negated <i>2</i>" in text and "<input" not in "".join(html_text([Document("a", "abcde", entities[3:])]))


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 19), st.integers(1, 20), st.sampled_from("AB")), max_size=6),
)
def test_elements_are_nested_and_keep_the_text(text, drawn):
    spans = {
        (min(start, len(text) - 1), min(len(text), max(start, 0) + length), label) for start, length, label in drawn
    }
    entities = tuple(Entity(*span) for span in spans if span[0] < span[1])
    page = parse([Document("a", text, entities)])
    assert "".join(page.texts) == text
    finished = [
        mark for tag, mark in zip(page.tags, page.attributes) if tag == "mark" and "goes-on" not in mark["class"]
    ]
    assert sorted(mark["data-label"] for mark in finished) == sorted(entity.label for entity in entities)


def test_crossing_entities_are_split():
    page = parse([Document("a", "abcdef", (Entity(0, 4, "A"), Entity(2, 6, "B")))])
    classes = [attributes["class"] for tag, attributes in zip(page.tags, page.attributes) if tag == "mark"]
    assert classes == ["c0 kept", "c1 kept goes-on", "c1 kept"]
    assert [attributes.get("class") for tag, attributes in zip(page.tags, page.attributes) if tag == "i"][0] == "rest"


@pytest.mark.parametrize("documents, shown", [([], "No documents."), ([Document("a", "")], "(no text)")])
def test_empty_pages(tmp_path, documents, shown):
    write_documents(documents, tmp_path / "a.html")
    assert shown in (tmp_path / "a.html").read_text(encoding="utf-8")
