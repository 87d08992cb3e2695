"""Which unlabelled documents a human should label first: those the model is least sure of."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from hf_adner.audit.predict_files import blocks
from hf_adner.audit.prediction import META_KEYS
from hf_adner.data.formats.doccano import doccano_text
from hf_adner.data.formats.label_studio import label_studio_predictions_text
from hf_adner.data.records import Document, Entity
from hf_adner.files import write_file
from hf_adner.model.pipeline_adner import (
    DEFAULT_OVERLAP,
    DEFAULT_WINDOW,
    REVIEW_THRESHOLD,
    STABILITY_THRESHOLD,
    AdnerPipeline,
    longest_text,
)
from hf_adner.model.windows_adner import Window, prediction_windows

BLOCK_SIZE = 256
MOST_REASONS = 5
RANKED_FORMATS = ("doccano", "label-studio")


@dataclass(frozen=True)
class DocumentDoubt:
    """How unsure a model is of one document; each figure lies in [0, 1], 0 being sure.

    Attributes:
        entity: one minus the lowest posterior of the entities found; 0 where none are found.
        path: one minus the posterior of the most probable labelling of the whole text, per character (its geometric
            mean; MNLP of Shen et al. 2018), which also rises where an entity may have been missed.
        instability: one minus the lowest stability of the entities' explanations; None unless asked for.
    """

    entity: float
    path: float
    instability: float | None = None

    @property
    def priority(self) -> float:
        """The chance that one of them is right to doubt, were they independent: 1 - (1 - a)(1 - b)(1 - c)."""
        return 1 - (1 - self.entity) * (1 - self.path) * (1 - (self.instability or 0.0))


def rank_documents(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    *,
    count: int | None = None,
    batch_size: int = 16,
    threshold: float = 0.0,
    explain: Any = None,
    progress: bool = True,
) -> list[Document]:
    """The documents a label would help most with, most doubtful first, with the model's entities as pre-annotations.

    Every text is read twice, and more often with `explain`. Of equally doubtful documents the earlier is first.
    A long document has more entities to doubt, so it tends to come before a short one.

    Args:
        pipe: what predicts.
        documents: read once; their own entities are replaced.
        count: how many to keep, which bounds the memory; None keeps all.
        batch_size: windows per forward pass.
        threshold: pre-annotations with a lower posterior are left out (they count as doubt all the same), in [0, 1].
        explain: also count unstable explanations: True, or an explainer's name.
        progress: show a bar.

    Returns:
        Documents with `adner_rank` (from 1), `adner_priority` (in [0, 1]) and `adner_reasons` (a sentence each) in
        their `meta`, and the score of each entity in its own.

    Raises:
        ValueError: `count` is below 1, or as for the pipeline.
        TypeError: something is no `Document`.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, found {count}")
    bar = tqdm(documents, desc="ranking", unit="document", disable=None if progress else True)
    judged = (one for block in blocks(bar, BLOCK_SIZE) for one in _judge(pipe, block, batch_size, threshold, explain))
    first = sorted(judged, key=_priority, reverse=True) if count is None else heapq.nlargest(count, judged, _priority)
    return [
        replace(document, meta={**document.meta, "adner_rank": rank}) for rank, document in enumerate(first, start=1)
    ]


def check_ranked_format(format: str) -> None:
    """Raise a `ValueError` for a format that `write_ranked` does not write."""
    if format not in RANKED_FORMATS:
        raise ValueError(f"format {format!r} is unknown here; expected one of {', '.join(RANKED_FORMATS)}")


def write_ranked(
    documents: Iterable[Document], path: str | Path, format: str = "doccano", model_version: str = "adner"
) -> None:
    """Write documents as an annotation tool imports them, the entities as pre-annotations.

    Args:
        documents: as `rank_documents` gives them.
        path: the file, replaced if it is there.
        format: `doccano` (JSONL whose labels are to be corrected) or `label-studio` (tasks with predictions).
        model_version: what Label Studio calls the predictions.

    Raises:
        ValueError: unknown format.
        DataFormatError: a document that the format cannot hold.
    """
    check_ranked_format(format)
    if format == "doccano":  # with a score beside them it would take the labels for those of a relation project
        write_file(Path(path), doccano_text(map(_plain, documents)), "utf-8")
    else:
        write_file(Path(path), label_studio_predictions_text(documents, model_version), "utf-8")


