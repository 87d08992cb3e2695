"""Which font draws which characters."""

import pytest

from hf_adner.explain import fonts


@pytest.fixture
def installed(monkeypatch):
    """Make believe that some fonts with given characters are installed, the default one with ASCII."""

    def install(**others: str) -> None:
        coverage = {
            "default": frozenset(map(chr, range(128))),
            **{name: frozenset(has) for name, has in others.items()},
        }
        monkeypatch.setattr(fonts, "_default_font", lambda: "default")
        monkeypatch.setattr(fonts, "_coverage", coverage.__getitem__)
        monkeypatch.setattr(fonts, "chinese_fonts", lambda: tuple(others))

    return install


def test_the_default_font_is_kept_where_it_does(installed):
    installed(noto="abc红")
    assert fonts.font_for("abc") == (None, {"a", "b", "c"})


def test_the_first_font_with_most_characters_is_taken(installed):
    installed(small="红", whole="红斑a", other="红斑a")
    assert fonts.font_for("红斑a") == ("whole", {"红", "斑", "a"})
    installed()
    assert fonts.font_for("红a") == (None, {"a"})


def test_the_installed_chinese_fonts_have_chinese_characters():
    for path in fonts.chinese_fonts()[:2]:
        assert set(fonts.PROBE) <= fonts.font_for(fonts.PROBE)[1] <= fonts._coverage(path)
    assert fonts._coverage(__file__) == frozenset()  # no font at all
