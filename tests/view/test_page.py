"""The page: complete, self-contained, and nothing in it runs or loads but its own script.

A note's text with its entities, nested and crossing ones as well.
"""

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import Entity, Explanation
from hf_adner.explain.explanation import Cue, ExplainedNote, Probe
from hf_adner.explain.global_table import GlobalTable
from hf_adner.highlighting import LINE_STYLE, TONES
from hf_adner.view.page import explanations_to_html, make_note_view, notes_of, page_style, page_text, summarise

from ..corpora import HIDDEN
from .notes import NOTE, SPANS, Page, explanation, many, render

BAD = "<script>alert(1)</script></script><!--\"'&<img src=x onerror=alert(1)>{{ 7*7 }}]]>\u2028"
HANDLERS = {"src", "style", "onclick", "onerror", "onload", "action", "formaction", "srcdoc"}


def assert_nothing_foreign(page: Page) -> None:
    """Two own scripts at most per kind, and no element or attribute that runs or loads something."""
    scripts = [attributes for tag, attributes in page.attributes if tag == "script"]
    assert [one for one in scripts if one.get("type") != "application/json"] == [{}]
    assert not {"img", "iframe", "object", "embed", "link", "base", "form", "template"} & set(page.tags)
    assert not HANDLERS & {name for _, attributes in page.attributes for name in attributes}
    assert all(one["href"].startswith("#") for _, one in page.attributes if "href" in one)


def test_one_page_shows_the_note_and_every_entity():
    page = render(notes_of(many()))
    assert_nothing_foreign(page)
    assert page.text_of("div", "text", without="chip") == NOTE
    links = [attributes["href"] for attributes in page.with_class("chip")]
    sections = [attributes["id"] for attributes in page.with_class("reason")]
    assert sorted(links) == sorted(f"#{key}" for key in sections) and len(links) == len(SPANS)
    assert set(page.levels) == set(sections) and {len(one) for one in page.levels.values()} == {len(NOTE)}
    assert page.tags.count("svg") > 3 * len(SPANS)
    for words in (
        "Words of the lexicon",
        "What the model usually goes by",
        "This text and the corpus",
        "begins and ends",
    ):
        assert page.text_of("section", "reason").count(words) >= len(SPANS)
    assert "□" in page.text_of("section", "reason") and "97%" in page.text_of("table", "probes")


def test_sections_without_evidence_have_no_empty_headings():
    text = render(notes_of([Explanation("红斑", Entity(0, 2, "x"), (0.0, 0.0), "lime", "span", 0.5)])).text_of(
        "section"
    )
    assert "No character has any weight" in text
    assert not re.search("lexicon|usually|corpus|worded|begins", text)


def test_markup_in_notes_labels_and_details_is_shown_not_run():
    note = explanation(
        BAD,
        (0, 8, BAD),
        method=BAD,
        target=BAD,
        details={BAD: BAD},
        fusion_weights={BAD: [1.0] * len(BAD), "local": [0.5] * len(BAD)},
    )
    page = render([ExplainedNote(BAD, BAD, (note,))], title=BAD)
    assert_nothing_foreign(page)
    assert page.text_of("div", "text", without="chip") == BAD
    assert page.text_of("h1") == BAD == page.text_of("h2") and page.text_of("title").startswith(BAD)
    assert page.text_of("dl").count(BAD) >= 3
    assert "49" not in page.text_of("h1")


def test_no_character_reorders_a_line_or_is_not_seen():
    bad = f"红斑{HIDDEN}"
    note = explanation(
        bad,
        (0, 8, bad),
        method=bad,
        target=bad,
        details={bad: bad},
        fusion_weights={bad: [1.0] * len(bad)},
        cues=[Cue(0, 1, bad, 1.5)],
        probes=[Probe(bad, bad, bad, Entity(0, 8, bad), [(0, 1)], 0.97, 0.03)],
    )
    page = "".join(page_text([ExplainedNote(bad, bad, (note,)), ExplainedNote(bad, "a")], title=bad))
    assert not set(HIDDEN) & set(page)


@given(
    st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=15),
    st.sampled_from(["", "</script>", "<!--<script>", "]]>", "&lt;", "\r\n", "<svg onload=x>", "{% raw %}"]),
    st.text(st.characters(codec=None, exclude_categories=("Cs",)), min_size=1, max_size=8).filter(str.strip),
)
def test_any_text_and_label_are_shown_as_they_are(text, between, label):
    text = text + between + text
    note = explanation(text, (0, len(text), label))
    pieces = list(page_text([ExplainedNote(label, text, (note,))]))
    page = Page("".join(pieces).encode("utf-8").decode("utf-8"))
    assert_nothing_foreign(page)
    shown = page.text_of("div", "text", without="chip")
    assert len(shown) == len(text) == len(page.levels["n1-e1"])
    assert all(seen == one for seen, one in zip(shown, text) if one.isalnum() or one in "<>&{}%/!-]")


