"""Optimizer groups: encoder, head and CRF each with their own learning rate."""

from collections.abc import Iterable
from typing import Any

from torch import nn

_CRF_PARAMETERS = {"start_transitions", "end_transitions", "transitions"}


def part_of(model: nn.Module, name: str) -> str:
    """`"crf"`, `"encoder"` or `"head"` for a parameter's name.

    The encoder is the pretrained part: `adner.encoder` of our models that have one, and whatever stands under
    `base_model_prefix` in any other token classifier.
    """
    if name.rsplit(".", 1)[-1] in _CRF_PARAMETERS:
        return "crf"
    prefix = getattr(model, "base_model_prefix", "")
    if prefix == "adner":
        return "encoder" if model.config.use_encoder and name.startswith("adner.encoder.") else "head"
    return "encoder" if prefix and name.startswith(f"{prefix}.") else "head"


def parameter_groups(model: nn.Module, args: Any, decayed: Iterable[str]) -> list[dict[str, Any]]:
    """Groups for the optimizer: part × with or without weight decay.

    Args:
        model: the unwrapped model.
        args: `AdnerTrainingArguments`.
        decayed: names of the parameters that weight decay is for; embeddings are taken out of them, because decay
            would pull the vectors of words that never occur towards zero.
    """
    head = args.learning_rate if args.head_learning_rate is None else args.head_learning_rate
    rates = {
        "encoder": args.learning_rate,
        "head": head,
        "crf": head if args.crf_learning_rate is None else args.crf_learning_rate,
    }
    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    decayed = set(decayed) - embeddings
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((part_of(model, name), name in decayed), []).append(parameter)
    return [
        {"params": parameters, "lr": rates[part], "weight_decay": args.weight_decay if decays else 0.0}
        for (part, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
