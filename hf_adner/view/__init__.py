"""Views of explanations: HTML page, charts, plots, terminal output; reached through `Explanation.viewer`."""
