"""The Markdown of a table."""

from hf_adner.explain.cells import ROLES
from hf_adner.explain.global_table import TopUnit, tops_to_markdown


def test_what_would_break_the_table_or_not_show_is_written_out():
    columns = {role: [] for role in ROLES}
    columns["left-edge"] = [TopUnit("红", 1.234, 5.0), TopUnit("|", 0.5, 2.4), TopUnit("\n", -0.5, 1.0)]
    columns["middle"] = [TopUnit("<b>", 0.1, 1.0)]
    lines = tops_to_markdown({"A|B": columns}).splitlines()
    assert lines[:2] == ["### A&#124;B", ""]
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|") == 6
    assert "红 +1.23 (5)" in lines[4] and "&#60;b&#62; +0.10 (1)" in lines[4]
    assert "&#124; +0.50 (2)" in lines[5] and "U+000A -0.50 (1)" in lines[6] and len(lines) == 7
