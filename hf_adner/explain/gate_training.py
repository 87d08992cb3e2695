"""Training the learned gate on documents: what hiding each character really does is the teacher."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_adner.data.records import Document
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.fused import DEFAULT_LOCAL_VARIANCE, LocalMap, fusion_inputs, local_maps
from hf_adner.explain.fusion import FusionInputs, LearnedGate
from hf_adner.explain.global_table import GlobalTable


def fit_gate(
    local: LocalExplainer,
    teacher: LocalExplainer,
    table: GlobalTable,
    documents: Iterable[Document],
    *,
    progress: bool = True,
    steps: int = 200,
) -> LearnedGate:
    """Train a gate that weighs a local explainer and a table so that fused maps are faithful.

    Args:
        local: the explainer whose maps will be fused.
        teacher: tells what characters do, as occlusion (``make_explainer("occlusion", ...)``); for the same target.
        table: the global table.
        documents: with gold entities, that neither model nor table was trained on.
        progress: show a progress bar.
        steps: of training, see `LearnedGate.fit`.

    Returns:
        A gate for ``make_explainer("fused", ..., fusion=gate)``.

    Raises:
        ValueError: teacher or table are for another target, or no entity depends on any character.
    """
    targets = {local.target.name, teacher.target.name, table.target}
    if len(targets) > 1:
        raise ValueError(f"local explainer, teacher and table are for different targets: {sorted(targets)}")
    maps: list[LocalMap] = []
    lessons: list[LocalMap] = []
    for document in tqdm(documents, desc="learned gate", unit="doc", disable=not progress):
        (found,), (taught,) = (one([document.text], [document.spans]) for one in (local, teacher))
        maps += local_maps(found)
        lessons += local_maps(taught)
    gate = LearnedGate(None if table.noise is None else table.noise.tau2)
    variance = DEFAULT_LOCAL_VARIANCE if table.noise is None else table.noise.local_variance
    inputs = fusion_inputs(maps, table, [variance] * len(maps))
    gate.fit(inputs, _effects(lessons, inputs), steps=steps)
    return gate


def _effects(lessons: list[LocalMap], inputs: FusionInputs) -> Tensor:
    """(entities, length) the teacher's magnitudes; none for entities without any effect."""
    effects = torch.zeros_like(inputs.local)
    for row, one in enumerate(lessons):
        if one.logs.any():
            effects[row, : len(one.logs)] = torch.from_numpy(np.exp(one.logs) * one.mask)
    return effects
