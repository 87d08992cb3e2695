"""The figure of an explanation, with and without a Chinese font."""

import warnings
from types import SimpleNamespace

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from hf_adner import Entity, Explanation
from hf_adner.view import plot

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
    monkeypatch.setattr(plot, "font_for", lambda characters: (FontProperties(), known.intersection(characters)))
    plot._warn_without_font.cache_clear()
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


def test_the_default_font_is_kept_and_chinese_ones_are_fallbacks(monkeypatch):
    default = FontProperties().get_family()
    monkeypatch.setattr(plot, "chinese_fonts", tuple)
    font, drawable = plot.font_for("ab红")
    assert font.get_family() == default and drawable == {"a", "b"}
    monkeypatch.setattr(plot, "chinese_fonts", lambda: ("DejaVu Sans Mono", "DejaVu Serif"))
    font, drawable = plot.font_for("ab红")
    assert font.get_family() == [*default, "DejaVu Sans Mono", "DejaVu Serif"] and drawable == {"a", "b"}


def test_installed_fonts_best_first_and_new_ones_too(monkeypatch):
    listed = [SimpleNamespace(fname=f"/{name}", name=name) for name in ("SimHei", "DejaVu Sans", "Noto Sans CJK SC")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["/SimHei", "/newer", "/broken"])

    def add_font(path):
        if path == "/broken":
            raise RuntimeError(path)
        listed.append(SimpleNamespace(fname=path, name="SimSun"))

    monkeypatch.setattr(font_manager.fontManager, "addfont", add_font)
    assert plot.chinese_fonts.__wrapped__() == ("Noto Sans CJK SC", "SimHei", "SimSun")


def test_with_a_chinese_font_no_glyph_is_missing(tmp_path):
    if not plot.chinese_fonts():
        pytest.skip("no Chinese font is installed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().plot().figure.savefig(tmp_path / "one.png")
    assert plot.font_for("红斑a")[1] == {"红", "斑", "a"}
