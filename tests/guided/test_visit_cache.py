"""What is remembered of earlier visits: storage, blending, merging of processes, and checkpoints."""

import pytest
import torch

from hf_adner.guided.visit_cache import DECAY, Visit, VisitCache, stored


def visit(seed: int, tokens: int = 5, precision: str = "half") -> Visit:
    draw = torch.Generator().manual_seed(seed)
    marginals = torch.rand(tokens, 3, generator=draw)
    marginals = (marginals / marginals.sum(1, keepdim=True)).half()
    cells = torch.randint(0, 9, (tokens,), generator=draw).short()
    return Visit(stored(torch.randn(tokens, 13, generator=draw), precision), cells, marginals)


def test_half_precision_keeps_the_direction_and_forgets_the_length():
    gradient = torch.randn(7, 30) * 1e-9
    kept = stored(gradient, "half").read()
    assert kept.square().sum() == pytest.approx(7, rel=1e-3)
    assert torch.nn.functional.cosine_similarity(kept.flatten(), gradient.flatten(), dim=0) > 1 - 1e-5


@pytest.mark.parametrize("size", [8, 13, 384])
def test_signs_keep_sign_and_norm_of_each_token(size):
    gradient = torch.randn(6, size)
    direction = stored(gradient, "sign")
    assert direction.values.shape == (6, -(-size // 8)) and direction.values.dtype == torch.uint8
    kept, scaled = direction.read(), gradient * (6**0.5 / gradient.norm())
    assert torch.equal(kept.sign(), torch.where(gradient >= 0, 1.0, -1.0))
    assert kept.norm(dim=1) == pytest.approx(scaled.norm(dim=1), rel=1e-5)


def test_nothing_is_remembered_before_the_epoch_ends():
    cache = VisitCache()
    cache.add(3, visit(0))
    assert len(cache) == 0
    cache.advance()
    assert len(cache) == 1 and not cache.pending


def test_marginals_are_an_exponential_mean_without_bias():
    cache, seen = VisitCache(), [visit(seed) for seed in range(4)]
    for one in seen:
        cache.add(0, one)
        cache.advance()
    weights = torch.tensor([DECAY ** (3 - number) for number in range(4)])
    expected = sum(weight * one.marginals.float() for weight, one in zip(weights, seen)) / weights.sum()
    assert cache.remembered[0].marginals.float() == pytest.approx(expected, abs=2e-3)
    assert cache.remembered[0].visits == 4


def test_agreement_is_the_cosine_of_the_last_two_directions():
    cache = VisitCache()
    for seed in (1, 2, 3):
        cache.add(0, visit(seed))
        cache.advance()
    last = [visit(seed).direction.read().flatten() for seed in (2, 3)]
    expected = torch.nn.functional.cosine_similarity(*last, dim=0)
    assert cache.remembered[0].agreement == pytest.approx(float(expected), abs=1e-6)


def test_two_processes_remember_what_one_does():
    one, two, shares = VisitCache(), VisitCache(), ({0: visit(0), 2: visit(2)}, {1: visit(1), 3: visit(3)})
    for share in shares[::-1]:
        for window, seen in share.items():
            one.add(window, seen)
    two.join(shares, "cpu")
    one.advance()
    two.advance()
    assert list(one.remembered) == list(two.remembered) == [0, 1, 2, 3]
    for name, tensor in one.to_tensors().items():
        assert torch.equal(tensor.nan_to_num(-1), two.to_tensors()[name].nan_to_num(-1))


@pytest.mark.parametrize("precision", ["half", "sign"])
def test_tensors_round_trip(precision):
    cache = VisitCache()
    for seed in range(3):
        cache.add(seed, visit(seed, tokens=seed + 1, precision=precision))
    cache.advance()
    cache.add(1, visit(7, tokens=2, precision=precision))
    cache.add(9, Visit(None, None, visit(1).marginals))
    tensors = cache.to_tensors()
    again = VisitCache.from_tensors(tensors, "cpu").to_tensors()
    assert again.keys() == tensors.keys()
    assert all(torch.equal(tensors[name].nan_to_num(-1), again[name].nan_to_num(-1)) for name in tensors)


@pytest.mark.parametrize("name", ["else.1.direction", "pending.x.direction", "pending"])
def test_other_tensors_are_refused(name):
    with pytest.raises(ValueError, match="unexpected tensor"):
        VisitCache.from_tensors({name: torch.zeros(1)}, "cpu")
