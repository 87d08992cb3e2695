"""Roles of tokens, the global direction, and perturbations with their fusions and controls."""

import numpy as np
import pytest
import torch

from hf_adner.guided.arguments import CONTROLS, ExplanationGuidedTrainingArguments
from hf_adner.guided.global_direction import GlobalDirection, unit
from hf_adner.guided.perturbation import Perturber
from hf_adner.guided.roles import AFTER, BEFORE, FIRST, LAST, MIDDLE, ROLES, RoleFinder
from hf_adner.guided.visit_cache import Visit, VisitCache, stored

LABELS = ["O", "B-Disease", "I-Disease", "B-Symptom", "I-Symptom"]
SIZE = 24
LENGTHS = (14, 10, 12)


def roles_of(tags: list[str]) -> tuple[list[bool], list[tuple[int, int]]]:
    ids = torch.tensor([[LABELS.index(tag) if tag else -100 for tag in tags]])
    found = RoleFinder(LABELS)(ids, torch.ones_like(ids, dtype=torch.bool))
    return found.edges[0].tolist(), [divmod(cell, ROLES) for cell in found.cells[0].tolist()]


def test_edges_are_both_tokens_at_each_boundary():
    edges, cells = roles_of(["O", "O", "B-Disease", "I-Disease", "I-Disease", "O", "O", "O", "B-Symptom"])
    assert edges == [False, True, True, False, True, True, False, True, True]
    assert cells == [
        (1, BEFORE), (1, BEFORE), (1, FIRST), (1, MIDDLE), (1, LAST), (1, AFTER), (1, AFTER), (2, BEFORE), (2, FIRST),
    ]  # fmt: skip


def test_adjacent_entities_and_unobserved_tokens():
    edges, cells = roles_of(["B-Disease", "B-Disease", "I-Symptom", "", "O"])
    assert edges == [True, True, True, True, False]
    assert cells == [(1, FIRST), (1, FIRST), (2, FIRST), (2, AFTER), (2, AFTER)]
    assert roles_of(["O", "O"]) == ([False, False], [(0, 0), (0, 0)])


def test_roles_need_an_entity_type():
    with pytest.raises(ValueError, match="BIO labels of an entity type"):
        RoleFinder(["O"])


@pytest.fixture
def remembered():
    """Roles, mask and cache of three windows after two epochs."""
    draw = torch.Generator().manual_seed(1)
    tags = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    for row, (start, label) in enumerate([(3, 1), (5, 1), (0, 3)]):
        tags[row, start : start + 3] = torch.tensor([label, label + 1, label + 1])
    tags[0, 10] = 3
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    finder = RoleFinder(LABELS)
    roles, cache = finder(tags, mask), VisitCache()
    for _ in range(2):
        for window, length in enumerate(LENGTHS):
            direction = stored(torch.randn(length, SIZE, generator=draw), "half")
            cache.add(window, Visit(direction, roles.cells[window, :length].short(), None))
        cache.advance()
    table = GlobalDirection(finder.cells)
    table.update(cache.remembered)
    return roles, mask, cache, table


def perturbed(remembered, windows=(0, 1, 2), epoch=2, ramp=1.0, **options):
    roles, mask, cache, table = remembered
    given = {"stability_share": 1.0, "boundary_scale": 1.0, "fusion": "none", "use_cpu": True, **options}
    args = ExplanationGuidedTrainingArguments("unused", **given)
    rows = list(windows)
    width = mask[rows].sum(1).max()
    part = type(roles)(roles.edges[rows, :width], roles.cells[rows, :width])
    return Perturber(args, cache, table, 2.0)(rows, part, mask[rows, :width], epoch, ramp)


@pytest.mark.parametrize("fusion", ["none", "token-weight", "adaptive-direction"])
@pytest.mark.parametrize("control", CONTROLS)
def test_norms_are_those_of_the_size_and_padding_stays(remembered, control, fusion):
    offset = perturbed(remembered, ramp=0.5, explanation_control=control, fusion=fusion, boundary_scale=3.0).offset
    expected = 0.5 * 0.05 * 2.0 * np.sqrt(LENGTHS)
    assert offset.flatten(1).norm(dim=1).numpy() == pytest.approx(expected, rel=1e-4)
    assert not offset[~remembered[1]].any()


@pytest.mark.parametrize("control", CONTROLS)
def test_a_perturbation_does_not_depend_on_the_batch(remembered, control):
    options = {"explanation_control": control, "fusion": "token-weight", "boundary_scale": 2.0}
    together = perturbed(remembered, **options).offset
    for window, length in enumerate(LENGTHS):
        alone = perturbed(remembered, windows=[window], **options).offset
        assert alone[0] == pytest.approx(together[window, :length], abs=1e-6)


