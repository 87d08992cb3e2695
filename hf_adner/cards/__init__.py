"""Model cards: plain report records in, a `README.md` for the Hub out.

`record.record_of_run` gathers what was measured, `card.model_card` writes it into `template.md`. The template lies here
because an installed package can read only its own files; `model_cards/template.md` of the repository links to it.
"""
