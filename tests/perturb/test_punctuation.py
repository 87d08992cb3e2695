import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.surface import OPERATIONS, PunctuationEdit

from .documents import annotated, check, documents, note


@given(documents(), st.integers(0, 3), st.floats(0.01, 1))
def test_only_signs_and_spaces_change(document, seed, share):
    result = PunctuationEdit(share)(document, seed)
    if result is not None:
        check(result, document)
        gone = [document.text[place] for place in result.edited if result.alignment[place] is None]
        assert not result.masked and not any(character.isalnum() for character in gone)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_alone(operation):
    results = [PunctuationEdit(0.3, (operation,))(note(), seed) for seed in range(10)]
    for result in results:
        check(result, note())
        kept = result.document.text.replace(" ", "")
        if operation == "insert":
            assert kept == note().text.replace(" ", "") and result.inserted
        elif operation == "delete":
            assert len(result.document.text) < len(note().text)
        else:
            assert result.alignment.is_identity and result.edited
    assert len({result.document.text for result in results}) > 1


def _results(text, operation, **labels):
    document = annotated(text, labels)
    found = (PunctuationEdit(0.01, (operation,))(document, seed) for seed in range(30))
    return {result.document.text for result in found if result is not None}


def test_signs_that_part_entities_words_or_figures_stay():
    assert _results("红斑、瘙痒，重", "delete", 红斑="Symptom", 瘙痒="Symptom") == {"红斑、瘙痒重"}
    assert _results("itch and rash", "delete") == set()
    assert _results("a,b 1,2", "delete") == set()
    assert _results("查 IgE", "delete") == {"查IgE"}
    assert _results("共1，2天", "delete") == set()  # 12天 is another thing


def test_widths_and_exchanges():
    assert _results("痒，A", "width") == {"痒,A", "痒，Ａ"}
    assert _results("重。", "exchange") == {"重；"}
    assert _results("v1.5 x.", "exchange") == {"v1.5 x;"}
    assert _results("3天", "width") == set()


def test_spaces_come_beside_chinese_only():
    assert _results("甲乙", "insert") == {"甲 乙"}
    assert _results("ab", "insert") == set()
    assert _results("无热", "insert") == {"无 热"}
    assert _results("没有", "insert") == set()


def test_nothing_to_edit():
    assert PunctuationEdit()(Document("a", ""), 0) is None
    assert PunctuationEdit()(Document("a", "痒", (Entity(0, 1, "Symptom"),)), 0) is None
    with pytest.raises(ValueError, match="share is 0"):
        PunctuationEdit(0)
    with pytest.raises(ValueError, match="operations are"):
        PunctuationEdit(operations=("turn",))
