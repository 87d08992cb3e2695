"""A learned correction of empirical Bayes: a small network that weighs local and global, trained for faithfulness."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hf_adner.explain.cells import ROLES, log_attributions, simplex
from hf_adner.explain.fusion import SMALLEST_VARIANCE, EmpiricalBayes, Fusion, FusionInputs

GATE_FILE = "learned_gate.safetensors"
OPTIONAL = ("counts", "entropy", "boundary_sensitivity")
_FEATURES = 3 + len(OPTIONAL) + len(ROLES)


class LearnedGate(Fusion):
    """w = sigmoid(logit of the weight by empirical Bayes + a network of the features): untrained it is that weight.

    Features of each character: the logarithms of the local and the table's variance, the Jensen-Shannon divergence of
    the two maps, the logarithm of the table's observations, the entropy of the label marginals, the entity's boundary
    sensitivity, and the character's role. Those that training did not have are never read.

    Args:
        tau2: see `EmpiricalBayes`.
        size: hidden units.

    Raises:
        ValueError: as `EmpiricalBayes`, or no hidden unit.
    """

    name = "learned-gate"

    def __init__(self, tau2: Sequence[float] | None = None, size: int = 16):
        super().__init__()
        if size < 1:
            raise ValueError(f"size must be 1 or more, found {size!r}")
        self.start = EmpiricalBayes(tau2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Linear(_FEATURES, size), nn.Tanh(), nn.Linear(size, 1))
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)
        self.register_buffer("reads", torch.zeros(len(OPTIONAL), dtype=torch.bool))

    def _weight(self, inputs: FusionInputs) -> Tensor:
        weight = self.start._weight(inputs).clamp(1e-6, 1 - 1e-6)
        return torch.sigmoid(weight.logit() + self.network(self._features(inputs)).squeeze(-1))

    def _features(self, inputs: FusionInputs) -> Tensor:
        """(batch, length, features)."""
        shape = inputs.local.shape
        own = inputs.local_variance.clamp(min=SMALLEST_VARIANCE).log()[:, None]
        prior = inputs.prior_variance.clamp(min=SMALLEST_VARIANCE).log()
        columns = [own.expand(shape), prior, _divergence(inputs)[:, None].expand(shape)]
        columns += [self._optional(inputs, number, name) for number, name in enumerate(OPTIONAL)]
        roles = nn.functional.one_hot(inputs.roles, len(ROLES)).float()
        return torch.cat([torch.stack(columns, -1).float(), roles], -1)

    def _optional(self, inputs: FusionInputs, number: int, name: str) -> Tensor:
        values = getattr(inputs, name)
        if not self.reads[number]:
            return torch.zeros_like(inputs.local)
        if values is None:
            raise ValueError(f"the learned gate was trained with {name}, which is missing")
        values = values.log1p() if name == "counts" else values
        return (values[:, None] if values.dim() == 1 else values).expand_as(inputs.local)

    def fit(
        self,
        inputs: FusionInputs,
        effects: Tensor,
        *,
        steps: int = 200,
        learning_rate: float = 0.01,
        weight_decay: float = 0.01,
    ) -> list[float]:
        """Train for faithfulness alone: the fused shares should be those of what hiding each character really does.

        Take entities that neither the model nor the table was trained on.

        Args:
            inputs: of these entities, all at once.
            effects: (batch, length) measured change of the target when the character is hidden, as occlusion gives
                it; only magnitudes count. Entities without any effect teach nothing.
            steps: of AdamW, each over all entities.
            learning_rate, weight_decay: of AdamW.

        Returns:
            Mean Kullback-Leibler divergence of the fused shares from those of the effects in nats, before each step
            and after the last.

        Raises:
            ValueError: effects of another shape, or none at all.
        """
        if effects.shape != inputs.local.shape:
            raise ValueError(f"effects have the shape {tuple(effects.shape)}, maps {tuple(inputs.local.shape)}")
        has_effect = (effects * inputs.mask).abs().sum(-1) > 0
        if not has_effect.any():
            raise ValueError("none of the entities depends on a character: there is nothing to learn")
        self.reads.copy_(torch.tensor([getattr(inputs, name) is not None for name in OPTIONAL]))
        inputs = FusionInputs(*(None if part is None else part[has_effect] for part in inputs))
        wanted = simplex(log_attributions(effects[has_effect], inputs.mask), inputs.mask)
        with torch.enable_grad():
            return self._descend(inputs, wanted, steps, learning_rate, weight_decay)

    def _descend(
        self, inputs: FusionInputs, wanted: Tensor, steps: int, learning_rate: float, weight_decay: float
    ) -> list[float]:
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=learning_rate, weight_decay=weight_decay)
        losses = []
        for _ in range(steps):
            loss = _divergence_from(wanted, self(inputs).scores)
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return [*losses, float(_divergence_from(wanted, self(inputs).scores))]

    # ---- files ------------------------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `learned_gate.safetensors` into a folder, which is made if it is not there."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), Path(folder) / GATE_FILE, metadata={"size": str(self.network[0].out_features)})

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> LearnedGate:
        """Read what `save_pretrained` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or no learned gate.
        """
        path = Path(folder) / GATE_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {GATE_FILE}")
        try:
            with safe_open(path, "pt") as file:
                gate = cls(size=int(file.metadata()["size"]))
                gate.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is no learned gate: {type(error).__name__}") from error
        return gate


def _divergence(inputs: FusionInputs) -> Tensor:
    """Jensen-Shannon divergence of local and global shares in nats, (batch,)."""
    local, prior = simplex(inputs.local, inputs.mask), simplex(inputs.prior, inputs.mask)
    middle = (local + prior) / 2
    return (torch.xlogy(local, local) / 2 + torch.xlogy(prior, prior) / 2 - torch.xlogy(middle, middle)).sum(-1)


def _divergence_from(wanted: Tensor, scores: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence KL(wanted || scores) of (batch, length) shares."""
    logs = scores.clamp(min=torch.finfo(scores.dtype).tiny).log()
    return (torch.xlogy(wanted, wanted) - wanted * logs).sum(-1).mean()
