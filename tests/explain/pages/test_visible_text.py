"""Characters stay as many as they were, and none of them is lost in a parser."""

from html import escape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from hf_adner.view.charts import shortened, visible

ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@given(ANY)
def test_one_for_one_and_the_same_in_a_parser(text):
    shown = visible(text)
    assert len(shown) == len(text)
    found = []
    parser = HTMLParser(convert_charrefs=True)
    parser.handle_data = found.append
    parser.feed(escape(shown).encode("utf-8").decode("utf-8"))
    parser.close()
    assert "".join(found) == shown and not {"\r", "\0"} & set(shown)


def test_what_is_replaced():
    assert visible("红\r\n斑\r痒\t\n") == "红\u200b\n斑\n痒\t\n"
    assert visible("\x00\x1b\x7f\x85\ud83d\u202e") == "\u2400\u241b\u2421\ufffd\ufffd\ufffd"
    assert visible("<b>&红斑👩‍⚕️") == "<b>&红斑👩‍⚕️"


def test_long_texts_lose_their_middle():
    assert shortened("红斑瘙痒", 4) == "红斑瘙痒"
    assert shortened("abcdefghij", 5) == "ab…ij" and len(shortened("a" * 99, 8)) == 8
