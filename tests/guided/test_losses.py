"""Loss terms: tagging loss and boundary smoothing, boundary, consistency and stability terms, and divergences."""

import itertools
import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical
from torch.distributions import kl_divergence as reference
from torch.nn.functional import cross_entropy

from hf_adner.explain.targets import LabelTable
from hf_adner.guided.losses import (
    bernoulli_divergence,
    boundary_marginals,
    boundary_moves,
    consistency_loss,
    edge_mass,
    entropy_share,
    invariance_loss,
    jensen_shannon,
    kl_divergence,
    log_odds,
    margin_loss,
    r_drop_loss,
    smoothing_loss,
    stability_loss,
    tagging_loss,
    unseen_weight,
)

from .guided import setting

LABELS = ["O", "B-D", "I-D", "B-S", "I-S"]
TEXT = torch.ones(1, 3, dtype=torch.bool)


def enumerated(paths: dict[tuple[int, ...], float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token marginals, start and end probabilities of a distribution over BIO paths."""
    marginals, starts, ends = torch.zeros(3, 5), torch.zeros(3), torch.zeros(3)
    for path, weight in paths.items():
        for place, label in enumerate(path):
            marginals[place, label] += weight
            starts[place] += weight * (label in (1, 3))
            following = path[place + 1] if place < 2 else 0
            ends[place] += weight * (label > 0 and following not in (2, 4))
    return marginals, starts, ends


def valid_paths() -> dict[tuple[int, ...], float]:
    torch.manual_seed(0)
    allowed = [
        path
        for path in itertools.product(range(5), repeat=3)
        if all(after not in (2, 4) or before in (after - 1, after) for before, after in zip((0, *path), path))
    ]
    weights = torch.rand(len(allowed)).double()
    return dict(zip(allowed, (weights / weights.sum()).tolist()))


def test_the_marginals_of_a_chain_are_exact():
    marginals, starts, ends = enumerated(valid_paths())
    found = boundary_marginals(marginals[None].log(), TEXT, LabelTable(LABELS, is_chain=True))
    assert torch.allclose(found.starts[0], starts, atol=1e-6) and torch.allclose(found.ends[0], ends, atol=1e-6)


def test_independent_tokens_are_taken_as_independent():
    probs = torch.tensor([[[0.1, 0.9, 0, 0, 0], [0.2, 0, 0.8, 0, 0], [0.7, 0, 0.3, 0, 0]]])
    found = boundary_marginals(probs.clamp(min=1e-9).log(), TEXT, LabelTable(LABELS))
    assert found.starts[0].tolist() == pytest.approx([0.9, 0, 0], abs=1e-6)
    assert found.ends[0].tolist() == pytest.approx([0.9 * 0.2, 0.8 * 0.7, 0.3], abs=1e-6)
    outside = boundary_marginals(probs.log(), torch.tensor([[False, True, False]]), LabelTable(LABELS))
    assert outside.starts[0].tolist() == [0, 0, 0] and outside.ends[0, [0, 2]].tolist() == [0, 0]


def margin(marginals: list[float], place: int, rivals: list[int], weight: float = 1.0) -> float:
    allowed = torch.zeros(1, len(marginals), dtype=torch.bool)
    allowed[0, rivals] = True
    return margin_loss(torch.tensor([marginals]), torch.tensor([place]), allowed, torch.tensor([weight])).item()


def test_a_clear_boundary_costs_next_to_nothing_and_a_missed_one_much():
    everywhere = range(5)
    clear = margin([0.0, 0.0, 1.0, 0.0, 0.0], 2, [0, 1, 3, 4])
    missed = margin([0.0, 1.0, 0.0, 0.0, 0.0], 2, [0, 1, 3, 4])
    assert clear < 1e-9 < 20 < missed
    for value in (0.0, 0.3, 1.0):  # a model that says nowhere, or everywhere
        same = margin([value] * 5, 2, [one for one in everywhere if one != 2])
        assert same == pytest.approx(math.log1p(math.exp(2)), abs=1e-4)


def test_only_near_rivals_count_and_gold_boundaries_are_none():
    far = margin([0.0, 0, 1, 0, 0, 0.999, 0], 2, [0, 1, 3, 4, 5, 6])
    assert far < 1e-9
    assert margin([0.0, 0, 1, 1, 0], 2, [0, 1, 4]) < 1e-9 < 1 < margin([0.0, 0, 1, 1, 0], 2, [0, 1, 3, 4])
    assert margin([1.0], 0, []) == 0
    assert margin([0.0, 0.5, 0.0], 1, [0, 2], weight=2.0) == 2 * margin([0.0, 0.5, 0.0], 1, [0, 2])


def test_the_margin_has_a_gradient_where_the_model_is_surely_wrong():
    marginals = torch.tensor([[0.0, 1.0, 0.0]], requires_grad=True)
    rivals = torch.tensor([[True, True, False]])
    margin_loss(marginals, torch.tensor([2]), rivals, torch.ones(1)).sum().backward()
    assert marginals.grad[0, 2] < 0 < marginals.grad[0, 1]


def test_invariance_is_zero_for_equal_marginals_and_teaches_the_view_alone():
    counted = torch.tensor([[True, True, False], [False] * 3])
    text = torch.rand(2, 3, requires_grad=True)
    view = torch.rand(2, 3, requires_grad=True)
    assert invariance_loss(text, text, counted).abs().max() < 1e-6
    value = invariance_loss(text, view, counted)
    value.sum().backward()
    assert value[0] > 0 and value[1] == 0 and text.grad is None
    assert view.grad[0, :2].abs().min() > 0 and view.grad[0, 2] == view.grad[1].abs().max() == 0


def test_edges_that_the_explanation_does_not_see_weigh_more():
    shares = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 3, requires_grad=True)
    mass = edge_mass(shares, (torch.tensor([1, -1, 3]), torch.tensor([2, 0, 4])))
    assert mass.tolist() == pytest.approx([0.5, 0.1, 0.4])
    weight = unseen_weight(mass, 0.5)
    assert weight.tolist() == pytest.approx([1, 1.8, 1.2]) and not weight.requires_grad
    assert unseen_weight(torch.tensor([0.0, 9.0]), 0.0).tolist() == [2, 1]


BEGINS, OUTSIDE = {1: 2, 3: 4}, 0


@pytest.mark.parametrize("architecture", ["bert-crf", "bert-softmax", "bilstm-crf"])
def test_it_is_the_models_own_loss(architecture):
    given = setting(architecture, documents=3)
    batch = given.tokenizer(list(given.documents["text"]), padding=True, return_tensors="pt")
    labels = torch.full_like(batch["input_ids"], -100)
    for row, ids in enumerate(given.rows["labels"]):
        labels[row, : len(ids)] = torch.tensor(ids)
    model = given.model.eval()
    outputs = model(**batch)
    head = model.head if model.config.use_crf else None
    losses = tagging_loss(head, outputs, outputs.logits, labels, batch["attention_mask"])
    assert losses.shape == (3,)
    assert losses.sum().item() / (labels >= 0).sum().item() == pytest.approx(model(**batch, labels=labels).loss.item())
    losses.sum().backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "head" in name)


def spelled(labels: list[int]) -> list[list[int]]:
    """Label sequences with one boundary of one entity moved by one, from the definition."""
    spans, start = [], None
    for place, label in enumerate([*labels, 0]):
        if start is not None and (label != labels[start] + 1):
            spans.append((start, place, labels[start]))
            start = None
        if label in BEGINS:
            start = place
    moved = []
    for index, (start, end, begin) in enumerate(spans):
        others = [span for number, span in enumerate(spans) if number != index]
        for one in ((start - 1, end), (start + 1, end), (start, end - 1), (start, end + 1)):
            free = all(one[1] <= s or e <= one[0] for s, e, _ in others)
            if 0 <= one[0] < one[1] <= len(labels) and free:
                moved.append(written([*others, (*one, begin)], len(labels)))
    return moved


def written(spans, length) -> list[int]:
    labels = [OUTSIDE] * length
    for start, end, begin in spans:
        labels[start] = begin
        labels[start + 1 : end] = [BEGINS[begin]] * (end - start - 1)
    return labels


@pytest.mark.parametrize("gold", [[0, 1, 2, 2, 0, 0], [1, 3, 0, 1, 2, 4 - 1], [0, 0, 1, 0, 3, 0], [1, 2, 2, 2, 2, 2]])
def test_smoothing_is_the_cross_entropy_to_the_mixture_of_moved_sequences(gold):
    torch.manual_seed(1)
    log_probs = torch.randn(1, 6, 5).log_softmax(-1)

    def cross_entropy(labels):
        return -sum(log_probs[0, place, label] for place, label in enumerate(labels))

    share = 0.2
    sequences = spelled(gold)
    entities = sum(label in BEGINS for label in gold)
    assert 0 < len(sequences) <= 4 * entities
    # every span gives share / 4 to each of its neighbours that exist, independently of the other spans
    expected = sum(share / 4 * (cross_entropy(moved) - cross_entropy(gold)) for moved in sequences)
    moves = torch.tensor(boundary_moves([gold], BEGINS, OUTSIDE))
    found = smoothing_loss(log_probs, torch.tensor([gold]), moves, share)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_smoothing_stays_in_its_row_and_its_text():
    gold = [[-100, 1, -100], [0, 0, 0], [0, 1, 0]]
    moves = boundary_moves(gold, BEGINS, OUTSIDE)
    assert {row for row, _, _ in moves} == {2}
    found = smoothing_loss(torch.zeros(3, 3, 5).log_softmax(-1), torch.tensor(gold), torch.tensor(moves), 0.1)
    assert found.tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    nothing = torch.zeros(0, 3, dtype=torch.long)
    assert smoothing_loss(torch.zeros(1, 2, 5), torch.zeros(1, 2, dtype=torch.long), nothing, 0.1).tolist() == [0]


def test_kl_is_that_of_categorical_distributions():
    torch.manual_seed(0)
    first, second = torch.randn(3, 4, 5).log_softmax(-1), torch.randn(3, 4, 5).log_softmax(-1)
    expected = reference(Categorical(logits=first), Categorical(logits=second))
    assert torch.allclose(kl_divergence(first, second), expected, atol=1e-6)
    assert torch.equal(kl_divergence(first, first), torch.zeros(3, 4))


def test_what_a_crf_forbids_does_not_blow_up():
    sure = torch.tensor([0.0, -1e6]).requires_grad_()
    spread = torch.tensor([0.5, 0.5]).log()
    assert kl_divergence(sure, spread).item() == pytest.approx(math.log(2), abs=1e-5)
    value = kl_divergence(spread, sure)
    assert 0 < value < 10
    value.backward()
    assert sure.grad.isfinite().all()


def test_bernoulli_is_that_of_torch_and_finite_at_the_ends():
    p, q = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.7, 0.3, 0.5])
    assert torch.allclose(bernoulli_divergence(p, q), reference(Bernoulli(p), Bernoulli(q)), atol=1e-4)
    ends = torch.tensor([0.0, 1.0]).requires_grad_()
    value = bernoulli_divergence(torch.tensor([1.0, 0.0]), ends)
    value.sum().backward()
    assert (value > 10).all() and ends.grad.isfinite().all() and ends.grad.abs().min() > 0
    assert torch.allclose(log_odds(torch.tensor([0.0, 0.5, 1.0])), torch.tensor([-13.8, 0.0, 13.8]), atol=0.1)


def test_jensen_shannon_lies_between_zero_and_one():
    mask = torch.tensor([[True, True, True, False]] * 3)
    first = torch.tensor([[0.0, 1.0, 2.0, 9.0], [0.0, -40.0, -40.0, 0.0], [1.0, 2.0, 3.0, 0.0]])
    second = torch.tensor([[5.0, 6.0, 7.0, -9.0], [-40.0, 0.0, -40.0, 0.0], [3.0, 2.0, 1.0, 7.0]])
    found = jensen_shannon(first, second, mask)
    assert found[0] == pytest.approx(0, abs=1e-6)  # a constant does not count, nor does what the mask leaves out
    assert found[1] == pytest.approx(1, abs=1e-5)
    assert 0 < found[2] < 1 and torch.equal(found[2], jensen_shannon(second, first, mask)[2])
    p, q = first[2, :3].softmax(0), second[2, :3].softmax(0)
    middle = Categorical((p + q) / 2)
    expected = (reference(Categorical(p), middle) + reference(Categorical(q), middle)) / 2 / math.log(2)
    assert found[2] == pytest.approx(expected.item(), abs=1e-6)


def test_an_empty_or_single_mask_gives_zero_and_a_finite_gradient():
    first = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[False] * 3, [True, False, False]])
    value = jensen_shannon(first, torch.randn(2, 3), mask)
    value.sum().backward()
    assert value.tolist() == [0, 0] and first.grad.abs().max() == 0


GOLD = torch.tensor([[0, 1, 2, 0], [0, 0, 1, 0]])


def log_probs(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(2, 4, 3).log_softmax(-1)


def test_equal_marginals_cost_nothing_and_others_something():
    counted = torch.ones(2, 4, dtype=torch.bool)
    assert consistency_loss(log_probs(0), log_probs(0), counted).tolist() == [0, 0]
    assert (consistency_loss(log_probs(0), log_probs(1), counted) > 0.1).all()
    assert (r_drop_loss(log_probs(0), log_probs(1), counted) > 0.1).all()
    assert r_drop_loss(log_probs(0), log_probs(0), counted).tolist() == [0, 0]


def test_tokens_that_do_not_count_do_not():
    counted = torch.tensor([[True, False, False, False], [False] * 4])
    student = log_probs(1).requires_grad_()
    value = consistency_loss(log_probs(0), student, counted)
    value.sum().backward()
    assert value[1] == 0 and student.grad[0, 0].abs().max() > 0
    assert student.grad[0, 1:].abs().max() == student.grad[1].abs().max() == 0


def test_only_the_view_learns_from_consistency_and_both_sides_from_r_drop():
    counted = torch.ones(2, 4, dtype=torch.bool)
    for loss, teacher_learns in ((consistency_loss, False), (r_drop_loss, True)):
        teacher, student = log_probs(0).requires_grad_(), log_probs(1).requires_grad_()
        loss(teacher, student, counted).sum().backward()
        assert (teacher.grad is not None) == teacher_learns and student.grad.abs().max() > 0


def test_r_drop_is_symmetric():
    counted = torch.ones(2, 4, dtype=torch.bool)
    there, back = (r_drop_loss(*pair, counted) for pair in ((log_probs(0), log_probs(1)), (log_probs(1), log_probs(0))))
    assert torch.allclose(there, back)


def test_a_model_that_says_o_everywhere_pays_for_it_in_the_tagging_loss_of_both():
    """It is consistent; the views' own tagging loss is what it cannot escape."""

    def total(texts, views):
        counted = texts.argmax(-1) == GOLD
        tagging = sum(cross_entropy(one.flatten(0, 1), GOLD.flatten()) for one in (texts, views))
        return consistency_loss(texts, views, counted).sum() / 8 + tagging

    outside = torch.tensor([8.0, 0, 0]).expand(2, 4, 3).log_softmax(-1)
    right = (8.0 * torch.nn.functional.one_hot(GOLD, 3)).log_softmax(-1)
    counted = outside.argmax(-1) == GOLD
    assert consistency_loss(outside, outside, counted).sum() == 0
    assert total(outside, outside) > 10 * total(right, right)


MASK = torch.tensor([[True] * 6, [True] * 5 + [False]])
TEACHER = torch.tensor([[0.5, 0.3, 0.05, 0.05, 0.05, 0.05], [0.05, 0.05, 0.1, 0.1, 0.7, 0.0]])


def test_the_teachers_own_map_costs_nothing():
    assert stability_loss(TEACHER.clamp(min=1e-9).log() + 2.0, TEACHER, MASK).abs().max() < 1e-5


def test_only_the_characters_of_the_mask_are_compared():
    explained = TEACHER.clamp(min=1e-9).log()
    explained[0, 3:] = 7.0
    shared = MASK.clone()
    shared[0, 3:] = False
    assert stability_loss(explained, TEACHER, shared).abs().max() < 1e-5
    assert stability_loss(explained, TEACHER, MASK)[0] > 0.1
    assert stability_loss(explained, TEACHER, torch.zeros_like(MASK)).tolist() == [0, 0]


@pytest.mark.parametrize("constant", [torch.zeros(6), torch.tensor([4.0, 2.0, 1.0, 0.0, 0.0, 0.0])])
def test_one_map_for_all_entities_does_not_win(constant):
    """Neither an even map nor a template by place; the best of them is the mean of the teachers."""
    best = TEACHER.mean(0).clamp(min=1e-9).log().expand(2, 6)
    assert stability_loss(constant.expand(2, 6), TEACHER, MASK).mean() > 0.1
    assert stability_loss(best, TEACHER, MASK).mean() > 0.1


def test_the_teacher_cannot_be_moved():
    teacher = TEACHER.clone().requires_grad_()
    explained = torch.zeros(2, 6, requires_grad=True)
    stability_loss(explained, teacher, MASK).sum().backward()
    assert teacher.grad is None and explained.grad.abs().max() > 0


def test_descending_on_it_finds_the_teacher():
    explained = torch.zeros(2, 6, requires_grad=True)
    optimizer = torch.optim.Adam([explained], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        stability_loss(explained, TEACHER, MASK).sum().backward()
        optimizer.step()
    found = explained.masked_fill(~MASK, -1e9).softmax(-1)
    assert torch.allclose(found, TEACHER, atol=0.02)


def test_entropy_is_one_for_even_maps_and_zero_for_one_character():
    maps = torch.stack([torch.zeros(6), torch.tensor([0.0, 90, 0, 0, 0, 0])])
    assert entropy_share(maps, MASK).tolist() == pytest.approx([1, 0], abs=1e-5)
