"""Maps of explanations over what the model read."""

import math

import numpy as np
import pytest

from hf_adner import Entity, Explanation
from hf_adner.explain.fused import local_maps, map_variance


def explained(text, scores, entity=(1, 2), **details):
    return Explanation(text, Entity(*entity, "Disease"), tuple(scores), "m", "label", 0.0, details=details)


def test_maps_are_over_their_windows():
    whole = explained("红斑伴痒", [1, 1, 0, 2])
    window = explained("红斑伴痒红斑", [0, 0, 3, 1, 0, 0], (3, 4), window=[2, 5])
    first, second = local_maps([whole, window])
    assert first.values.tolist() == pytest.approx([0, 0, -5, math.log(2)], abs=1e-6)
    assert (first.text, first.entity, first.offset) == ("红斑伴痒", (1, 2, "Disease"), 0)
    assert (second.text, second.entity, second.offset) == ("伴痒红", (1, 2, "Disease"), 2)
    assert second.values.tolist() == pytest.approx([math.log(9 / 4), math.log(3 / 4), -5], abs=1e-6)
    placed = second.in_whole(6)
    assert np.isnan(placed[[0, 1, 5]]).all() and placed[2:5].tolist() == second.values.tolist()
    assert second.in_whole(6, np.ones(3), 0.0).tolist() == [0, 0, 1, 1, 1, 0]
    assert local_maps([]) == []


def test_blank_characters_without_a_token_have_no_value():
    (found,) = local_maps([explained("a b c\u3000", [1, 0, 2, 3, 0, 0])])
    assert found.mask.tolist() == [True, False, True, True, True, False]
    assert np.isnan(found.values[[1, 5]]).all() and found.values[2] == pytest.approx(math.log(4 * 2 / 6))


def test_variance_is_half_the_mean_square_over_what_was_kept():
    before, after = explained("红斑伴痒", [1, 1, 1, 1]), explained("伴红斑痒", [1, 2, 1, 4], (2, 3))
    kept = [(0, 1), (1, 2), (2, 0)]
    logs = [math.log(4 * value / 8) for value in (2, 1, 1)]
    assert map_variance(before, after, kept) == pytest.approx(sum(one**2 for one in logs) / 3 / 2)
    assert map_variance(before, before, kept[:1]) == 0
    assert map_variance(before, after, []) is None
