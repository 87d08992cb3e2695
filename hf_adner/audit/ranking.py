"""Ranking of unlabelled documents by the uncertainty of a model, for annotation."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from hf_adner.audit.predict_files import blocks
from hf_adner.audit.prediction import entity_of_prediction
from hf_adner.data.formats.doccano import doccano_text
from hf_adner.data.formats.label_studio import label_studio_predictions_text
from hf_adner.data.records import Document
from hf_adner.files import write_file
from hf_adner.model.pipeline_adner import AdnerPipeline

BLOCK_SIZE = 64
MOST_REASONS = 5
RANKED_FORMATS = ("doccano", "label-studio")


@dataclass(frozen=True)
class DocumentDoubt:
    """Uncertainty of a model about one document; each figure is in [0, 1], 0 is certain.

    Attributes:
        entity: one minus the lowest score of the predicted entities; 0 without entities.
        path: one minus the posterior of the most probable labelling of the whole text, per character (its geometric
            mean; MNLP of Shen et al. 2018), which also rises if an entity may have been missed.
    """

    entity: float
    path: float

    @property
    def priority(self) -> float:
        """Both combined as if independent: 1 - (1 - a)(1 - b)."""
        return 1 - (1 - self.entity) * (1 - self.path)


def rank_documents(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    *,
    count: int | None = None,
    batch_size: int = 16,
    threshold: float = 0.0,
    progress: bool = True,
) -> list[Document]:
    """Sort documents by uncertainty, highest first, with the model's entities as pre-annotations.

    Every text is processed once. Ties keep the order of the documents. Long documents
    have more entities, so they tend to be ranked above short ones.

    Args:
        pipe: the pipeline.
        documents: read once; their own entities are replaced.
        count: number of documents to keep, which limits memory use; None: all.
        batch_size: windows of full length per forward pass.
        threshold: least score of a pre-annotation, in [0, 1]; entities below it count as uncertain all the same.
        progress: show a bar.

    Returns:
        Documents with `adner_rank` (from 1), `adner_priority` (in [0, 1]) and `adner_reasons` (a sentence each) in
        their `meta`, and the score of each entity in its own.

    Raises:
        ValueError: `count` is below 1, or as for the pipeline.
        TypeError: an item is not a `Document`.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, found {count}")
    total = len(documents) if isinstance(documents, Sized) else None
    scored = itertools.chain.from_iterable(
        _score(pipe, block, batch_size, threshold) for block in blocks(documents, BLOCK_SIZE)
    )
    scored = tqdm(scored, total=total, desc="ranking", unit="document", disable=None if progress else True)
    ranked = sorted(scored, key=_priority, reverse=True) if count is None else heapq.nlargest(count, scored, _priority)
    return [
        replace(document, meta={**document.meta, "adner_rank": rank}) for rank, document in enumerate(ranked, start=1)
    ]


def check_ranked_format(format: str) -> None:
    """Check a format of `write_ranked`; raises `ValueError` if it is unknown."""
    if format not in RANKED_FORMATS:
        raise ValueError(f"format {format!r} is unknown; expected one of {', '.join(RANKED_FORMATS)}")


def write_ranked(
    documents: Iterable[Document], path: str | Path, format: str = "doccano", model_version: str = "adner"
) -> None:
    """Write documents for an annotation tool, with the entities as pre-annotations.

    Args:
        documents: as `rank_documents` returns them.
        path: the file, replaced if it exists.
        format: `doccano` (JSONL whose labels are to be corrected) or `label-studio` (tasks with predictions).
        model_version: name of the predictions in Label Studio.

    Raises:
        ValueError: unknown format.
        DataFormatError: a document that the format cannot represent.
    """
    check_ranked_format(format)
    if format == "doccano":  # labels with a score would be imported as those of a relation project
        write_file(Path(path), doccano_text(map(_without_meta, documents)), "utf-8")
    else:
        write_file(Path(path), label_studio_predictions_text(documents, model_version), "utf-8")


