"""Explainers asked for other targets than the label: why an entity begins, and why it ends."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fused import FusedExplainer
from hf_adner.explain.targets import Target


class TargetedExplainer:
    """Explainers of one method for several targets, such as fused ones, each with a table of its own target.

    Args:
        explainers: name of a target -> its explainer; called itself it is the one of ``label``.

    Raises:
        ValueError: none for ``label``.
    """

    def __init__(self, explainers: Mapping[str, Any]):
        if "label" not in explainers:
            raise ValueError(f"an explainer for 'label' is needed, found those of {sorted(explainers)}")
        self._explainers = dict(explainers)

    def __call__(self, texts: Sequence[str], entities: Sequence[Any] | None = None) -> list[list[Explanation]]:
        """What the explainer of the label gives."""
        return self._explainers["label"](texts, entities)

    def with_target(self, name: str) -> Any:
        """The explainer of a target; where there is none that of the label, asked for it."""
        return self._explainers[name] if name in self._explainers else with_target(self._explainers["label"], name)


def with_target(explainer: Any, name: str) -> Any:
    """The same explainer asked for another target; one that has none (a control, a plain function) as it is.

    A fused explainer asks its local one; its table stays that of the target it was built for.

    Args:
        explainer: a `LocalExplainer`, a `FusedExplainer`, an object with a method ``with_target(name)``, or anything
            else that explains.
        name: one of `hf_adner.explain.targets.TARGETS`.
    """
    if hasattr(explainer, "with_target"):
        return explainer.with_target(name)
    other = copy.copy(explainer)
    if isinstance(explainer, FusedExplainer):
        other.local = with_target(explainer.local, name)
    elif isinstance(explainer, LocalExplainer):
        tagger = explainer.tagger
        other.target = Target(name, tagger.labels, tagger.model.entity_log_posteriors if tagger.is_adner else None)
    return other
