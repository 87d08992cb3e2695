"""Averages of the weights over the last steps or epochs, as a `Trainer` that evaluates and saves the average.

Two kinds, both by `torch.optim.swa_utils.AveragedModel`: an exponential moving average over optimizer steps (Polyak and
Juditsky 1992; as used by Tarvainen and Valpola 2017, eq. 2), and the mean of the weights at the ends of the last epochs
(stochastic weight averaging, Izmailov et al. 2018, eq. 2, with the learning rate as it is scheduled).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import Trainer, TrainerCallback

RAW_WEIGHTS_FILE = "raw_weights.safetensors"
"""File of a checkpoint with the weights that training goes on with, where `model.safetensors` holds their average."""

_COUNT = "averaged_count"


class AveragedTrainer(Trainer):
    """A `Trainer` with the arguments `ema_decay` and `swa_epochs`; with neither it is the stock one.

    Training itself is not changed: the average stands beside it. Evaluation, prediction and every saved model are of
    the average, and so is the model at the end. A checkpoint also has the weights to go on with.
    """

    _average: AveragedModel | None = None
    _shows_average = False

    def __init__(self, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        if averaging_settings(self.args):
            self.add_callback(_AveragingCallback(self))

    def train(self, *positional: Any, **options: Any) -> Any:
        """Train as `Trainer` does; afterwards the model has the averaged weights."""
        self._average = None  # that of an earlier run
        return super().train(*positional, **options)

    def evaluate(self, *positional: Any, **options: Any) -> dict[str, float]:
        """Evaluate the averaged weights as `Trainer` does."""
        with self._averaged():
            return super().evaluate(*positional, **options)

    def predict(self, *positional: Any, **options: Any) -> Any:
        """Predict with the averaged weights as `Trainer` does."""
        with self._averaged():
            return super().predict(*positional, **options)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the averaged weights as `Trainer` saves a model."""
        with self._averaged():
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._has_average and self.args.should_save and not self.args.save_only_model:
            folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            weights = {name: value.detach().contiguous() for name, value in self._own_model().named_parameters()}
            save_file({**weights, _COUNT: self._average.n_averaged}, folder / RAW_WEIGHTS_FILE)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint) / RAW_WEIGHTS_FILE
        if model is None and averaging_settings(self.args) and path.is_file():
            own, raw = self._own_model(), load_file(path)
            self.begin_average()  # a copy of the averaged weights, which are in the model now
            self._average.n_averaged.fill_(raw.pop(_COUNT).item())
            with torch.no_grad():
                for name, parameter in own.named_parameters():
                    parameter.copy_(raw[name])

    def _own_model(self) -> torch.nn.Module:
        return self.accelerator.unwrap_model(self.model)

    @property
    def _has_average(self) -> bool:
        return self._average is not None and bool(self._average.n_averaged)

    def begin_average(self) -> None:
        """Begin an average without any weights in it, unless one was loaded."""
        if self._average is None:
            decay = self.args.ema_decay
            by = None if decay is None else get_ema_multi_avg_fn(decay)
            self._average = AveragedModel(self._own_model(), multi_avg_fn=by)

    def update_average(self) -> None:
        """Take the weights of now into the average."""
        self._average.update_parameters(self._own_model())

    def end_average(self) -> None:
        """Leave the averaged weights in the model, unless the best checkpoint was loaded into it."""
        is_best = self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None
        if self._has_average and not is_best:
            self._exchange()
        self._average = None

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the averaged weights, if there are any, into the model for the time of the block."""
        if not self._has_average or self._shows_average:
            yield
            return
        self._exchange()
        self._shows_average = True
        try:
            yield
        finally:
            self._shows_average = False
            self._exchange()

    def _exchange(self) -> None:
        """Exchange the tensors of model and average; the parameters, which the optimizer has, stay the same objects."""
        for own, averaged in zip(self._own_model().parameters(), self._average.module.parameters(), strict=True):
            own.data, averaged.data = averaged.data, own.data


class _AveragingCallback(TrainerCallback):
    """Tells the trainer when a step or an epoch is over."""

    def __init__(self, trainer: AveragedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the average."""
        self.trainer.begin_average()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the weights into a moving average."""
        if args.ema_decay is not None:
            self.trainer.update_average()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the weights into the mean over the last epochs."""
        if args.swa_epochs is not None and _epoch(state) > state.num_train_epochs - args.swa_epochs:
            self.trainer.update_average()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the averaged weights in the model."""
        self.trainer.end_average()


def _epoch(state: Any) -> int:
    """Return the number of the epoch that ends, from 1; `state.epoch` is its sum of shares, off by rounding."""
    return math.ceil(state.epoch - 1e-6)


def averaging_settings(args: Any) -> dict[str, Any]:
    """Return the settings of averaging that are on; stock `TrainingArguments` have none."""
    settings = {name: getattr(args, name, None) for name in ("ema_decay", "swa_epochs")}
    return {name: value for name, value in settings.items() if value is not None}
