"""The lists of indices of words and edges against dense tensors and plain loops over their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner.model.lattice_adner import (
    LexiconMatches,
    SparseMatrix,
    covered_characters,
    lattice_edges,
    normalise_adjacency,
    runs,
)

from .lattice import dense_adjacency, dense_word_features
from .test_layers_adner import LENGTH, ROWS, inside, mask_of, matches_of, noise, soft_lexicon

LONG = 60


def random_matches(seed: int, words: int = 90, length: int = LONG) -> LexiconMatches:
    """Two rows of words of 1 to 6 characters, in no order, some of them long, with padding between them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, (2, words), generator=generator)

    starts = draw(0, length)
    ends = (starts + torch.where(draw(0, 20) == 0, draw(10, length), draw(1, 7))).clamp(max=length)
    return LexiconMatches(draw(0, 6), starts, ends)


def as_matrix(edges, rows: int, length: int) -> torch.Tensor:
    """Weights of the edges, (rows, length, length)."""
    return edges.sums(torch.eye(length).expand(rows, -1, -1))


@given(st.lists(st.integers(0, 4), max_size=6))
def test_runs_number_their_members(counts):
    run, place = runs(torch.tensor(counts, dtype=torch.long))
    expected = [(index, place) for index, count in enumerate(counts) for place in range(count)]
    assert list(zip(run.tolist(), place.tolist())) == expected


@given(ROWS)
@settings(max_examples=25)
def test_covered_characters_are_those_of_each_word(rows):
    rows = inside(rows)
    matches = matches_of(rows)
    covered, width = covered_characters(matches, LENGTH), matches.ids.shape[1]
    expected = [
        (row * width + index, place - start, end - 1 - place, row * LENGTH + place)
        for row, (_, words) in enumerate(rows)
        for index, (_, start, end) in enumerate(words)
        for place in range(start, end)
    ]
    assert list(zip(*(column.tolist() for column in covered))) == expected


def sparse(seed: int = 0) -> tuple[SparseMatrix, torch.Tensor]:
    """A matrix of 5 rows, some without an entry, and 4 columns, with an entry in two parts; also dense."""
    rows, columns = torch.tensor([4, 0, 4, 1, 0, 1, 4]), torch.tensor([3, 1, 0, 1, 1, 2, 1])
    weights = noise(7, seed=seed)
    dense = torch.zeros(5, 4).index_put((rows, columns), weights, accumulate=True)
    return SparseMatrix.of_entries(rows, columns, weights, 5), dense


@pytest.mark.parametrize("is_exporting", [False, True])
def test_product_with_a_sparse_matrix(is_exporting, monkeypatch):
    """The export to ONNX takes another way."""
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: is_exporting)
    matrix, dense = sparse()
    assert matrix.counts.tolist() == [2, 2, 0, 0, 3]
    values = noise(4, 3).requires_grad_()
    torch.testing.assert_close(matrix.times(values), dense @ values)
    weights = noise(5, 3, seed=3)
    (gradient,) = torch.autograd.grad((matrix.times(values) * weights).sum(), values)
    torch.testing.assert_close(gradient, dense.T @ weights)
    assert matrix.times(values.bfloat16()).dtype == torch.bfloat16
    nothing = torch.zeros(0, dtype=torch.long)
    assert not SparseMatrix.of_entries(nothing, nothing, torch.zeros(0), 5).times(values).any()


def test_gradient_of_a_product_by_differences():
    matrix, _ = sparse()
    assert torch.autograd.gradcheck(matrix.times, (noise(4, 2).double().requires_grad_(),))


def lattice_by_definition(length: int, words) -> set[tuple[int, int]]:
    """Edges: sequence neighbours, characters of one word, its first and last character with the neighbours outside."""
    edges = set()
    for first in range(length):
        for second in range(length):
            is_edge = abs(first - second) == 1
            for _, start, end in words:
                is_edge |= start <= first < end and start <= second < end
                is_edge |= first in (start, end - 1) and second in (start - 1, end)
                is_edge |= second in (start, end - 1) and first in (start - 1, end)
            if is_edge and first != second:
                edges.add((first, second))
    return edges


