"""The head of an ONNX export in PyTorch, for what the NumPy heads do not answer: the model's own head, rebuilt.

So candidates and entities given constraints come from the same code as those of `AdnerPipeline`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_adner.model.conditioned_adner import condition_head
from hf_adner.model.constraints_adner import ConstraintReader, choose_constraints, in_window
from hf_adner.model.heads_adner import CrfHead, LikelyEntity, SoftmaxHead
from hf_adner.model.labels_adner import closes_entity, entity_types
from hf_adner.model.per_label_adner import PerLabelHead
from hf_adner.model.windows_adner import Window


class ExportedHead:
    """Emissions in, entities given constraints and likely entities out.

    Args:
        record: of `decoder.json`.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        labels, states, crf = record["labels"], record["states"], record["crf"]
        self.config = SimpleNamespace(
            labels=labels,
            states=states,
            entity_types=entity_types(labels),
            use_crf=crf is not None,
            is_per_label=record.get("tagging") == "per-label",
            tag_scheme="bioes" if any(map(closes_entity, states)) else "bio",
            output_size=1,  # the layer before the emissions is in the graph
        )
        with torch.random.fork_rng(devices=()):  # its weights are drawn, then replaced or left unused
            self._head = _new_head(self.config).eval().requires_grad_(False)
        if crf is not None:
            for name in ("start", "end"):
                getattr(self._head.crf, f"{name}_transitions").copy_(torch.tensor(crf[f"{name}s"]))
            self._head.crf.transitions.copy_(torch.tensor(crf["transitions"]))

    def reader(self, choice: Any, tokenizer: Any) -> ConstraintReader | None:
        """Return the constraints of a `constraints` argument; see `choose_constraints`."""
        return choose_constraints(choice, self.config, tokenizer)

    def likely_entities(self, emissions: np.ndarray, lengths: np.ndarray, least: float) -> list[list[LikelyEntity]]:
        """Return per row every entity, on the best path or off it, whose posterior exceeds `least`.

        Args:
            emissions: (batch, length, states), padded.
            lengths: (batch,) valid positions.
            least: in (0, 1).
        """
        found = self._head.likely_entities(*self._inputs(emissions, lengths), least)
        return list(_by_row(found, range(len(lengths))).values())

    def conditioned(
        self,
        emissions: np.ndarray,
        lengths: np.ndarray,
        places: Sequence[tuple[str, Window]],
        constraints: ConstraintReader,
        least: float | None = None,
    ) -> dict[int, tuple[list[LikelyEntity], list[LikelyEntity]]]:
        """Return the entities of the rows about which the constraints say something, by number of the row.

        Args:
            emissions, lengths: as for `likely_entities`.
            places: per row its text and window.
            constraints: as of `reader`.
            least: posterior that likely entities exceed; None: they are not asked for.

        Returns:
            Row -> entities of the best path given the constraints, and likely ones given them.
        """
        conditions = [in_window(constraints.conditions(text), window) for text, window in places]
        rows = [number for number, own in enumerate(conditions) if own]
        if not rows:
            return {}
        inputs = self._inputs(emissions[rows], lengths[rows])
        given = condition_head(self._head, *inputs, [conditions[row] for row in rows])
        path = _by_row(given.path_entities(), rows)
        likely = _by_row([] if least is None else given.likely_entities(least), rows)
        return {row: (path[row], likely[row]) for row in rows}

    def _inputs(self, emissions: np.ndarray, lengths: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        values = torch.from_numpy(emissions).float()
        mask = torch.arange(emissions.shape[1]) < torch.from_numpy(lengths)[:, None]
        return (values if self.config.use_crf else values.log_softmax(-1)), mask


def _new_head(config: Any) -> nn.Module:
    if config.is_per_label:
        return PerLabelHead(config)
    return CrfHead(config) if config.use_crf else SoftmaxHead(config)


def _by_row(found: Iterable[LikelyEntity], rows: Iterable[int]) -> dict[int, list[LikelyEntity]]:
    """Sort entities by row; `rows` has the name of each row."""
    names = list(rows)
    sorted_entities: dict[int, list[LikelyEntity]] = {name: [] for name in names}
    for one in found:
        sorted_entities[names[one.row]].append(one)
    return sorted_entities
