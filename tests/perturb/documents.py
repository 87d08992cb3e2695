"""Documents for the tests of perturbations, and what must hold of every result."""

from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.perturbation import LABEL_PRESERVING, MASK, Perturbed
from hf_adner.perturb.protected import keeps_protected, protected_spans

PIECES = (
    "患者 反复 瘙痒 红斑 湿疹 皮炎 面部 无 否认 左 不适 3天 10mg/kg 两周 2020年3月5日 0.1% ， 。 ； 、 （ ） 后 "
    "出现 伴 IgE CD4 12 patient's eczema left no denies 5 mg , . ; : ! ? e\u0301 \u200d नमस्ते \u0130 Σ \u3000 "
    "１２ ａ □ <b> \ufffd \u200b"
).split(" ")
LABELS = ("Disease", "Symptom")

NOTE = "患者反复面部红斑、瘙痒3年，加重2周；否认发热，咳嗽。查IgE 升高，诊断特应性皮炎，外用0.1%他克莫司软膏。"
ENGLISH = (
    "The patient has chronic eczema with severe itch on the left arm, denies fever; "
    "given 5 mg cetirizine daily. No rash."
)


def annotated(text: str, labels: dict[str, str], identity: str = "a") -> Document:
    """The text with the first occurrence of each word as an entity."""
    entities = [
        Entity(text.index(word), text.index(word) + len(word), label, meta={"n": len(word)})
        for word, label in labels.items()
    ]
    return Document(identity, text, tuple(entities), {"patient": 1})


def note(identity: str = "a") -> Document:
    """A Chinese note with six entities, two of them nested."""
    labels = {"面部红斑": "Symptom", "面部": "BodySite", "瘙痒": "Symptom", "IgE": "Test", "特应性皮炎": "Disease"}
    return annotated(NOTE, {**labels, "他克莫司软膏": "Drug"}, identity)


def english(identity: str = "e") -> Document:
    """An English note with entities of one word and of two."""
    labels = {"chronic eczema": "Disease", "severe itch": "Symptom", "fever": "Symptom", "cetirizine": "Drug"}
    return annotated(ENGLISH, labels, identity)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any text, mostly of clinical pieces, with entities that may nest, touch and cross."""
    characters = st.characters(exclude_categories=["Cs"])
    text = "".join(draw(st.lists(st.sampled_from(PIECES) | characters | st.just(" "), max_size=30)))
    spans = set()
    for _ in range(draw(st.integers(0, 4)) if text else 0):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 8)))
        spans.add((start, end, draw(st.sampled_from(LABELS))))
    return Document(draw(st.sampled_from("abc")), text, tuple(Entity(*span) for span in sorted(spans)))


def check(result: Perturbed, document: Document, swaps: bool = False) -> None:
    """Fail unless everything in the result fits together."""
    text, new, alignment = document.text, result.document.text, result.alignment
    assert result.original == document
    assert (result.document.id, result.document.meta) == (document.id, document.meta)
    assert (len(alignment.forward), len(alignment.backward)) == (len(text), len(new))
    edited = set(result.edited)
    assert all(new[place] == text[start] for start, place in result.kept)
    assert len(result.kept) == len(text) - len(edited)
    assert all(new[place] == MASK for place in result.masked)
    _check_entities(result, document, swaps)
    _check_protected(result, document)


def _check_entities(result: Perturbed, document: Document, swaps: bool) -> None:
    assert sorted(result.entity_map) == list(range(len(result.document.entities)))
    for index, old in enumerate(document.entities):
        new = result.entity(index)
        assert (new.label, new.meta) == (old.label, old.meta)
        if result.kind == LABEL_PRESERVING and not swaps:
            assert new.text == old.text
            assert result.alignment.map_span(old.start, old.end) == (new.start, new.end)


def _check_protected(result: Perturbed, document: Document) -> None:
    for start, end in protected_spans(document.text):
        assert result.alignment.map_span(start, end) is not None
        assert not set(range(start, end)) & set(result.edited)
    assert keeps_protected(document.text, result.document.text)