@given(ROWS)
@settings(max_examples=40)
def test_lattice_edges_are_their_definition(rows):
    rows = inside(rows)
    edges = as_matrix(lattice_edges(mask_of(rows), matches_of(rows)), len(rows), LENGTH)
    plain = as_matrix(lattice_edges(mask_of(rows), None), len(rows), LENGTH)
    for row, (length, words) in enumerate(rows):
        loops = {(place, place) for place in range(length)}
        assert set(map(tuple, edges[row].nonzero().tolist())) == lattice_by_definition(length, words) | loops
        assert set(map(tuple, plain[row].nonzero().tolist())) == lattice_by_definition(length, []) | loops


@given(ROWS, st.booleans())
@settings(max_examples=25)
def test_normalised_adjacency_is_its_formula(rows, is_callers):
    """A caller's edges may loop, and may join the text to what is none."""
    rows = inside(rows)
    mask = mask_of(rows)
    adjacency = dense_adjacency(mask, matches_of(rows))
    edges_outside = ~(mask[:, :, None] & mask[:, None, :]) | torch.eye(LENGTH, dtype=torch.bool)
    normal = normalise_adjacency(adjacency + is_callers * edges_outside, mask)
    for row, (length, _) in enumerate(rows):
        looped = adjacency[row, :length, :length].double() + torch.eye(length)
        scale = torch.diag(looped.sum(1) ** -0.5)
        expected = torch.zeros(LENGTH, LENGTH, dtype=torch.float64)
        expected[:length, :length] = scale @ looped @ scale
        torch.testing.assert_close(normal[row].double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(as_matrix(lattice_edges(mask, matches_of(rows)), len(rows), LENGTH), normal)


@pytest.mark.parametrize("seed", range(4))
def test_long_rows_agree_with_dense_tensors(seed):
    matches, layer = random_matches(seed), soft_lexicon()
    mask = torch.arange(LONG) < torch.tensor([[LONG], [LONG]])
    expected = normalise_adjacency(dense_adjacency(mask, matches), mask)
    torch.testing.assert_close(as_matrix(lattice_edges(mask, matches), 2, LONG), expected)
    features, dense = layer(matches, LONG), dense_word_features(layer, matches, LONG)
    torch.testing.assert_close(features, dense, atol=1e-5, rtol=1e-5)
    weights, learned = noise(*features.shape), [layer.word_embeddings.weight, layer.null_word]
    gradients = [torch.autograd.grad((side * weights).sum(), learned) for side in (features, dense)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_sums_are_the_same_bits_in_every_run():
    matches, layer = random_matches(7), soft_lexicon()
    mask = torch.ones(2, LONG, dtype=torch.bool)
    states = noise(2, LONG, 5).requires_grad_()

    def run() -> tuple[torch.Tensor, ...]:
        features, sums = layer(matches, LONG), lattice_edges(mask, matches).sums(states)
        loss = features.square().sum() + sums.square().sum()
        return features, sums, *torch.autograd.grad(loss, [layer.word_embeddings.weight, states])

    assert all(torch.equal(first, second) for first, second in zip(run(), run()))


def test_entries_grow_with_the_text_not_with_its_square():
    def entries(length: int) -> int:
        starts = torch.arange(length - 6)[None]
        matches = LexiconMatches(torch.ones_like(starts), starts, starts + 2 + starts % 5)
        edges = lattice_edges(torch.ones(1, length, dtype=torch.bool), matches).matrix.rows
        return len(covered_characters(matches, length).word) + len(edges)

    assert entries(400) < 2.1 * entries(200) and entries(200) < 2.1 * entries(100)
