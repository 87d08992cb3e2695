"""Text positions: where the text stands, against plain loops."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.model.positions_adner import count_positions, locate_text

ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=4)


def masks(rows) -> torch.Tensor:
    """An attention mask (batch, tokens) of texts with two special tokens each, padded left or right."""
    width = max(length for length, _ in rows) + 3
    lines = []
    for length, is_left in rows:
        ones, zeros = [1] * (length + 2), [0] * (width - length - 2)
        lines.append(zeros + ones if is_left else ones + zeros)
    return torch.tensor(lines)


def text_tokens(row: list[int]) -> list[int]:
    """Positions of the text's tokens: the attended ones but for the first and the last."""
    return [position for position, attended in enumerate(row) if attended][1:-1]


@given(ROWS)
def test_text_is_found_and_left_aligned(rows):
    mask = masks(rows)
    positions = locate_text(mask)
    for row, line in enumerate(mask.tolist()):
        text = text_tokens(line)
        assert positions.mask[row].tolist() == [index < len(text) for index in range(mask.shape[1] - 2)]
        assert positions.index[row, : len(text)].tolist() == text
        assert positions.before[row].tolist() == [sum(token < edge for token in text) for edge in range(len(line) + 1)]


@given(ROWS)
def test_put_writes_text_over_the_background_and_nothing_else(rows):
    mask = masks(rows)
    positions = locate_text(mask)
    values = torch.arange(mask.numel() * 2.0).view(*mask.shape, 2)  # (batch, tokens, 2)
    spread = positions.put(positions.take(values) + 1000, -values)
    for row, line in enumerate(mask.tolist()):
        text = text_tokens(line)
        for token in range(len(line)):
            expected = values[row, token] + 1000 if token in text else -values[row, token]
            assert torch.equal(spread[row, token], expected)
    flat = positions.put(positions.take(values[..., 0]), torch.zeros(mask.shape))
    assert torch.equal(flat, values[..., 0] * (spread[..., 1] > 1000))


def test_a_gap_in_the_attention_is_no_text():
    positions = locate_text(torch.tensor([[1, 1, 0, 1, 1]]))
    assert positions.index[0, :2].tolist() == [1, 3] and positions.mask[0].tolist() == [True, True, False]


def test_sequences_without_room_for_text():
    for width in (1, 2, 3):
        positions = locate_text(torch.zeros(2, width, dtype=torch.long))
        assert not positions.mask.any()
        assert not locate_text(torch.ones(2, min(width, 2), dtype=torch.long)).mask.any()


@given(ROWS, st.integers(0, 2))
def test_positions_count_from_the_first_attended_token(rows, first):
    mask = masks(rows)
    ids = count_positions(mask, first)
    for line, numbers in zip(mask.tolist(), ids.tolist()):
        attended = [number for number, is_attended in zip(numbers, line) if is_attended]
        assert attended == list(range(first, first + len(attended)))
        assert min(numbers) >= first and max(numbers) < first + len(attended)
