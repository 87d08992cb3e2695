"""Which font draws which characters."""

from types import SimpleNamespace

import pytest

from hf_adner.view import plot as fonts


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


def test_a_font_of_boxes_is_none(monkeypatch):
    listed = [
        SimpleNamespace(fname=name, name=name, style="normal", weight=400) for name in ("Last Resort High", "SimHei")
    ]
    listed += [SimpleNamespace(fname="slanted", name="SimHei", style="italic", weight=400)]
    monkeypatch.setattr(fonts, "_coverage", lambda path: frozenset(fonts.PROBE))
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", listed)
    assert fonts.chinese_fonts.__wrapped__() == ("SimHei",)
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", listed[:1])
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: ["b", "a"])  # newer than the list
    monkeypatch.setattr(fonts, "_file_rank", lambda path: (0, False, path))
    assert fonts.chinese_fonts.__wrapped__() == ("a", "b")


def test_the_installed_chinese_fonts_have_chinese_characters():
    for path in fonts.chinese_fonts()[:2]:
        assert "LastResort" not in path
        assert set(fonts.PROBE) <= fonts.font_for(fonts.PROBE)[1] <= fonts._coverage(path)
    assert fonts._coverage(__file__) == frozenset()  # no font at all
