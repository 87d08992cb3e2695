"""The states in front of a tagger's classifier, whatever the tagger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class LastStates:
    """Takes note of what a model's network below the head returns, at every forward pass.

    Args:
        model: an `AdnerForTokenClassification` or any `AutoModelForTokenClassification`.

    Raises:
        ValueError: the model has no network below its head that could be asked.
    """

    def __init__(self, model: Any):
        below = getattr(model, "base_model", None)
        if below is None or below is model:
            raise ValueError(
                f"{type(model).__name__} names no base model (base_model_prefix): its states are unknown"
            )
        self.states: Tensor | None = None
        self._handle = below.register_forward_hook(self._note)

    def _note(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self.states = output[0] if isinstance(output, tuple) else output.last_hidden_state

    def take(self) -> Tensor:
        """(batch, tokens, size) of the last forward pass; they are not kept any longer.

        Raises:
            RuntimeError: there was none since the last call.
        """
        if self.states is None:
            raise RuntimeError("no forward pass since the states were last taken")
        states, self.states = self.states, None
        return states

    def close(self) -> None:
        """Leave the model as it was."""
        self._handle.remove()


@contextmanager
def last_states(model: Any) -> Iterator[LastStates]:
    """`LastStates` that leave the model again."""
    noted = LastStates(model)
    try:
        yield noted
    finally:
        noted.close()


def states_size(model: Any) -> int:
    """Width of the states in front of the classifier.

    Raises:
        ValueError: the configuration tells none.
    """
    config = model.config
    size = getattr(config, "output_size", None) if hasattr(model, "entity_log_posteriors") else None
    size = size or getattr(config, "hidden_size", None)
    if not isinstance(size, int):
        raise ValueError(f"{type(config).__name__} tells no hidden_size")
    return size