def test_the_policy_lets_only_the_page_itself_run():
    text = "".join(page_text(notes_of(many())))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|@import|url\(", text)


def test_without_a_script_nothing_is_hidden():
    text = "".join(page_text(notes_of(many())))
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)[1]
    hidden = re.findall(r"([^{}]*)\{[^{}]*display: none", style.split("@media print")[0])
    assert hidden and all(".js " in rule or rule.strip().split(", ") == [".script", ".status:empty"] for rule in hidden)


def test_several_notes_have_an_overview(tmp_path):
    path = tmp_path / "new" / "page.html"
    empty = ExplainedNote("nothing here", "无特殊")
    notes = [*notes_of([many(), explanation("红斑痒", (0, 2, "Symptom"), posterior=0.25)]), empty]
    page = render(notes)
    assert [attributes["id"] for attributes in page.with_class("note")] == ["n1", "n2", "n3"]
    assert "1 to check" in page.text_of("nav") and "nothing here" in page.text_of("nav")
    assert page.text_of("article").count("No entities.") == 1
    explanations_to_html([many(), []], path, title="报告")
    assert "报告" in path.read_text(encoding="utf-8") and [file.name for file in path.parent.iterdir()] == ["page.html"]
    assert "There are no explanations." in render([]).text_of("main")


def test_explanations_of_one_text_make_one_note():
    notes = notes_of([explanation(), many(), []])
    assert [(note.name, len(note.explanations)) for note in notes] == [("Note 1", 1 + len(SPANS))]


def test_the_global_table_is_shown_by_label_and_role():
    table = GlobalTable()
    for number in range(6):
        table.add("伴红斑。", (1, 3, "Symptom"), [-1.0, 2.0, 1.0, -2.0], document=f"d{number}")
        table.add("<b>炎", (0, 4, "<Drug>"), [1.0] * 4, document=f"d{number}")
    page = render(notes_of(many()), table=table)
    units = page.text_of("table", "units")
    assert "红" in units and "斑" in units and "伴" not in units
    assert "<b>" not in units  # no entity of that label is on the page
    assert_nothing_foreign(page)


@pytest.mark.parametrize("threshold, marked", [(0.8, 0), (0.99, len(SPANS))])
def test_thresholds_say_what_to_check(threshold, marked):
    page = render(notes_of(many()), review_threshold=threshold)
    assert page.text_of("section", "reason").count("A person should look at this") == marked


SPAN = st.integers(0, len(NOTE) - 1).flatmap(
    lambda start: st.tuples(st.just(start), st.integers(start + 1, len(NOTE)), st.sampled_from(["Symptom", "Drug"]))
)


def view(spans, text=NOTE):
    return make_note_view("n1", ExplainedNote("a", text, many(text, spans)), 0.8)


@given(st.lists(SPAN, max_size=5))
def test_tokens_nest_and_spell_the_text(spans):
    note = view(spans)
    around, covered, closed = [], {section.key: "" for section in note.sections}, []
    for token in note.tokens:
        if token.kind == "open":
            around.append(token.section.key)
        elif token.kind == "close":
            assert around.pop() == token.section.key
            closed += [token.section.key] if token.is_last else []
        else:
            for key in around:
                covered[key] += token.text
    assert around == [] and sorted(closed) == sorted(covered)  # each entity has one last piece
    assert "".join(token.text for token in note.tokens) == NOTE
    assert all(covered[section.key] == section.entity.text for section in note.sections)


def test_sections_stand_by_place_with_longer_entities_first():
    note = view(list(reversed(SPANS)))
    assert [(one.entity.start, one.entity.end) for one in note.sections] == [span[:2] for span in SPANS]
    assert [one.key for one in note.sections] == [f"n1-e{number}" for number in range(1, 6)]


def test_a_note_holds_explanations_of_its_own_text_only():
    with pytest.raises(ValueError, match="'other' has an explanation of another text"):
        ExplainedNote("other", "红斑", many())


def test_the_summary_counts_labels():
    sure = explanation()
    unsure = explanation(posterior=0.25, stability=None, entity=Entity(0, 2, "Symptom"))
    drug = explanation(entity=Entity(13, 19, "Drug"))
    rows = summarise([make_note_view("n1", ExplainedNote("a", NOTE, (sure, unsure, drug)), 0.8)])
    assert [(row.label, row.entities, row.to_check) for row in rows] == [("Symptom", 2, 1), ("Drug", 1, 0)]
    assert rows[0].score == pytest.approx(0.61)
    assert 0 < rows[0].inside < 1


