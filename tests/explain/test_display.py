"""Explanations in a terminal and in a notebook."""

import sys
from html import unescape
from types import ModuleType, SimpleNamespace

from hf_adner import Entity, Explanation
from hf_adner.view.output import BAR, explanation_lines, in_notebook, notebook_frame

TEXT = "红斑<b>痒"


def make(**changes) -> Explanation:
    values = {"scores": [2.0, -1.0, 0, 0, 0.1, 0], "stability": 0.5, "posterior": 0.25, **changes}
    return Explanation(TEXT, Entity(0, 2, "Symptom"), method="lime", target="label", value=1.5, **values)


def test_a_terminal_shows_the_strongest_characters(capsys):
    assert not in_notebook()
    make().show()
    lines = capsys.readouterr().out.splitlines()
    assert lines == explanation_lines(make())
    assert lines[0].startswith("红斑 (Symptom)") and "posterior 0.250" in lines[0] and "stability 0.50" in lines[0]
    assert [line.split()[:3] for line in lines[1:]] == [["红", "0", "2"], ["斑", "1", "-1"], [">", "4", "0.1"]]
    assert [line.count("#") for line in lines[1:]] == [BAR, BAR // 2, 1]
    assert len(explanation_lines(make(scores=[0.0] * 6, stability=None, posterior=None))) == 1


def test_a_notebook_shows_the_page_in_a_frame(monkeypatch, capsys):
    shown = []
    fake = ModuleType("IPython")
    fake.get_ipython = lambda: SimpleNamespace(kernel=object())
    fake_display = ModuleType("IPython.display")
    fake_display.HTML, fake_display.display = (lambda text: text), shown.append
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake_display)
    make().show()
    assert capsys.readouterr().out == "" and shown == [notebook_frame([make()])]
    assert shown[0].startswith("<iframe srcdoc=") and shown[0].count("<") == 2  # the frame alone, the page is escaped
    assert "&lt;b&gt;痒" in unescape(shown[0]) and 'sandbox="allow-scripts"' in shown[0]
    fake.get_ipython = lambda: SimpleNamespace()  # IPython in a terminal
    assert not in_notebook()