def test_the_own_gradient_is_the_direction(remembered):
    offset = perturbed(remembered).offset
    for window, length in enumerate(LENGTHS):
        expected = unit(remembered[2].remembered[window].direction.read())
        assert unit(offset[window, :length]) == pytest.approx(expected, abs=1e-5)


def test_edges_are_longer_by_the_scale(remembered):
    plain, scaled = (
        perturbed(remembered).offset.norm(dim=2),
        perturbed(remembered, boundary_scale=2.0).offset.norm(dim=2),
    )
    roles, mask = remembered[:2]
    for row in range(len(LENGTHS)):
        ratios = (scaled / plain)[row]
        at_edges, elsewhere = ratios[roles.edges[row]], ratios[mask[row] & ~roles.edges[row]]
        assert at_edges == pytest.approx(at_edges[:1].expand_as(at_edges), rel=1e-4)
        if len(elsewhere):
            assert at_edges[0] / elsewhere[0] == pytest.approx(2.0, rel=1e-4)


def test_random_directions_keep_the_norm_of_each_token(remembered):
    own, random = perturbed(remembered).offset, perturbed(remembered, explanation_control="random-direction").offset
    assert random.norm(dim=2) == pytest.approx(own.norm(dim=2), abs=1e-5)
    cosines = torch.nn.functional.cosine_similarity(own, random, dim=2)[remembered[1]]
    assert cosines.abs().mean() < 0.4
    again = perturbed(remembered, explanation_control="random-direction").offset
    other_epoch = perturbed(remembered, epoch=3, explanation_control="random-direction").offset
    assert torch.equal(random, again) and not torch.equal(random, other_epoch)


def test_another_window_lends_its_gradient(remembered):
    offset = perturbed(remembered, windows=[1], explanation_control="other-window").offset[0]
    lent = [unit(remembered[2].remembered[donor].direction.read()[: LENGTHS[1]]) for donor in (0, 2)]
    assert any(torch.allclose(unit(offset), one, atol=1e-4) for one in lent)


def test_shuffled_moves_edges_but_not_directions(remembered):
    own = perturbed(remembered, boundary_scale=4.0).offset
    shuffled = perturbed(remembered, boundary_scale=4.0, explanation_control="shuffled").offset
    mask = remembered[1]
    cosines = torch.nn.functional.cosine_similarity(own, shuffled, dim=2)[mask]
    assert cosines == pytest.approx(torch.ones_like(cosines), abs=1e-4)
    assert not torch.allclose(own.norm(dim=2)[mask], shuffled.norm(dim=2)[mask], rtol=0.05)


def test_the_share_of_perturbed_windows():
    cache, finder = VisitCache(), RoleFinder(LABELS)
    ids, mask = torch.zeros(300, 4, dtype=torch.long), torch.ones(300, 4, dtype=torch.bool)
    roles = finder(ids, mask)
    for window in range(300):
        cache.add(window, Visit(stored(torch.ones(4, SIZE), "half"), roles.cells[window].short(), None))
    cache.advance()
    table = GlobalDirection(finder.cells)
    args = ExplanationGuidedTrainingArguments("unused", fusion="none", use_cpu=True)
    assert Perturber(args, VisitCache(), table, 1.0)(range(300), roles, mask, 1, 1.0) is None
    first = Perturber(args, cache, table, 1.0)(range(300), roles, mask, 1, 1.0).is_perturbed
    second = Perturber(args, cache, table, 1.0)(range(300), roles, mask, 2, 1.0).is_perturbed
    assert 0.62 < first.float().mean() < 0.78 and not torch.equal(first, second)


def test_the_global_direction_is_the_mean_of_the_others(remembered):
    roles, mask, cache, table = remembered
    directions = torch.zeros(len(LENGTHS), max(LENGTHS), SIZE)
    for window, length in enumerate(LENGTHS):
        directions[window, :length] = unit(cache.remembered[window].direction.read())
    found = table.without(directions, roles.cells, mask)
    for window, length in enumerate(LENGTHS):
        expected = torch.zeros(length, SIZE)
        for token in range(length):
            same = mask & (roles.cells == roles.cells[window, token])
            same[window] = False
            if same.any():
                expected[token] = directions[same].mean(0)
        assert found[window, :length] == pytest.approx(unit(expected), abs=1e-4)


def test_token_weights_are_one_plus_the_cosine(remembered):
    roles, mask, cache, table = remembered
    weights = perturbed(remembered, fusion="token-weight").token_weights
    own = perturbed(remembered).offset
    expected = table.without(own, roles.cells, mask)
    cosines = torch.nn.functional.cosine_similarity(own, expected, dim=2)
    assert weights[mask] == pytest.approx((1 + cosines).clamp(min=0)[mask], abs=1e-3)
