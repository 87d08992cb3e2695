"""Batches of guided training: rows that know their window, and the edits and replays of arms to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from hf_adner.guided.perturbation import draw

WINDOW = "window"
"""Key of the window numbers in rows and batches."""

MASKED_SHARE = 0.5
"""Share of the edited characters that become [MASK]; the others become characters of the batch."""


class NumberedWindows(Dataset):
    """A training dataset whose rows have their own number as `WINDOW`.

    Args:
        rows: the dataset.
    """

    def __init__(self, rows: Any):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], WINDOW: index}


class NumberedCollator:
    """A collator that passes the rows on without `WINDOW` and adds their numbers to the batch.

    Args:
        collate: collator of rows.
    """

    def __init__(self, collate: Callable[[list[Any]], Mapping[str, Any]]):
        self.collate = collate

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch."""
        plain = [{name: value for name, value in row.items() if name != WINDOW} for row in rows]
        return {**self.collate(plain), WINDOW: torch.tensor([row[WINDOW] for row in rows])}


class ReplayingSampler(Sampler[int]):
    """Sample the rows of each step several times in a row, for free adversarial training (Shafahi et al. 2019).

    An epoch has about as many steps as without replays, so it sees one of `replays` parts of the rows; the next epochs
    see the others.

    Args:
        rows: number of rows.
        step_size: rows of an optimizer step, over all processes.
        replays: steps on the same rows.
        seed: of the order.
    """

    def __init__(self, rows: int, step_size: int, replays: int, seed: int):
        self.rows, self.step_size, self.replays, self.seed = rows, step_size, replays, seed
        self.steps = -(-rows // (step_size * replays))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; called by the data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.replays * self.step_size

    def __iter__(self) -> Iterator[int]:
        turn, part = divmod(self.epoch, self.replays)
        order = draw(self.seed, "replay", turn, self.rows).sample(range(self.rows), self.rows)
        for step in range(part * self.steps, (part + 1) * self.steps):
            places = range(step * self.step_size, (step + 1) * self.step_size)
            yield from [order[place % self.rows] for place in places] * self.replays


def edited_ids(
    input_ids: Tensor, is_context: Tensor, windows: Sequence[int], share: float, seed: int, epoch: int, mask_id: int
) -> Tensor:
    """Return ids (batch, tokens) in which half of the windows have random characters in their context.

    Args:
        input_ids: (batch, tokens).
        is_context: (batch, tokens) bool, text outside entities; only these tokens are replaced.
        windows: number of the window of each row.
        share: share of the context that is replaced.
        seed, epoch: of the run; the edits are a function of them and of the batch.
        mask_id: id of [MASK], or of the unknown token.
    """
    edited, characters = input_ids.clone(), input_ids[is_context].tolist()
    for row, window in enumerate(windows):
        rng, places = draw(seed, "edit", epoch, window), is_context[row].nonzero()[:, 0].tolist()
        if rng.random() < 0.5:
            continue
        for place in rng.sample(places, round(share * len(places))):
            edited[row, place] = mask_id if rng.random() < MASKED_SHARE else rng.choice(characters)
    return edited
