"""Perturbations of a batch's input embeddings along remembered gradients.

A window with n text tokens and the direction d is moved by size x rho x sqrt(n) x d / ||d||, rho being the mean norm of
a character vector when training began. The direction is the gradient of the tagging loss at the window's last visit:
adversarial training in the manner of FGM (Miyato et al. 2017) with a stale gradient, without its second pass.

Fusion with the global direction g (mean by entity type and role, the window itself left out):

* ``token-weight``: a token's part of d is weighed by max(0, 1 + cos(d, g)).
* ``adaptive-direction``: d becomes (1 - w) d + w g, with w = 0.6 (1 - cos) of the window's last two gradients.

Controls:

* ``random-direction``: a random direction for each token, with the norms that the gradient has.
* ``other-window``: the gradient of another window, repeated or cut to the length of this one.
* ``global-direction``: g alone.
* ``prediction-gradient``: the gradient of the log-odds of what the model predicts in the place of the loss's.
* ``shuffled``: the own gradient, but edges and token weights of other tokens of the window.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.guided.global_direction import GlobalDirection, unit
from hf_adner.guided.roles import Roles
from hf_adner.guided.visit_cache import VisitCache

GLOBAL_SHARE = 0.6
"""Largest weight of the global direction in ``adaptive-direction``."""


class Perturbation(NamedTuple):
    """Perturbation of a batch.

    Attributes:
        offset: (batch, text, size) what is added to the embeddings, zero where nothing is.
        is_perturbed: (batch,) bool.
        token_weights: (batch, text) weights of the fusion, 1 without it.
    """

    offset: Tensor
    is_perturbed: Tensor
    token_weights: Tensor


class Perturber:
    """Makes the perturbations of a run; each is a function of seed, epoch, window and what is remembered.

    Args:
        args: share, size, boundary scale, fusion and control.
        cache: what is remembered.
        global_direction: of the run.
        vector_norm: mean norm of a character vector, rho.
    """

    def __init__(
        self,
        args: ExplanationGuidedTrainingArguments,
        cache: VisitCache,
        global_direction: GlobalDirection,
        vector_norm: float,
    ):
        self.args, self.cache, self.global_direction, self.vector_norm = args, cache, global_direction, vector_norm

    def __call__(
        self, windows: Sequence[int], roles: Roles, mask: Tensor, epoch: int, ramp: float
    ) -> Perturbation | None:
        """Return the perturbation of a batch, None if no window is perturbed.

        Args:
            windows: number of the window of each row.
            roles: of their text tokens.
            mask: (batch, text) bool, True on text.
            epoch: from 0.
            ramp: factor of the size, 0 to 1.
        """
        chosen = [
            window in self.cache.remembered
            and draw(self.args.seed, "visit", epoch, window).random() < self.args.stability_share
            for window in windows
        ]
        if not any(chosen) or not ramp:
            return None
        is_perturbed = torch.tensor(chosen, device=mask.device)
        own = self._own(windows, mask)
        directions = unit(self._directions(own, windows, roles, mask, epoch) * mask[..., None])
        orders = self._orders(windows, mask, epoch)
        weights = self._token_weights(directions, own, roles, mask)
        weights = weights.gather(1, orders)
        edges = roles.edges.gather(1, orders)
        directions = directions * (weights * torch.where(edges, self.args.boundary_scale, 1.0))[..., None]
        norms = ramp * self.args.perturbation_size * self.vector_norm * mask.sum(1).sqrt()
        offset = unit(directions) * (norms * is_perturbed)[:, None, None]
        return Perturbation(offset, is_perturbed, weights)

    def _own(self, windows: Sequence[int], mask: Tensor) -> Tensor:
        """Return remembered directions (batch, text, size), zero where there is none."""
        memories = (self.cache.remembered.get(window) for window in windows)
        known = [None if memory is None else memory.direction.read() for memory in memories]
        nothing = next(direction for direction in known if direction is not None)[:0]
        return _padded_to(mask, [nothing if direction is None else direction for direction in known])

    def _directions(self, own: Tensor, windows: Sequence[int], roles: Roles, mask: Tensor, epoch: int) -> Tensor:
        """Return the direction of each window (batch, text, size), before weights."""
        control, args = self.args.explanation_control, self.args
        lengths = mask.sum(1).tolist()
        if control == "random-direction":
            noise = [self._noise(window, length, own.shape[2], epoch) for window, length in zip(windows, lengths)]
            directions = _padded_to(mask, noise)
            return directions * (own.norm(dim=2) / directions.norm(dim=2).clamp(min=1e-20))[..., None]
        if control == "other-window":
            return _padded_to(mask, [self._donor(window, length, epoch) for window, length in zip(windows, lengths)])
        if control == "global-direction" or args.fusion == "adaptive-direction":
            expected = self.global_direction.without(own, roles.cells, mask)
            if control == "global-direction":
                return torch.zeros_like(own) if expected is None else expected
            if expected is not None:
                share = self._global_shares(windows).to(own.device)[:, None, None]
                return (1 - share) * unit(own) + share * expected
        return own

    def _noise(self, window: int, length: int, size: int, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(draw(self.args.seed, "noise", epoch, window).getrandbits(62))
        return torch.randn(length, size, generator=generator)

    def _donor(self, window: int, length: int, epoch: int) -> Tensor:
        others = [other for other in self.cache.remembered if other != window] or [window]
        donor = draw(self.args.seed, "donor", epoch, window).choice(others)
        direction = self.cache.remembered[donor].direction.read()
        return direction[torch.arange(length, device=direction.device) % len(direction)]

    def _global_shares(self, windows: Sequence[int]) -> Tensor:
        """Return the weight of the global direction for each window, (batch,)."""
        memories = (self.cache.remembered.get(window) for window in windows)
        agreements = [float("nan") if memory is None else memory.agreement for memory in memories]
        return GLOBAL_SHARE * (1 - torch.tensor(agreements).nan_to_num(0.0).clamp(min=0))

    def _token_weights(self, directions: Tensor, own: Tensor, roles: Roles, mask: Tensor) -> Tensor:
        """Return the weights (batch, text) of ``token-weight``, 1 for other fusions."""
        nothing = torch.ones(mask.shape, device=mask.device)
        if self.args.fusion != "token-weight" or self.args.explanation_control == "global-direction":
            return nothing
        expected = self.global_direction.without(own, roles.cells, mask)
        if expected is None:
            return nothing
        return (1 + torch.nn.functional.cosine_similarity(directions, expected, dim=2)).clamp(min=0)

    def _orders(self, windows: Sequence[int], mask: Tensor, epoch: int) -> Tensor:
        """Return the token (batch, text) whose edge and weight each token takes: its own, but for ``shuffled``."""
        orders = torch.arange(mask.shape[1]).expand(mask.shape).clone()
        if self.args.explanation_control == "shuffled":
            for row, (window, length) in enumerate(zip(windows, mask.sum(1).tolist())):
                rng = draw(self.args.seed, "order", epoch, window)
                orders[row, :length] = torch.tensor(rng.sample(range(length), length), dtype=torch.long)
        return orders.to(mask.device)


def _padded_to(mask: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Return rows (tokens, size) as one tensor (batch, text, size) with the length of a mask."""
    padded = pad_sequence([row.to(mask.device) for row in rows], batch_first=True)
    return torch.nn.functional.pad(padded, (0, 0, 0, mask.shape[1] - padded.shape[1]))


def draw(seed: int, purpose: str, epoch: int, window: int) -> random.Random:
    """Return the random numbers for one purpose of a window's visit; they are none of the model's."""
    return random.Random(f"{purpose} {seed} {epoch} {window}")
