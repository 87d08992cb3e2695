"""Plausibility: do explanations point at the cues that the documents are known to have?"""

from __future__ import annotations

import numpy as np

from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.data.records import Document
from hf_adner.metrics.plausibility import plausibility

_NAMES = {
    "auprc": ("all", "auprc"),
    "auprc_lift": ("all", "auprc_lift"),
    "context_auprc": ("context", "auprc"),
    "context_auprc_lift": ("context", "auprc_lift"),
    "context_token_f1": ("context", "token_f1"),
    "context_iou_f1": ("context", "iou_f1"),
}


def measure_plausibility(run: ExplainerRun) -> Measurement:
    """`metrics.plausibility` against the cues of each entity, for documents whose meta has ``cues``.

    A cue is ``{"entity": index, "start": ..., "end": ...}``, as in the synthetic corpus. Entities without a cue have no
    values; `with_cues` and `with_context_cues` are the shares that have one (outside the entity).
    """
    columns = {name: np.full(run.count, np.nan) for name in _NAMES}
    for number, subject in enumerate(run.subjects):
        cues = cue_positions(run.population.documents[subject.document], subject.entity)
        if cues:
            found = plausibility([run.maps[number]], [cues], [subject.span[:2]])
            for name, (part, score) in _NAMES.items():
                columns[name][number] = found[part][score]
    known = {
        "with_cues": float(np.isfinite(columns["auprc"]).mean()) if run.count else None,
        "with_context_cues": float(np.isfinite(columns["context_auprc"]).mean()) if run.count else None,
    }
    return Measurement(columns, known)


def cue_positions(document: Document, entity: int) -> list[int]:
    """Places of the characters that are cues of one of the document's entities, sorted."""
    cues = [cue for cue in document.meta.get("cues") or () if cue["entity"] == entity]
    return sorted({place for cue in cues for place in range(cue["start"], cue["end"])})
