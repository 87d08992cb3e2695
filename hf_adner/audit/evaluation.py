"""Evaluation of a pipeline against the gold entities of documents, and an evaluator for the `evaluate` library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from evaluate import EvaluationModule
from evaluate.evaluator import TokenClassificationEvaluator
from tqdm.auto import tqdm
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner.audit.prediction import predict_documents
from hf_adner.data.records import Document, Entity, flatten
from hf_adner.metrics.boundary_f1 import EDGES, boundary_f1
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.metrics.significance import LEVEL, RESAMPLES, bootstrap_statistic, micro_f1
from hf_adner.metrics.tag_f1 import TagF1
from hf_adner.model.labels_adner import OUTSIDE
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.reporting import markdown_table

_COLUMNS = ("precision", "recall", "f1", "correct", "predicted", "support")
_TITLES = ("precision", "recall", "F1", "correct", "predicted", "gold")


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of one pipeline on one set of documents.

    Attributes:
        documents: number of documents.
        characters: characters of their texts.
        predicted: predicted entities.
        gold: gold entities, nested ones included.
        flattened_gold: outermost gold entities, which a flat tagger can predict.
        strict: `metrics.entity_f1` against the full gold, the main figure.
        strict_flattened: `metrics.entity_f1` against the flattened gold; equal to `strict` if nothing is nested.
        boundaries: `metrics.boundary_f1` of starts, ends and both, against the full gold.
    """

    documents: int
    characters: int
    predicted: int
    gold: int
    flattened_gold: int
    strict: Mapping[str, Any]
    strict_flattened: Mapping[str, Any]
    boundaries: Mapping[str, Any]

    @property
    def f1(self) -> float:
        """Strict micro F1 against the full gold, in [0, 1]."""
        return self.strict["f1"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and numbers, ready for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return the report as Markdown: counts, strict F1 per label and overall, flattened gold, boundaries."""
        counts = (
            f"{self.documents:,} documents, {self.characters:,} characters, {self.gold:,} gold entities "
            f"({self.gold - self.flattened_gold:,} of them nested), {self.predicted:,} predicted."
        )
        edges = {edge: self.boundaries["untyped"][edge] for edge in EDGES}
        tables = (
            _table("strict, full gold", _label_rows(self.strict)),
            _table("strict, flattened gold", _label_rows(self.strict_flattened)),
            _table("boundary, label ignored", edges),
        )
        return "\n\n".join((counts, *tables)) + "\n"


def evaluate_documents(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    batch_size: int = 16,
    *,
    progress: bool = True,
    **parameters: Any,
) -> EvaluationReport:
    """Predict the entities of documents and compare them with their gold entities.

    Only the spans of the documents are kept in memory, not their texts.

    Args:
        pipe: the pipeline.
        documents: with their gold entities, which may be nested; any iterable, read once.
        batch_size: windows per forward pass.
        progress: show a progress bar on standard error.
        parameters: other parameters of the call, such as `threshold`.

    Raises:
        TypeError, ValueError: as `predict_documents`.
    """
    total = len(documents) if isinstance(documents, Sized) else None
    gold = _Gold()
    predicted = predict_documents(pipe, gold.watch(documents), batch_size, **parameters)
    bar = tqdm(predicted, total=total, unit="document", desc="evaluating", disable=not progress)
    return gold.compared_with([document.spans for document in bar])


def compare_documents(predicted: Iterable[Document], gold: Iterable[Document]) -> EvaluationReport:
    """Compare documents of `predict_documents` with the same documents with gold entities.

    Raises:
        ValueError: different numbers of documents.
    """
    collected = _Gold()
    documents = zip(predicted, collected.watch(gold), strict=True)
    return collected.compared_with([document.spans for document, _ in documents])


def f1_interval(
    predicted: Iterable[Document],
    gold: Iterable[Document],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, float]:
    """Compute a percentile bootstrap interval of strict micro F1 over documents.

    Args:
        predicted, gold: as for `compare_documents`.
        level: of the interval.
        resamples: number of resamples.
        seed: of the random numbers.

    Returns:
        `value`, `low`, `high` in [0, 1], `level`, `resamples`.

    Raises:
        ValueError: no documents, or different numbers of them.
    """
    spans = [(set(found.spans), set(right.spans)) for found, right in zip(predicted, gold, strict=True)]
    counts = np.array([[len(found & right), len(found), len(right)] for found, right in spans]).reshape(-1, 3)

    def f1(drawn: np.ndarray) -> float:
        return float(micro_f1(counts[drawn].sum(0)))

    return bootstrap_statistic(len(counts), f1, level, resamples, seed)


class _Gold:
    """Collects the gold spans of a stream of documents."""

    def __init__(self) -> None:
        self.characters = 0
        self.full: list[list[tuple[int, int, str]]] = []
        self.flat: list[list[tuple[int, int, str]]] = []

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents unchanged and collect their gold spans."""
        for document in documents:
            if isinstance(document, Document):  # anything else is an error of `predict_documents`
                self.characters += len(document.text)
                self.full.append(document.spans)
                self.flat.append(document.flattened().spans)
            yield document

    def compared_with(self, predicted: list[list[tuple[int, int, str]]]) -> EvaluationReport:
        """Return the report on predicted spans, one list per collected document."""
        return EvaluationReport(
            documents=len(predicted),
            characters=self.characters,
            predicted=_count(predicted),
            gold=_count(self.full),
            flattened_gold=_count(self.flat),
            strict=entity_f1(predicted, self.full),
            strict_flattened=entity_f1(predicted, self.flat),
            boundaries=boundary_f1(predicted, self.full),
        )


def _count(documents: Sequence[Sequence[Any]]) -> int:
    return sum(map(len, documents))


def _label_rows(scores: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {**scores["per_label"], "**all**": scores}


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [(name, *(scores[column] for column in _COLUMNS)) for name, scores in rows.items()]
    return markdown_table((title, *_TITLES), lines)


class AdnerEvaluator(TokenClassificationEvaluator):
    """Evaluator of an `AdnerPipeline` on a dataset with columns of tokens and BIO labels.

    Use it in place of `evaluate.evaluator("token-classification")`, which with transformers 5 cannot take a pipeline
    (evaluate 0.4.6 checks for a TensorFlow class that transformers no longer has), and which with a model and tokenizer
    scores the arg-max labels of the stock pipeline. This one scores the entities of our pipeline, of texts of any
    length. Its defaults differ in two points: tokens are joined without a space (`join_by=""`), and the metric is
    `TagF1`.

    `compute(pipeline, data=dataset)` returns the result of the metric and the time figures of evaluate.
    """

    PIPELINE_KWARGS: Mapping[str, Any] = {}

    def __init__(self) -> None:
        super().__init__("token-classification")

    def compute(self, *args: Any, join_by: str = "", **kwargs: Any) -> dict[str, Any]:
        """Evaluate as the base class does, with tokens joined without a space.

        Args:
            args, kwargs: see `TokenClassificationEvaluator.compute`; the model is an `AdnerPipeline`, a folder or Hub
                name, or a model (with `tokenizer=`).
            join_by: separator of the tokens in the text.

        Raises:
            TypeError: the model is not an `AdnerForTokenClassification`.
        """
        return super().compute(*args, join_by=join_by, **kwargs)

    def prepare_pipeline(
        self, model_or_pipeline: Any, tokenizer: Any = None, feature_extractor: Any = None, device: Any = None
    ) -> AdnerPipeline:
        """Return the pipeline, or create one from a model and its tokenizer, each an object or a name."""
        if isinstance(model_or_pipeline, AdnerPipeline):
            return model_or_pipeline
        model, tokenizer = model_or_pipeline, tokenizer if tokenizer is not None else model_or_pipeline
        if isinstance(model, str):
            model = AutoModelForTokenClassification.from_pretrained(model)
        if isinstance(tokenizer, str):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        return AdnerPipeline(model=model, tokenizer=tokenizer, device=device)

    def prepare_metric(self, metric: str | EvaluationModule | None) -> EvaluationModule:
        """Return the metric, `TagF1` for None."""
        return TagF1() if metric is None else super().prepare_metric(metric)

    def call_pipeline(self, pipe: AdnerPipeline, texts: Iterable[str]) -> tuple[list[list[dict]], dict[str, float]]:
        """Return the entities per text, and the time figures."""
        return super().call_pipeline(pipe, list(texts))

    def predictions_processor(
        self, predictions: Sequence[Sequence[Mapping[str, Any]]], words: Sequence[Sequence[str]], join_by: str
    ) -> dict[str, list[list[str]]]:
        """Convert entities in characters to a BIO label per token, that of its first character.

        A dataset of labels is flat: of the overlapping entities of a per-label tagger the longest count.
        """
        offsets = (self.words_to_offsets(row, join_by) for row in words)
        return {"predictions": [_labels(entities, row) for entities, row in zip(predictions, offsets)]}


def _labels(found: Sequence[Mapping[str, Any]], offsets: Sequence[tuple[int, int]]) -> list[str]:
    entities = flatten(Entity(one["start"], one["end"], one["entity_group"]) for one in found).kept
    labels, previous = [], None
    for start, _ in offsets:
        entity = next((entity for entity in entities if entity.start <= start < entity.end), None)
        labels.append(OUTSIDE if entity is None else f"{'I' if entity is previous else 'B'}-{entity.label}")
        previous = entity
    return labels
