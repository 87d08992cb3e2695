"""What a pipeline returns: the dictionary of an entity, and what is added to it on request.

`AdnerPipeline` and the tagger of an ONNX export share it, so that their results are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .assertion_adner import AssertionRules, add_assertions
from .calibration_adner import Calibration
from .codes_adner import CodeTable, add_codes
from .constraints_adner import ConstraintReader, mark_forced


def entity_dictionary(
    text: str, span: tuple[int, int, str], probabilities: Sequence[float], by: Calibration
) -> dict[str, Any]:
    """Return an entity of a pipeline from its span, its posterior and the marginals of its boundaries."""
    start, end, label = span
    scores = by.calibrated(label, *probabilities)
    posterior = {"posterior": scores.pop("posterior")} if "posterior" in scores else {}
    return {"entity_group": label, **scores, "word": text[start:end], "start": start, "end": end, **posterior}


def finish_entities(
    texts: Sequence[str],
    found: Sequence[Sequence[dict[str, Any]]],
    threshold: float,
    *,
    review_below: float | None,
    constraints: ConstraintReader | None,
    assertion: AssertionRules | None,
    codes: CodeTable | None,
) -> list[list[dict[str, Any]]]:
    """Return the entities of each text whose score reaches a threshold, with all that was asked for beside it.

    Args:
        texts: the texts.
        found: entities per text, of `entity_dictionary`; they are changed.
        threshold: in [0, 1].
        review_below: score below which entities need review.
        constraints, assertion, codes: what a call names of them; None: nothing.
    """
    if constraints is not None:
        for text, entities in zip(texts, found):
            mark_forced(text, entities, constraints)
    kept = [[entity for entity in entities if entity["score"] >= threshold] for entities in found]
    if review_below is not None:
        for entity in (entity for entities in kept for entity in entities):
            entity["needs_review"] = entity["score"] < review_below
    if assertion is not None:
        add_assertions(texts, kept, assertion)
    if codes is not None:
        add_codes(kept, codes)
    return kept