class PathDoubt:
    """The posteriors of the most probable labellings of texts, gathered from the pipeline's own pass (`observer`).

    Args:
        pipe: the pipeline.
        count: number of texts of the call.

    Attributes:
        log_posteriors: per text log p(most probable labelling | text), 0 for an empty text. For a long text it is the
            sum over its windows, in which shared characters count twice.
        characters: per text the characters of its windows; the quotient is comparable between short and long texts.
    """

    def __init__(self, pipe: AdnerPipeline, count: int):
        self._pipe = pipe
        self.log_posteriors, self.characters = [0.0] * count, [0] * count

    def add(self, numbers: Sequence[int], outputs: Mapping[str, torch.Tensor]) -> None:
        """Add windows of the texts with these numbers; an observer of the pipeline."""
        values, lengths = _best_log_posteriors(self._pipe, outputs).tolist(), outputs["mask"].sum(1).tolist()
        for number, value, length in zip(numbers, values, lengths, strict=True):
            self.log_posteriors[number] += value
            self.characters[number] += length

    def by_character(self, number: int) -> float:
        """Return the mean log posterior per character of a text, 0 for an empty one."""
        return self.log_posteriors[number] / max(self.characters[number], 1)


@torch.no_grad()
def _best_log_posteriors(pipe: AdnerPipeline, outputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the log posteriors of one batch, (batch,)."""
    emissions, mask = (outputs[name].to(pipe.device) for name in ("emissions", "mask"))
    crf = getattr(pipe.model.head, "crf", None)
    if crf is None:
        return (emissions.amax(-1) * mask).sum(1)  # log probabilities, (batch, text)
    rows = len(mask)
    if getattr(pipe.model.config, "is_per_label", False):  # the chains are independent: their best paths together
        emissions, mask = pipe.model.head.chains(emissions, mask)
    paths = (crf.viterbi(emissions, mask)[1] - crf.log_partition(emissions, mask)).clamp(max=0)
    return paths.unflatten(0, (rows, -1)).sum(1)


def _score(pipe: AdnerPipeline, block: Sequence[Document], batch_size: int, threshold: float) -> Iterator[Document]:
    invalid = next((document for document in block if not isinstance(document, Document)), None)
    if invalid is not None:
        raise TypeError(f"found a {type(invalid).__name__}, expected a Document")
    texts = [document.text for document in block]
    paths = PathDoubt(pipe, len(texts))
    options = {"needs_review": True, "observer": paths.add}
    predictions = pipe(iter(texts), batch_size=batch_size, threshold=0.0, **options)  # one at a time
    for number, (document, entities) in enumerate(zip(block, predictions, strict=True)):
        doubt = document_doubt(entities, paths.by_character(number))  # its windows have been observed by now
        notes = {"adner_priority": round(doubt.priority, 4), "adner_reasons": reasons(doubt, entities)}
        annotations = tuple(entity_of_prediction(entity) for entity in entities if entity["score"] >= threshold)
        yield replace(document, entities=annotations, meta={**document.meta, **notes})


def document_doubt(entities: Sequence[Mapping[str, Any]], log_posterior: float) -> DocumentDoubt:
    """Return the uncertainty from the pipeline's entities and the mean log posterior of the path per character."""
    least = min((entity["score"] for entity in entities), default=1.0)
    return DocumentDoubt(entity=1 - least, path=-math.expm1(log_posterior))


def reasons(doubt: DocumentDoubt, entities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return reasons to check a document: uncertain entities, then the whole text."""
    uncertain = [entity for entity in entities if entity.get("needs_review")]
    uncertain.sort(key=lambda entity: entity["score"])
    sentences = [f"{_name(entity)} has {_kind(entity)} {entity['score']:.2f}" for entity in uncertain]
    return [*sentences[:MOST_REASONS], f"the best labelling has posterior {1 - doubt.path:.3f} per character"]


def _without_meta(document: Document) -> Document:
    return replace(document, entities=tuple(replace(entity, meta={}) for entity in document.entities))


def _priority(document: Document) -> float:
    return document.meta["adner_priority"]


def _kind(entity: Mapping[str, Any]) -> str:
    return "score" if "posterior" in entity else "posterior"


def _name(entity: Mapping[str, Any]) -> str:
    return f"{entity['entity_group']} at {entity['start']}-{entity['end']}"
