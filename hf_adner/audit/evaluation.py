"""How well a pipeline finds the gold entities of documents.

`evaluate`'s token-classification evaluator, for our pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Any

from evaluate import EvaluationModule
from evaluate.evaluator import TokenClassificationEvaluator
from tqdm.auto import tqdm
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner.audit.prediction import predict_documents
from hf_adner.data.records import Document
from hf_adner.metrics.boundary_f1 import EDGES, boundary_f1
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.metrics.tag_f1 import TagF1
from hf_adner.model.labels_adner import OUTSIDE
from hf_adner.model.pipeline_adner import AdnerPipeline

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
        flattened_gold: gold entities that a flat tagger can find all of (the outermost).
        strict: strict entity F1 against the full gold, the main figure: what `metrics.entity_f1` returns.
        strict_flattened: the same against the flattened gold; equal to `strict` where nothing is nested.
        boundaries: F1 of starts, ends and both, against the full gold: what `metrics.boundary_f1` returns.
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
        """The report as plain dictionaries and numbers, ready for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The report as Markdown: counts, strict F1 per label and overall, flattened gold, boundaries."""
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
    """Predict the entities of documents and compare them with those the documents have.

    Only spans are kept of the documents, never their texts.

    Args:
        pipe: what predicts.
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
    """Compare documents with predicted entities, as `predict_documents` gives them, with the same documents' gold.

    Raises:
        ValueError: different numbers of documents.
    """
    watched = _Gold()
    return watched.compared_with([one.spans for one, _ in zip(predicted, watched.watch(gold), strict=True)])


class _Gold:
    """The gold spans of documents that pass by."""

    def __init__(self) -> None:
        self.characters = 0
        self.full: list[list[tuple[int, int, str]]] = []
        self.flat: list[list[tuple[int, int, str]]] = []

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Hand on each document and note its gold."""
        for document in documents:
            if isinstance(document, Document):  # the prediction refuses what is not
                self.characters += len(document.text)
                self.full.append(document.spans)
                self.flat.append(document.flattened().spans)
            yield document

    def compared_with(self, predicted: list[list[tuple[int, int, str]]]) -> EvaluationReport:
        """The report on predicted spans, one list per document that passed."""
        return EvaluationReport(
            documents=len(predicted),
            characters=self.characters,
            predicted=_number(predicted),
            gold=_number(self.full),
            flattened_gold=_number(self.flat),
            strict=entity_f1(predicted, self.full),
            strict_flattened=entity_f1(predicted, self.flat),
            boundaries=boundary_f1(predicted, self.full),
        )


def _number(documents: Sequence[Sequence[Any]]) -> int:
    return sum(map(len, documents))


def _label_rows(scores: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {**scores["per_label"], "**all**": scores}


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"| {title} | {' | '.join(_TITLES)} |", "|---|" + "---:|" * len(_TITLES)]
    for name, scores in rows.items():
        cells = (name.replace("|", "\\|"), *(_cell(scores[column]) for column in _COLUMNS))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


class AdnerEvaluator(TokenClassificationEvaluator):
    """Evaluates an `AdnerPipeline` on a dataset with columns of tokens and BIO labels.

    Use it as `evaluate.evaluator("token-classification")`. That one takes no ready pipeline together with
    transformers 5: evaluate 0.4.6 compares it with a TensorFlow class that transformers no longer has. It does take
    a model with its tokenizer, and then scores the arg-max labels of the stock pipeline; this one scores the entities
    of our pipeline, of texts of any length. Two things differ besides: tokens are joined by nothing (`join_by=""`),
    and the metric is `TagF1` unless one is given.

    `compute(pipeline, data=dataset)` returns what the metric returns and evaluate's time figures.
    """

    PIPELINE_KWARGS: Mapping[str, Any] = {}

    def __init__(self) -> None:
        super().__init__("token-classification")

    def compute(self, *args: Any, join_by: str = "", **kwargs: Any) -> dict[str, Any]:
        """As the base class's, of tokens joined by nothing.

        Args:
            args, kwargs: see `TokenClassificationEvaluator.compute`; the model is an `AdnerPipeline`, a folder or Hub
                name, or a model (with `tokenizer=`).
            join_by: what stands between two tokens in the text.

        Raises:
            TypeError: the model is none of ours.
        """
        return super().compute(*args, join_by=join_by, **kwargs)

    def prepare_pipeline(
        self, model_or_pipeline: Any, tokenizer: Any = None, feature_extractor: Any = None, device: Any = None
    ) -> AdnerPipeline:
        """The pipeline itself, or one made of a model and its tokenizer, each an object or a name."""
        if isinstance(model_or_pipeline, AdnerPipeline):
            return model_or_pipeline
        model, tokenizer = model_or_pipeline, tokenizer if tokenizer is not None else model_or_pipeline
        if isinstance(model, str):
            model = AutoModelForTokenClassification.from_pretrained(model)
        if isinstance(tokenizer, str):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        return AdnerPipeline(model=model, tokenizer=tokenizer, device=device)

    def prepare_metric(self, metric: str | EvaluationModule | None) -> EvaluationModule:
        """`TagF1` for None."""
        return TagF1() if metric is None else super().prepare_metric(metric)

    def call_pipeline(self, pipe: AdnerPipeline, texts: Iterable[str]) -> tuple[list[list[dict]], dict[str, float]]:
        """Per text its entities, and how long that took."""
        return super().call_pipeline(pipe, list(texts))

    def predictions_processor(
        self, predictions: Sequence[Sequence[Mapping[str, Any]]], words: Sequence[Sequence[str]], join_by: str
    ) -> dict[str, list[list[str]]]:
        """Entities in characters -> a BIO label per token: that of its first character."""
        offsets = (self.words_to_offsets(row, join_by) for row in words)
        return {"predictions": [_labels(found, row) for found, row in zip(predictions, offsets)]}


def _labels(entities: Sequence[Mapping[str, Any]], offsets: Sequence[tuple[int, int]]) -> list[str]:
    labels, before = [], None
    for start, _ in offsets:
        own = next((entity for entity in entities if entity["start"] <= start < entity["end"]), None)
        labels.append(OUTSIDE if own is None else f"{'I' if own is before else 'B'}-{own['entity_group']}")
        before = own
    return labels
