"""Units of a text, statistics by unit and role, roles of characters, and log attributions."""

import math

import numpy as np
import pytest
import torch

from hf_adner import Entity, Explanation, Lexicon
from hf_adner.explain.explanation import ROLES
from hf_adner.explain.unit_statistics import (
    ANY,
    FIRST_UNIT,
    UNKNOWN_WORD,
    UNSEEN,
    Units,
    UnitStatistics,
    character_roles,
    log_attributions,
    own_moments,
    shrink,
    simplex,
)


def named(units, ids):
    names = {ANY: "any", UNSEEN: None, UNKNOWN_WORD: "?"}
    return [names[one] if one < FIRST_UNIT else units.names[one - FIRST_UNIT] for one in ids.tolist()]


def test_characters_and_the_longest_words_from_left_to_right():
    units = Units(Lexicon(["红斑", "斑块", "反复红斑", "红", "IgE"]))
    assert units.find("红斑").tolist() == [[ANY, ANY], [UNSEEN, UNSEEN], [UNKNOWN_WORD, UNKNOWN_WORD]]
    ids = units.add("红斑块IgE\ud800\U00020000")
    assert named(units, ids[1]) == ["红", "斑", "块", "i", "g", "e", "\ufffd", "\U00020000"]
    assert named(units, ids[2]) == ["红斑", "红斑", None, "ige", "ige", "ige", None, None]
    assert (units.find("红斑块ige\ufffd\U00020000") == ids).all()
    assert named(units, units.find("反复红斑")[2]) == ["?"] * 4
    assert len(units) == len(set(units.names)) == 10
    assert units.id_of("红斑") == ids[2, 0] and units.id_of("\U0010ffff") == FIRST_UNIT + 10
    assert units.find("").shape == (3, 0)


def test_without_a_lexicon_there_are_only_characters():
    units = Units()
    assert named(units, units.add("红斑")[2]) == [None, None]


def test_statistics_grow_and_unknown_units_are_empty():
    statistics = UnitStatistics()
    units, roles = np.array([3, 900, 3]), np.array([1, 4, 1])
    moments = np.array([[1.0, 2.0, 4.0], [1.0, 3.0, 9.0], [1.0, 5.0, 25.0]])
    statistics.add("Disease", units[:1], roles[:1], moments[:1])
    statistics.add("Disease", units[1:], roles[1:], moments[1:])
    assert statistics.read("Disease", units, roles).tolist() == [[2, 7, 29], [1, 3, 9], [2, 7, 29]]
    assert not statistics.read("Disease", np.array([[3, 901, 10**6]]), np.array([[2, 4, 1]])).any()
    assert not statistics.read("Drug", units, roles).any() and statistics.labels == ["Disease"]
    statistics.scale(0.5)
    assert statistics.read("Disease", units, roles)[1].tolist() == [0.5, 1.5, 4.5]


def test_own_moments_are_summed_over_characters_with_the_same_key():
    keys = np.array([[7, 7, 7], [1, 2, 1]])
    moments = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0], [1.0, 4.0, 16.0]])
    found = own_moments(keys, moments)
    assert found[..., 1].tolist() == [[7, 7, 7], [5, 2, 5]]
    assert found[..., 0].tolist() == [[3, 3, 3], [2, 1, 2]]
    assert found[..., 2].tolist() == [[21, 21, 21], [17, 4, 17]]


def test_without_observations_the_mean_is_the_coarser_levels():
    moments = np.zeros((3, 3, 3))
    moments[0, :] = [10.0, 20.0, 60.0]  # mean 2, variance 2
    moments[1, 1:] = [4.0, 4.0, 8.0]
    mean, variance, count = shrink(moments, 5.0, np.array([False, False, True]))
    role_mean, role_variance = 20 / 15, (20 + 5 * 1.0) / 15
    assert np.allclose(mean, [role_mean, (4 + 5 * role_mean) / 9, (4 + 5 * role_mean) / 9])
    own = (4 + 5 * role_variance) / 9
    assert np.allclose(variance, [role_variance / 5, own / 9, own / 5])
    assert count.tolist() == [0, 4, 0]


def test_the_logarithm_of_the_share_times_the_length():
    scores = torch.tensor([[1.0, -2.0, 5.0, 0.0], [3.0, 1.0, 7.0, 7.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    found = log_attributions(scores, mask)
    expected = [[math.log(4 / 8), math.log(8 / 8), math.log(20 / 8), -5.0], [math.log(1.5), math.log(0.5), 0, 0]]
    assert found.flatten().tolist() == pytest.approx(sum(expected, []), abs=1e-6)


def test_scale_and_sign_do_not_matter_and_extremes_are_clipped():
    scores = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 9, dtype=torch.bool)
    assert torch.allclose(log_attributions(scores, mask), log_attributions(-1e-12 * scores, mask), atol=1e-4)
    extreme = log_attributions(torch.tensor([1e30] + [1e-30] * 999), torch.ones(1000, dtype=torch.bool))
    assert extreme.unique().tolist() == [-5.0, 5.0]


def test_a_zero_map_and_an_empty_mask_are_zero():
    assert not log_attributions(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)).any()
    assert not log_attributions(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)).any()
    assert not simplex(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shares_are_the_inverse(dtype):
    scores = torch.rand(4, 7, generator=torch.Generator().manual_seed(1)).to(dtype) + 0.1
    mask = torch.arange(7) < torch.tensor([[7], [5], [2], [1]])
    shares = simplex(log_attributions(scores, mask), mask)
    expected = scores.float() * mask / (scores.float() * mask).sum(-1, keepdim=True)
    assert shares.dtype == torch.float32 and torch.allclose(shares, expected, atol=1e-6)
    assert not shares[~mask].any()


@pytest.mark.parametrize(
    ("length", "start", "end", "expected"),
    [
        (6, 1, 5, [0, 1, 2, 2, 3, 4]),
        (4, 1, 3, [0, 1, 3, 4]),
        (3, 1, 2, [0, 1, 4]),
        (1, 0, 1, [1]),
        (2, 0, 2, [1, 3]),
    ],
)
def test_roles(length, start, end, expected):
    assert character_roles(length, start, end).tolist() == expected


def test_an_explanation_sums_over_the_same_roles():
    scores = np.arange(1.0, 8.0)
    for start in range(7):
        for end in range(start + 1, 8):
            one = Explanation("红斑伴瘙痒三年", Entity(start, end, "Disease"), tuple(scores), "m", "label", 0.0)
            roles = character_roles(7, start, end)
            assert one.by_role() == {role: scores[roles == number].sum() for number, role in enumerate(ROLES)}


@pytest.mark.parametrize(("start", "end"), [(2, 2), (-1, 2), (0, 4), (3, 1)])
def test_bad_entities(start, end):
    with pytest.raises(ValueError, match=f"entity {start}-{end} is empty or outside the text of 3"):
        character_roles(3, start, end)
