"""The picture of an explanation.

Which font draws which characters.
"""

import warnings
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from hf_adner import Entity, Explanation
from hf_adner.view import plot as fonts
from hf_adner.view import plot as plotting

TEXT = "患者$四肢$红斑\n伴瘙痒"


def make(**changes) -> Explanation:
    scores = [0.5 * (-1) ** place for place in range(len(TEXT))]
    profile = [0.25] * len(TEXT)
    values = {"scores": scores, "start_profile": profile, "end_profile": profile, **changes}
    return Explanation(TEXT, Entity(6, 8, "$x$"), method="occlusion", target="label", value=1.0, **values)


@pytest.fixture(params=["with", "without"])
def has_font(request, monkeypatch):
    """Draw as if a Chinese font was installed (of whatever there is), and as if there was none."""
    known = frozenset(TEXT + "↵()x ") if request.param == "with" else frozenset(map(chr, range(32, 128)))
    monkeypatch.setattr(plotting, "font_for", lambda wanted: (None, frozenset(wanted) & known))
    monkeypatch.setattr(fonts, "_has_warned", [])
    return request.param == "with"


def labels(axes):
    return [tick.get_text() for tick in axes.get_xticklabels()]


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:no installed font")
def test_bars_stand_over_their_characters(has_font):
    axes = make().plot(context=3)
    assert [bar.get_height() for bar in axes.patches[1:]] == list(make().scores[3:11])
    assert list(axes.get_xticks()) == list(range(3, 11))
    if has_font:
        assert labels(axes) == list("四肢$红斑") + ["↵", "伴", "瘙"]
        assert axes.get_title() == "红斑 ($x$)"
    else:
        assert labels(axes) == ["3", "4", "$", "6", "7", "8", "9", "10"]
        assert axes.get_title() == "6–8"


@pytest.mark.filterwarnings("ignore:Glyph")
def test_one_warning_where_no_font_has_the_characters(has_font):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make().plot()
        make().plot()
    assert len([one for one in caught if "no installed font" in str(one.message)]) == (0 if has_font else 1)


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:no installed font")
def test_it_draws_into_given_axes_and_saves(tmp_path, has_font):
    figure = Figure()
    axes = figure.add_subplot()
    assert make(start_profile=None, end_profile=None).plot(axes, context=None) is axes and figure.axes == [axes]
    assert len(axes.get_xticks()) == len(TEXT)
    drawn = make().plot()
    drawn.figure.savefig(tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
    assert len(drawn.figure.axes) == 2  # the boundary profile has a scale of its own


def test_context_is_not_negative():
    with pytest.raises(ValueError, match="context must be 0 or more, or None, found -1"):
        make().plot(context=-1)


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
