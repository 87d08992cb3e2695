import pytest
import torch

from hf_adner.perturb.embeddings import EmbeddingNoise, IndependentDropout, add_embedding_noise

from .documents import note


def test_noise_has_the_stated_size():
    embeddings = 3 * torch.randn(4, 50, 64, generator=torch.Generator().manual_seed(0))
    noise = add_embedding_noise(embeddings, 0.05, generator=torch.Generator().manual_seed(1)) - embeddings
    assert noise.square().mean().sqrt() == pytest.approx(0.15, rel=0.03)
    again = add_embedding_noise(embeddings, 0.05, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again, embeddings + noise) or torch.allclose(again, embeddings + noise)


def test_masked_positions_neither_count_nor_change():
    embeddings = torch.ones(1, 4, 8)
    embeddings[:, 2:] = 1e6
    mask = torch.tensor([[True, True, False, False]])
    noisy = add_embedding_noise(embeddings, 0.05, mask, torch.Generator().manual_seed(0))
    assert torch.equal(noisy[:, 2:], embeddings[:, 2:])
    assert 0 < (noisy - embeddings)[:, :2].abs().max() < 1
    assert torch.equal(add_embedding_noise(embeddings, 0.05, torch.zeros_like(mask)), embeddings)


def test_dtype_gradient_and_limits():
    embeddings = torch.randn(2, 3, 4).bfloat16().requires_grad_()
    noisy = add_embedding_noise(embeddings)
    assert noisy.dtype == torch.bfloat16
    noisy.sum().backward()
    assert torch.equal(embeddings.grad, torch.ones_like(embeddings))
    assert torch.equal(add_embedding_noise(embeddings, 0.0), embeddings)
    with pytest.raises(ValueError, match="sigma is -1"):
        add_embedding_noise(embeddings, -1)
    with pytest.raises(ValueError, match="sigma is -1"):
        EmbeddingNoise(-1)


@pytest.mark.parametrize("perturbation", [EmbeddingNoise(), IndependentDropout()])
def test_documents_stay(perturbation):
    result = perturbation(note(), 0)
    assert result.is_unchanged and result.document == note() and result.families == (perturbation.name,)


def test_noise_of_the_perturbation():
    embeddings = torch.ones(1, 2, 3)
    seeded = [torch.Generator().manual_seed(5) for _ in range(2)]
    expected = add_embedding_noise(embeddings, 0.2, None, seeded[0])
    assert torch.equal(EmbeddingNoise(0.2).apply(embeddings, None, seeded[1]), expected)
