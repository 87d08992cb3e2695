"""The head of an ONNX export given constraints, in PyTorch: the same code as for `AdnerPipeline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from hf_adner.model.conditioned_adner import condition_head
from hf_adner.model.constraints_adner import ConstraintReader, choose_constraints, in_window
from hf_adner.model.crf_adner import AdnerCRF
from hf_adner.model.heads_adner import LabelStates, LikelyEntity
from hf_adner.model.labels_adner import allowed_transitions, bio_labels, entity_types
from hf_adner.model.windows_adner import Window


class ConstrainedDecoder:
    """Emissions and conditions in, entities out.

    Args:
        record: of `decoder.json`.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        labels, crf, is_per_label = record["labels"], record["crf"], record.get("tagging") == "per-label"
        types = entity_types(labels)
        self.config = SimpleNamespace(entity_types=types, use_crf=crf is not None, is_per_label=is_per_label)
        if is_per_label:
            states = record["states"][: len(record["states"]) // len(types)]  # all chains have those of the first type
            own = LabelStates(bio_labels(types[:1]), states)
            self._head = SimpleNamespace(types=types, label_states=own, crf=_crf(states, crf))
        elif crf is None:
            self._head = SimpleNamespace(label_states=LabelStates(labels, labels))
        else:
            states = record["states"]
            self._head = SimpleNamespace(label_states=LabelStates(labels, states), crf=_crf(states, crf))

    def reader(self, choice: Any, tokenizer: Any) -> ConstraintReader | None:
        """Return the constraints of a `constraints` argument; see `choose_constraints`."""
        return choose_constraints(choice, self.config, tokenizer)

    def entities(
        self,
        emissions: np.ndarray,
        lengths: np.ndarray,
        places: Sequence[tuple[str, Window]],
        constraints: ConstraintReader,
    ) -> dict[int, list[LikelyEntity]]:
        """Return the entities of the rows about which the constraints say something, by number of the row.

        Args:
            emissions: (batch, length, states), padded.
            lengths: (batch,) valid positions.
            places: per row its text and window.
            constraints: as of `reader`.
        """
        conditions = [in_window(constraints.conditions(text), window) for text, window in places]
        rows = [number for number, own in enumerate(conditions) if own]
        if not rows:
            return {}
        mask = torch.arange(emissions.shape[1]) < torch.from_numpy(lengths[rows])[:, None]
        values = torch.from_numpy(emissions[rows]).float()
        if not hasattr(self._head, "crf"):
            values = values.log_softmax(-1)
        found: dict[int, list[LikelyEntity]] = {row: [] for row in rows}
        for one in condition_head(self._head, values, mask, [conditions[row] for row in rows]).path_entities():
            found[rows[one.row]].append(one)
        return found


@torch.no_grad()
def _crf(states: Sequence[str], scores: Mapping[str, Sequence]) -> AdnerCRF:
    crf = AdnerCRF(len(states), allowed_transitions(states))
    crf.start_transitions.copy_(torch.tensor(scores["starts"]))
    crf.end_transitions.copy_(torch.tensor(scores["ends"]))
    crf.transitions.copy_(torch.tensor(scores["transitions"]))
    return crf