def path_log_posteriors(pipe: AdnerPipeline, texts: Sequence[str], batch_size: int = 16) -> list[float]:
    """Per text log p(most probable labelling | text), 0 for an empty one.

    Over the windows of a long text it is the sum, so characters that windows share count twice; divided by the
    characters of all windows it is comparable with that of a short text.
    """
    windows = [_windows(pipe, text) for text in texts]
    pieces = [(number, text[start:end]) for number, text in enumerate(texts) for start, end in windows[number]]
    pieces.sort(key=lambda piece: -len(piece[1]))
    totals = [0.0] * len(texts)
    for first in range(0, len(pieces), batch_size):
        batch = pieces[first : first + batch_size]
        outputs = pipe.forward(pipe.preprocess([characters for _, characters in batch]))
        for (number, _), value in zip(batch, _best_log_posteriors(pipe, outputs).tolist()):
            totals[number] += value
    return totals


@torch.no_grad()
def _best_log_posteriors(pipe: AdnerPipeline, outputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Of one batch, (batch,)."""
    emissions, mask = (outputs[name].to(pipe.device) for name in ("emissions", "mask"))
    crf = getattr(pipe.model.head, "crf", None)
    if crf is None:
        return (emissions.amax(-1) * mask).sum(1)  # log probabilities, (batch, text)
    return (crf.viterbi(emissions, mask)[1] - crf.log_partition(emissions, mask)).clamp(max=0)


def _windows(pipe: AdnerPipeline, text: str) -> list[Window]:
    size = longest_text(pipe.model, pipe.tokenizer) or DEFAULT_WINDOW
    return prediction_windows(len(text), size, min(DEFAULT_OVERLAP, size // 2))


def _judge(
    pipe: AdnerPipeline, block: Sequence[Document], batch_size: int, threshold: float, explain: Any
) -> Iterator[Document]:
    wrong = next((document for document in block if not isinstance(document, Document)), None)
    if wrong is not None:
        raise TypeError(f"found a {type(wrong).__name__}, expected a Document")
    texts = [document.text for document in block]
    options = {"explain": explain} if explain else {}
    found = pipe(texts, batch_size=batch_size, threshold=0.0, needs_review=True, **options)
    paths = path_log_posteriors(pipe, texts, batch_size)
    for document, entities, path in zip(block, found, paths):
        characters = sum(end - start for start, end in _windows(pipe, document.text))
        doubt = document_doubt(entities, path / max(characters, 1))
        notes = {"adner_priority": round(doubt.priority, 4), "adner_reasons": reasons(doubt, entities)}
        kept = tuple(_entity(one) for one in entities if one["score"] >= threshold)
        yield replace(document, entities=kept, meta={**document.meta, **notes})


def document_doubt(entities: Sequence[Mapping[str, Any]], log_posterior: float) -> DocumentDoubt:
    """What the pipeline's entities and the path's mean log posterior per character say of a document."""
    stabilities = [stability for one in entities if (stability := _stability(one)) is not None]
    explained = any("explanation" in one for one in entities)
    return DocumentDoubt(
        entity=1 - min((one["score"] for one in entities), default=1.0),
        path=-math.expm1(log_posterior),
        instability=1 - min(stabilities, default=1.0) if explained else None,
    )


def reasons(doubt: DocumentDoubt, entities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on what to look at: doubtful entities first, then unstable explanations, then the whole text."""
    doubtful = sorted((one for one in entities if one["score"] < REVIEW_THRESHOLD), key=lambda one: one["score"])
    found = [f"{_name(one)} has posterior {one['score']:.2f}" for one in doubtful]
    measured = [(one, stability) for one in entities if (stability := _stability(one)) is not None]
    shaky = [(one, stability) for one, stability in measured if stability < STABILITY_THRESHOLD]
    found += [f"the explanation of {_name(one)} has stability {stability:.2f}" for one, stability in shaky]
    return [*found[:MOST_REASONS], f"the best labelling has posterior {1 - doubt.path:.3f} per character"]


def _plain(document: Document) -> Document:
    return replace(document, entities=tuple(replace(entity, meta={}) for entity in document.entities))


def _priority(document: Document) -> float:
    return document.meta["adner_priority"]


def _stability(entity: Mapping[str, Any]) -> float | None:
    return getattr(entity.get("explanation"), "stability", None)


def _name(entity: Mapping[str, Any]) -> str:
    return f"{entity['entity_group']} at {entity['start']}-{entity['end']}"


def _entity(found: Mapping[str, Any]) -> Entity:
    meta = {key: found[key] for key in META_KEYS if key in found}
    return Entity(found["start"], found["end"], found["entity_group"], found["word"], meta)
