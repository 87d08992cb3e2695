"""`evaluate`'s token-classification evaluator, for our pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluate import EvaluationModule
from evaluate.evaluator import TokenClassificationEvaluator
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner.metrics.tag_f1 import TagF1
from hf_adner.model.labels_adner import OUTSIDE
from hf_adner.model.pipeline_adner import AdnerPipeline


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