def test_remarks_are_shown():
    plain = ExplainedNote("a", NOTE, tuple(many()), "2 of 5 entities <b>")
    assert "2 of 5 entities &lt;b&gt;" in "".join(page_text([plain, ExplainedNote("b", NOTE, tuple(many()))]))


def test_stability_stands_with_the_method_alone():
    page = render([ExplainedNote("a", NOTE, tuple(many())), ExplainedNote("b", NOTE, tuple(many(stability=None)))])
    assert page.text_of("dl").count("stability of the scores") == len(SPANS)
    assert page.text_of("dl").count("of whether the entity is right it says nothing") == len(SPANS)
    beside = page.text_of("section", without="method") + page.text_of("div", "paper")
    assert "tability" not in beside


def colours(page: Page) -> dict[str, str]:
    """Style class of each label of the legend."""
    return {
        "".join(data for around, data in page.texts if around and around[-1] == ("span", one["class"])).strip(): one[
            "class"
        ].split()[1]
        for one in page.with_class("label")
    }


def test_a_label_has_the_colour_of_its_place_in_the_model():
    labels = ("BodySite", "Disease", "Drug", "Symptom")
    for spans in (SPANS, SPANS[-1:], SPANS[1:2] * 3):
        page = render(notes_of(many(spans=spans, labels=labels)))
        shown = {attributes["class"].split()[1] for attributes in page.with_class("entity")}
        assert shown == {f"t{labels.index(label)}" for _, _, label in spans}
        assert set(colours(page).values()) == shown
    unknown = render(notes_of([explanation(span=SPANS[-1], labels=labels), explanation(span=(0, 1, "Age"))]))
    assert {one["class"].split()[1] for one in unknown.with_class("entity")} == {"t2", "t4"}


def test_more_labels_than_colours_differ_in_their_line():
    labels = tuple(f"L{number}" for number in range(len(TONES) + 2))
    page = render(notes_of([explanation(span=(2, 5, labels[-1]), labels=labels)]))
    assert page.with_class("entity")[0]["class"].split()[1:3] == ["t1", "again"]


def test_short_entities_stay_on_a_line_with_their_pieces():
    page = render(notes_of(many(spans=[(0, 5, "A"), (3, 8, "B")])))
    assert ["rest" in one["class"].split() for one in page.with_class("entity")] == [False, False, True]
    assert all("kept" in one["class"].split() for one in page.with_class("entity"))
    long = "红" * 40
    page = render(notes_of([explanation(long, (0, 40, "A")), explanation(long, (0, 18, "A"))]))
    assert [set(one["class"].split()) & {"kept", "kept-wide"} for one in page.with_class("entity")] == [
        set(),
        {"kept-wide"},
    ]
    style = re.search("<style>(.*?)</style>", "".join(page_text([])), re.DOTALL)[1]
    assert LINE_STYLE in style


def test_assertions_are_shown_and_can_be_filtered():
    cues = [{"attribute": "negated", "start": 0, "end": 2}]
    details = [
        {"assertion": ["negated"], "assertion_cues": cues, "norm": "signed"},
        {"assertion": [], "assertion_cues": []},
        {"assertion": ["family", "negated"], "assertion_cues": []},
    ]
    spans = [(2, 5, "Symptom"), (6, 8, "Symptom"), (13, 19, "Drug")]
    page = render(notes_of([explanation(span=span, details=one) for span, one in zip(spans, details)]))
    entities = page.with_class("entity")
    assert [one["data-assertion"] for one in entities] == ["negated", "affirmed", "family negated"]
    assert ["marked" in one["class"] for one in entities] == [True, False, True]
    boxes = [attributes["value"] for tag, attributes in page.attributes if tag == "input"]
    assert boxes == ["affirmed", "family", "negated"]
    assert "negated by 四肢 (0–2)" in page.text_of("p", "facts")
    assert "assertion_cues" not in page.text_of("dl")
    assert page.text_of("thead").count("Assertion") == 1 and "family negated" in page.text_of("td")


def test_pages_without_assertions_have_no_filter():
    page = render(notes_of(many()))
    assert "input" not in page.tags and not any("data-assertion" in one for one in page.with_class("entity"))


def test_frames_of_entities_leave_room_for_the_characters_beside_them():
    style = page_style("differences.css")
    (room,) = re.findall(r"(?m)^\.entity \{[^}]*margin-inline: ([\d.]+)px", style)
    frames = re.findall(r"\.entity[.\w]* \{[^}]*outline: ([\d.]+)px[^}]*outline-offset: ([\d.]+)px", style)
    assert len(frames) == 3 and all(float(width) + float(offset) <= float(room) for width, offset in frames)
