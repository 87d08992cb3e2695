"""What the page says of one entity."""

import pytest

from hf_adner.explain.explanation import WordScore
from hf_adner.view.section import make_section, number, percent, place

from .notes import NOTE, explanation


def section(**changes):
    return make_section("n1-e1", explanation(**changes), 0.8)


def test_it_tells_what_the_explanation_holds():
    one = section()
    assert (one.surface, one.label, one.is_signed, one.largest) == ("红斑块", "Symptom", True, 2.0)
    assert "".join(piece.text for piece in one.pieces) == NOTE
    assert "".join(piece.text for piece in one.pieces if "own" in piece.style) == "红斑块"
    assert len(one.levels) == len(NOTE) and one.levels[2:5] == "qqq"
    assert [(row.text, row.place, row.value) for row in one.words] == [("红斑块", "2–5", "1.25")]
    assert [(row.text, row.place, row.note) for row in one.cues] == [("红", "2", "its first character")]
    assert one.fusion_shares == [("this text", pytest.approx(0.75)), ("the corpus", pytest.approx(0.25))]
    assert sum(role.percent for role in one.roles) == pytest.approx(100)
    assert one.details[:2] == [("completeness_error", "0.125"), ("norm", "signed")]
    assert one.details[2][1].startswith("0.75 of 1, when unimportant") and len(section(stability=None).details) == 2
    assert one.question == "why these characters are labelled Symptom"
    assert one.top[0].note.endswith("%") and one.top[0].value == "2"


def test_probes_show_the_text_around_the_entity():
    first, second = section().probes
    assert [(piece.text, piece.style) for piece in first.pieces][1:3] == [("红", "edit own"), ("斑块", "own")]
    assert first.has_fallen and first.is_boundary and not second.has_fallen
    assert second.name == "signs and spaces written differently"


def test_rivals_are_other_boundaries_of_the_same_entity():
    begins, ends = [0.0] * len(NOTE), [0.0] * len(NOTE)
    begins[2], begins[1], begins[15] = 0.7, 0.3, 0.9
    assert section(start_profile=begins, end_profile=None).rivals == ["begin at 肢 (1): 30%"]
    ends[1] = 0.3  # what begins there ends there: a neighbour
    begins[3], ends[4], ends[6], begins[6] = 0.2, 0.9, 0.1, 0.1
    assert section(start_profile=begins, end_profile=ends).rivals == ["begin at 斑 (3): 20%"]
    assert section(start_profile=None, end_profile=None).rivals == []


def test_weak_words_are_counted():
    words = [WordScore("", 2, 5, 10.0), WordScore("", 2, 4, -1.0), WordScore("", 6, 8, 0.01)]
    one = section(lexicon=words)
    assert ([word.text for word in one.words], one.hidden_words) == (["红斑块", "红斑"], 1)


def test_what_is_missing_is_left_out():
    bare = section(
        lexicon=[],
        start_profile=None,
        end_profile=None,
        fusion_weights={},
        probes=(),
        cues=(),
        details={},
        stability=None,
    )
    assert bare.boundary is None and bare.fusion is None and bare.fusion_shares == [] == bare.rivals
    assert not (bare.words or bare.cues or bare.probes or bare.details or bare.checks)
    zero = section(scores=[0.0] * len(NOTE))
    assert zero.largest == 0 and zero.roles == [] == zero.top and set(zero.levels) == {"i"}


def test_a_fused_explanation_names_its_local_explainer():
    """Explanations from before `fused-fast` are called fused too."""
    for name in ("fused", "fused-fast"):
        words = section(method=name, details={"local": "grad-x-input"}).method
        assert words.startswith("this text's own explanation joined") and words.endswith("(gradient × input)")
    assert "its own" not in section(method="fused", details={}).method


def test_why_a_person_should_look():
    assert section().checks == []
    assert section(posterior=0.5, stability=0.25).checks == ["the model is not sure (50%)"]
    assert section(posterior=0.9, stability=0.0).checks == []
    assert section(posterior=0.9, score=0.7).checks == ["the model is not sure (70%)"]
    assert section(posterior=0.5, score=0.9).confidence == 0.9
    assert section(stability=0.0).checks == []  # stability does not tell right from wrong
    assert section(posterior=None, stability=None).checks == []


def test_numbers_and_places():
    assert number(-0.12345) == "\u22120.123" and number(0.0) == "0" and number(1234.0) == "1.23e+03"
    shares = (0.0, 0.001, 0.25, 0.999, 1.0)
    assert [percent(share) for share in shares] == ["0%", "< 1%", "25%", "> 99%", "100%"]
    assert place(3, 4) == "3" and place(3, 6) == "3–6"
