"""The tagging loss by row against the models' own, and boundary smoothing against its definition."""

import pytest
import torch

from hf_adner.guided.losses import boundary_moves, smoothing_loss, tagging_loss

from ..guided import setting

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
