"""Explanations for people: HTML page, charts, plots, terminal; `Explanation.viewer` leads here."""
