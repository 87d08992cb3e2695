"""Random weights and noisy embeddings: what changes inside, and that nothing stays behind."""

import pytest
import torch

from hf_adner.audit.responses import noisy_embeddings, randomised_weights


def weights(model) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_last_parameters_are_random_for_a_while(case, share):
    before = weights(case.model)
    with randomised_weights(case.model, share, seed=3):
        inside = weights(case.model)
    with randomised_weights(case.model, share, seed=3):
        again = weights(case.model)
    changed = [not torch.equal(one, other) for one, other in zip(before, inside, strict=True)]
    varied = [bool(one.std(correction=0) > 0) for one in before]
    first = len(before) - -(-len(before) * int(share * 10) // 10)
    assert changed == [place >= first and there for place, there in enumerate(varied)]
    assert all(map(torch.equal, inside, again)) and all(map(torch.equal, before, weights(case.model)))
    largest = max(before[first:], key=torch.numel)
    found = inside[[one is largest for one in before].index(True)]
    assert found.std().item() == pytest.approx(largest.std().item(), rel=0.2)


def test_weights_come_back_after_an_error(case):
    before = weights(case.model)
    with pytest.raises(RuntimeError), randomised_weights(case.model):
        raise RuntimeError
    assert all(map(torch.equal, before, weights(case.model)))
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], found 0"), randomised_weights(case.model, 0):
        pass


def test_noise_is_bounded_and_the_same_for_every_text(case):
    table = case.model.get_input_embeddings()
    short, long = torch.tensor([[5, 6]]), torch.tensor([[6, 5, 7], [7, 7, 7]])
    quiet = [table(ids) for ids in (short, long)]
    with noisy_embeddings(case.model, 0.05, seed=2):
        noises = [table(ids) - before for ids, before in zip((short, long), quiet)]
    torch.testing.assert_close(noises[0][0], noises[1][0, :2])
    torch.testing.assert_close(noises[1][0], noises[1][1])
    scale = table.weight.square().mean().sqrt()
    assert 0 < noises[1].abs().max() <= 0.05 * scale * (1 + 1e-3)
    assert torch.equal(table(short), quiet[0])
    with noisy_embeddings(case.model, 0.05, seed=3):
        assert not torch.allclose(table(short) - quiet[0], noises[0], atol=1e-6)
