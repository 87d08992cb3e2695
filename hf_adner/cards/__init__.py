"""Model cards: from reports to a `README.md` for the Hub.

`record.record_of_run` collects the reports of a run, `card.model_card` renders them with `template.md`. The template is
a file of the package, so that it is installed with it; `model_cards/template.md` of the repository links to it.
"""
