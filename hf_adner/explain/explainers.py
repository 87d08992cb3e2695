"""`make_explainer` and the explainers it knows by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.fused import FUSED, FUSED_FAST, FusedExplainer, NoMap
from hf_adner.explain.fusion import EmpiricalBayes, Fusion, Global, make_fusion
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.gradients import AttentionTimesGradient, GradientTimesInput, IntegratedGradients
from hf_adner.explain.occlusion import Occlusion
from hf_adner.explain.removal import KernelShap, Lime
from hf_adner.explain.table_building import resolve_global_table
from hf_adner.explain.tagger import Tagger

DEFAULT_EXPLAINER = "grad-x-input"

Explainer = LocalExplainer | FusedExplainer

LOCAL_EXPLAINERS: dict[str, type[LocalExplainer]] = {
    "grad-x-input": GradientTimesInput,
    "integrated-gradients": IntegratedGradients,
    "occlusion": Occlusion,
    "lime": Lime,
    "kernel-shap": KernelShap,
    "attention": AttentionTimesGradient,
}
"""Local explainers by name."""


def make_global(tagger: Tagger, *, global_table: Any = None, **options: Any) -> FusedExplainer:
    """Make an explainer of the global table's map alone, which is the same for the same characters in every text.

    Args:
        tagger: model and tokenizer; the model computes only the target's value and the boundary profiles.
        global_table: see `make_fused`.
        options: `target` and `batch_size`.
    """
    local = NoMap(tagger, **options)
    return FusedExplainer(local, resolve_global_table(global_table, tagger.model), Global(), name="global")


def make_fused(
    tagger: Tagger,
    *,
    global_table: Any = None,
    local: str | LocalExplainer = "occlusion",
    fusion: str | Fusion = EmpiricalBayes.name,
    variance_views: int = 0,
    view_seed: int = 0,
    name: str = FUSED,
    **options: Any,
) -> FusedExplainer:
    """Make an explainer that shrinks the maps of a local explainer, by default occlusion's, towards the global table's.

    Args:
        tagger: model and tokenizer.
        global_table: a `GlobalTable`, its folder, or a checkpoint folder with one; default: the table of the checkpoint
            that the model was loaded from.
        local: a name of `LOCAL_EXPLAINERS`, or an explainer.
        fusion: a name of `hf_adner.explain.fusion.FUSIONS`, or a fusion; empirical Bayes takes its tau2 from the table.
        variance_views, view_seed, name: see `FusedExplainer`.
        options: of the local explainer, if given by name.

    Raises:
        ValueError: an unknown name, no table, or a table of other maps; the message says how to build one.
        TypeError: options for an explainer object.
    """
    if isinstance(local, str):
        if local not in LOCAL_EXPLAINERS:
            raise ValueError(f"local explainer {local!r} is unknown; expected one of {sorted(LOCAL_EXPLAINERS)}")
        local = LOCAL_EXPLAINERS[local](tagger, **options)
    elif options:
        raise TypeError(f"options {sorted(options)} are for a local explainer given by name")
    table = resolve_global_table(global_table, tagger.model)
    fusion = fusion_for(fusion, table) if isinstance(fusion, str) else fusion
    return FusedExplainer(local, table, fusion, variance_views, view_seed, name)


def make_fused_fast(tagger: Tagger, **options: Any) -> FusedExplainer:
    """Make a fused explainer of gradient x input with its table: much faster than occlusion, and less faithful.

    Args:
        tagger: model and tokenizer.
        options: as for `make_fused`, without `local` and `name`.
    """
    return make_fused(tagger, local=DEFAULT_EXPLAINER, name=FUSED_FAST, **options)


def fusion_for(name: str, table: GlobalTable) -> Fusion:
    """Make a fusion by name, with the error estimates of a table if it takes them.

    Raises:
        ValueError: an unknown name.
    """
    measured = {} if table.noise is None else {"tau2": table.noise.tau2}
    return make_fusion(name, **(measured if name == EmpiricalBayes.name else {}))


EXPLAINERS: dict[str, Callable[..., Explainer]] = {
    **LOCAL_EXPLAINERS,
    "global": make_global,
    "fused": make_fused,
    "fused-fast": make_fused_fast,
}
"""Explainers of `make_explainer` by name."""


def make_explainer(name: str, model: Any, tokenizer: Any, **options: Any) -> Explainer:
    """Make an explainer for a token classifier with BIO labels.

    Args:
        name: one of `EXPLAINERS`.
        model: an `AdnerForTokenClassification`, or any `AutoModelForTokenClassification`.
        tokenizer: its fast tokenizer.
        options: every explainer takes `target` (a name of `hf_adner.explain.targets.TARGETS`) and `batch_size`; others
            depend on the explainer, such as `steps` of integrated gradients, `n_samples` and `seed` of LIME and
            KernelSHAP, `global_table`, `local` and `fusion` of ``fused`` (see `make_fused`).

    Returns:
        ``explainer(texts, entities=None)``: per text a list of `Explanation`, see `LocalExplainer.__call__`.

    Raises:
        ValueError: an unknown name, an option out of range, or no global table for an explainer that needs it.
        TypeError: an option that the explainer does not have, or a slow tokenizer.
    """
    if name not in EXPLAINERS:
        raise ValueError(f"explainer {name!r} is not available; expected one of {sorted(EXPLAINERS)}")
    return EXPLAINERS[name](Tagger(model, tokenizer), **options)


def pipeline_explainer(pipeline: Any, explain: Any) -> Callable[..., Any]:
    """Make the explainer of an `AdnerPipeline`; see its `explain` argument.

    Args:
        pipeline: an `AdnerPipeline`.
        explain: True for gradient x input, the name of an explainer, or an explainer.

    Raises:
        TypeError: `explain` is of another type.
        ValueError: an unknown name.
    """
    if callable(explain):
        return explain
    if explain is not True and not isinstance(explain, str):
        raise TypeError(f"explain is {type(explain).__name__}, expected True, an explainer's name or an explainer")
    name = DEFAULT_EXPLAINER if explain is True else explain
    return make_explainer(name, pipeline.model, pipeline.tokenizer)
