"""The Trainer of plain runs."""

from typing import Any

import torch
from transformers import Trainer

from hf_adner.training.parameter_groups import parameter_groups


class AdnerTrainer(Trainer):
    """`Trainer` with one learning rate each for encoder, head and CRF (`AdnerTrainingArguments`).

    Works for our models and for any `AutoModelForTokenClassification`.
    """

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW (or what `args.optim` names) over `parameter_groups`."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = self.get_decay_parameter_names(model)
            groups = parameter_groups(self.accelerator.unwrap_model(model), self.args, decayed)
            optimizer_class, kwargs = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(groups, **kwargs)
        return self.optimizer
