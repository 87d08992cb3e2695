"""The registry of fusions, and batches for them."""

import numpy as np
import pytest
import torch

from hf_adner.explain.fusion import FUSIONS, make_fusion, pad_inputs
from hf_adner.explain.global_table import TableEntry

from .fusion_inputs import random_inputs

NAMES = {
    "empirical-bayes",
    "equal",
    "product",
    "inverse-variance",
    "stability-softmax",
    "learned-gate",
    "local",
    "global",
}


def test_names():
    assert set(FUSIONS) == NAMES and all(fusion.name == name for name, fusion in FUSIONS.items())
    with pytest.raises(ValueError, match="fusion 'mean' is not available; expected one of .*'empirical-bayes'"):
        make_fusion("mean")
    with pytest.raises(TypeError, match="tau2"):
        make_fusion("equal", tau2=[1.0] * 5)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_scores_are_shares_and_weights_sum_to_one(name):
    inputs = random_inputs(4, 9)
    fused = make_fusion(name)(inputs)
    assert torch.allclose(fused.scores.sum(-1), torch.ones(4)) and (fused.scores >= 0).all()
    for part in fused:
        assert part.shape == inputs.local.shape and not part[~inputs.mask].any()
    assert torch.allclose(fused.local_weight + fused.global_weight, inputs.mask.float())
    assert ((fused.local_weight >= 0) & (fused.local_weight <= 1)).all()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_rows_and_padding_do_not_matter_to_one_another(name):
    inputs, fusion = random_inputs(4, 9), make_fusion(name)
    together = fusion(inputs).scores
    for row in range(4):
        length = int(inputs.mask[row].sum())
        alone = fusion(type(inputs)(*(one if one is None else _cut(one[row : row + 1], length) for one in inputs)))
        assert torch.allclose(alone.scores[0], together[row, :length], atol=1e-6)


def _cut(part, length):
    return part[:, :length] if part.dim() > 1 else part


def test_pad_inputs():
    entries = [TableEntry(*(np.full(length, value) for value in (0.5, 0.1, 3.0))) for length in (2, 4)]
    maps, roles = [np.ones(2), np.arange(4.0)], [np.array([1, 3]), np.array([0, 1, 3, 4])]
    inputs = pad_inputs(maps, entries, [0.2, 0.3], roles, [np.array([True, False]), np.ones(4, dtype=bool)])
    assert inputs.local.tolist() == [[1, 1, 0, 0], [0, 1, 2, 3]]
    assert inputs.roles.tolist() == [[1, 3, 0, 0], [0, 1, 3, 4]] and inputs.roles.dtype == torch.int64
    assert inputs.mask.tolist() == [[True, False, False, False], [True] * 4]
    assert inputs.prior[0].tolist() == [0.5, 0.5, 0, 0] and inputs.counts[1].tolist() == [3.0] * 4
    assert inputs.local_variance.tolist() == pytest.approx([0.2, 0.3])
    assert pad_inputs(maps, entries, [0.2, 0.3], roles, length=6).mask.sum(-1).tolist() == [2, 4]
    assert pad_inputs([], [], [], []).local.shape == (0, 0)
