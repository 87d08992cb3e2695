"""The record of estimates for fusion."""

import json

import pytest

from hf_adner.explain.table_files import TableNoise, merge_noise

TAU2 = (0.1, 0.2, 0.3, 0.4, -0.1)


def test_merging_weighs_by_entities():
    one, other = TableNoise(0.2, TAU2, 30), TableNoise(0.6, (0.5,) * 5, 10)
    merged = one.merged(other)
    assert merged.local_variance == pytest.approx(0.3) and merged.entities == 40
    assert merged.tau2 == pytest.approx([0.2, 0.275, 0.35, 0.425, 0.05])
    assert merge_noise([None, one, None]) == one and merge_noise([None]) is None
    assert merge_noise([one, other]).tau2 == pytest.approx(merge_noise([other, one]).tau2)


def test_through_json():
    noise = TableNoise(0.2, TAU2, 30)
    assert TableNoise.from_dict(json.loads(json.dumps(noise.to_dict()))) == noise


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.2, TAU2[:4], 3), "tau2 must be 5 finite numbers"),
        ((0.2, (*TAU2[:4], float("nan")), 3), "tau2 must be 5 finite numbers"),
        ((-0.1, TAU2, 3), "local_variance must be finite"),
        ((0.1, TAU2, 0), "at least one entity"),
    ],
)
def test_bad_values(values, message):
    with pytest.raises(ValueError, match=message):
        TableNoise(*values)
