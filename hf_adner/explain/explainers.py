"""Explainers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hf_adner.explain.attention import AttentionTimesGradient
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.gradient import GradientTimesInput
from hf_adner.explain.integrated import IntegratedGradients
from hf_adner.explain.occlusion import Occlusion
from hf_adner.explain.sampling import KernelShap, Lime
from hf_adner.explain.tagger import Tagger

DEFAULT_EXPLAINER = "grad-x-input"

EXPLAINERS: dict[str, type[LocalExplainer]] = {
    explainer.name: explainer
    for explainer in (
        GradientTimesInput,
        IntegratedGradients,
        Occlusion,
        Lime,
        KernelShap,
        AttentionTimesGradient,
    )
}
"""What `make_explainer` knows, by name."""


def make_explainer(name: str, model: Any, tokenizer: Any, **options: Any) -> LocalExplainer:
    """An explainer for a token classifier with BIO labels.

    Args:
        name: one of `EXPLAINERS`.
        model: an `AdnerForTokenClassification`, or any `AutoModelForTokenClassification`.
        tokenizer: its fast tokenizer.
        options: of every explainer `target` (``label``, ``start``, ``end``, ``span``) and `batch_size`; others are the
            explainer's own, such as `steps` of integrated gradients or `n_samples` and `seed` of LIME and KernelSHAP.

    Returns:
        ``explainer(texts, entities=None)``: per text a list of `Explanation`, see `LocalExplainer.__call__`.

    Raises:
        ValueError: an unknown name, or an option out of range.
        TypeError: an option that the explainer does not have, or a tokenizer without offsets.
    """
    if name not in EXPLAINERS:
        raise ValueError(f"explainer {name!r} is not available; expected one of {sorted(EXPLAINERS)}")
    return EXPLAINERS[name](Tagger(model, tokenizer), **options)


def pipeline_explainer(pipeline: Any, explain: Any) -> Callable[..., Any]:
    """What `AdnerPipeline` explains with.

    Args:
        pipeline: an `AdnerPipeline`.
        explain: True for gradient x input, the name of an explainer, or an explainer.

    Raises:
        TypeError: something else.
        ValueError: an unknown name.
    """
    if callable(explain):
        return explain
    if explain is not True and not isinstance(explain, str):
        raise TypeError(f"explain is {type(explain).__name__}, expected True, an explainer's name or an explainer")
    name = DEFAULT_EXPLAINER if explain is True else explain
    return make_explainer(name, pipeline.model, pipeline.tokenizer)
