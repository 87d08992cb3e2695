"""Arms and model families of a comparison.

An arm is a named set of overrides of the training arguments. The controls decide whether explanations help: the claim
"explanation-guided" holds only if `full` beats plain training, other regularisers (`fgm`, `r-drop`,
`augmentation-only`) and the same method with wrong explanations (`random-direction`, `other-window`, `shuffled`).

A model family is one of our architectures or the stock token classifier of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedModel

from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.encoders_adner import limit_tokenizer
from hf_adner.model.labels_adner import bio_labels
from hf_adner.model.loading_adner import load_complete
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.arguments import ModelArguments
from hf_adner.training.preparation import (
    build_model,
    build_tokenizer,
    parse_overrides,
    pretrained_config,
    random_config,
)

Arguments = TypeVar("Arguments")


@dataclass(frozen=True)
class Arm:
    """Way of training, as overrides of the training arguments that all runs share.

    Attributes:
        name: name in tables and file names.
        summary: description in one line.
        overrides: fields of the training arguments that the arm sets.
    """

    name: str
    summary: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """Name with all characters replaced that do not belong in a file name."""
        return re.sub(r"[^A-Za-z0-9.=]+", "-", self.name)

    def apply(self, args: Arguments, **settings: Any) -> Arguments:
        """Return a copy of the training arguments for a run of this arm.

        Args:
            args: dataclass of the training arguments.
            settings: further fields to set, such as `seed` and `output_dir`.

        Raises:
            ValueError: an override of a field that the arguments do not have.
        """
        unknown = sorted(set(self.overrides) - {field.name for field in fields(args)})
        if unknown:
            raise ValueError(f"arm {self.name!r} sets {unknown}, which {type(args).__name__} does not have")
        return replace(args, **self.overrides, **settings)


_PLAIN = {
    "stability_share": 0.0, "consistency_weight": 0.0, "adversarial": "none", "r_drop_weight": 0.0, "edited_share": 0.0,
}  # fmt: skip
_STABILITY = {"boundary_scale": 1.0, "consistency_weight": 0.0, "fusion": "none"}

_ARMS = (
    Arm("plain", "tagging loss only", _PLAIN),
    Arm("full", "perturbation along the gradient of the last visit, longer at edges, consistency, fusion"),
    Arm("stability-only", "perturbation along the gradient of the last visit, nothing else", _STABILITY),
    Arm("full-without-stability", "consistency only: no perturbation", {"stability_share": 0.0}),
    Arm("full-without-boundary", "full, equally long at edges", {"boundary_scale": 1.0}),
    Arm("full-without-consistency", "full without the consistency term", {"consistency_weight": 0.0}),
    Arm("full-without-fusion", "full without the global direction", {"fusion": "none"}),
    Arm("adaptive-direction", "full, the global direction mixed in where gradients turn",
        {"fusion": "adaptive-direction"}),
    Arm("random-direction", "stability-only, random directions of the same norm per token",
        {**_STABILITY, "explanation_control": "random-direction"}),
    Arm("other-window", "stability-only, the gradient of another window",
        {**_STABILITY, "explanation_control": "other-window"}),
    Arm("global-direction", "stability-only, the mean gradient of the token's type and role",
        {**_STABILITY, "explanation_control": "global-direction"}),
    Arm("prediction-gradient", "stability-only, the gradient of the predicted entities' log-odds",
        {**_STABILITY, "explanation_control": "prediction-gradient"}),
    Arm("shuffled", "full, edges and token weights shuffled within the window", {"explanation_control": "shuffled"}),
    Arm("fgm", "adversarial training with a second pass (Miyato et al. 2017)", {**_PLAIN, "adversarial": "fgm"}),
    Arm("free-adversarial", "adversarial training with replayed batches (Shafahi et al. 2019)",
        {**_PLAIN, "adversarial": "free"}),
    Arm("r-drop", "KL divergence between two dropout masks (Wu et al. 2021)", {**_PLAIN, "r_drop_weight": 1.0}),
    Arm("augmentation-only", "random characters in the context, in half of the visits",
        {**_PLAIN, "edited_share": 0.15}),
)  # fmt: skip

ARMS: dict[str, Arm] = {arm.name: arm for arm in _ARMS}
"""All arms by name."""

CORE = ("plain", "full", "random-direction", "other-window", "fgm", "r-drop")
"""Arms that a test of the claim needs at least."""

CONTROL_ARMS = (
    "random-direction",
    "other-window",
    "global-direction",
    "shuffled",
    "fgm",
    "free-adversarial",
    "r-drop",
    "augmentation-only",
)
"""Arms that the candidate has to beat in addition to the baseline."""


def make_arm(spec: str) -> Arm:
    """Return an arm by name, or a variant of one.

    Args:
        spec: name in `ARMS`, optionally with further overrides: ``full:perturbation_size=0.1,boundary_scale=3``.

    Raises:
        ValueError: an unknown name, or overrides that are not of the form field=value.
    """
    name, colon, overrides = spec.partition(":")
    if name not in ARMS:
        raise ValueError(f"unknown arm {name[:30]!r}, expected one of {', '.join(ARMS)}")
    if not colon:
        return ARMS[name]
    base = ARMS[name]
    # HfArgumentParser replaces the names of types by the types
    texts = {one.name for one in fields(ExplanationGuidedTrainingArguments) if one.type in ("str", str)}
    parsed = parse_overrides(overrides)
    own = {key: "none" if value is None and key in texts else value for key, value in parsed.items()}
    return Arm(spec, f"{base.summary}; {overrides}", {**base.overrides, **own})


def overridden_arguments(spec: str) -> set[str]:
    """Return the names of the training arguments that an arm sets; the empty set for an unknown arm.

    Args:
        spec: as for `make_arm`.
    """
    try:
        return set(make_arm(spec).overrides)
    except ValueError:
        return set()


def make_arms(specs: Iterable[str]) -> list[Arm]:
    """Return the arms of several specifications.

    Raises:
        ValueError: as `make_arm`; no arm, or an arm that is named twice.
    """
    arms = [make_arm(spec) for spec in specs]
    if not arms or len({arm.slug for arm in arms}) < len(arms):
        raise ValueError(f"a comparison needs arms with different names, found {[arm.name for arm in arms]}")
    return arms


STOCK = "stock"
"""Name of the family of `AutoModelForTokenClassification`: the encoder with one linear layer and a softmax."""

MODEL_FAMILIES = (STOCK, *ARCHITECTURES)


def family_arguments(args: ModelArguments, family: str) -> ModelArguments:
    """Return the model arguments of a family: no lexicon if it does not read it, flat tagging if it has no CRF.

    Raises:
        ValueError: an unknown family.
    """
    if family not in MODEL_FAMILIES:
        raise ValueError(f"unknown model family {family[:30]!r}, expected one of {', '.join(MODEL_FAMILIES)}")
    switches = ARCHITECTURES.get(family, {})
    reads_lexicon = switches.get("use_dual_stream") or switches.get("use_lexicon_edges")
    architecture = "bert-softmax" if family == STOCK else family
    return replace(
        args,
        architecture=architecture,
        lexicon=args.lexicon if reads_lexicon else None,
        tagging=args.tagging if switches.get("use_crf") else "flat",
    )


def family_tokenizer(args: ModelArguments, family: str, train: Dataset) -> AdnerTokenizer:
    """Build the tokenizer of a family; the stock classifier too gets one token per character, for equal inputs."""
    return build_tokenizer(family_arguments(args, family), train)


def family_model(args: ModelArguments, family: str, tokenizer: AdnerTokenizer, types: Sequence[str]) -> PreTrainedModel:
    """Build a new model of a family.

    Raises:
        ValueError: an unknown family, too many encoder layers, or a configuration that `AdnerConfig` rejects.
    """
    if family == STOCK:
        model = _stock_model(args, tokenizer, types)
        limit_tokenizer(tokenizer, model)
        return model
    return build_model(family_arguments(args, family), tokenizer, types)


def _stock_model(args: ModelArguments, tokenizer: AdnerTokenizer, types: Sequence[str]) -> PreTrainedModel:
    names = bio_labels(types)
    labels = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }
    if args.encoder is None:
        config = AutoConfig.for_model(**random_config(args), vocab_size=len(tokenizer), **labels)
        return AutoModelForTokenClassification.from_config(config)
    config = pretrained_config(args)
    config.update(labels)
    return load_complete(
        AutoModelForTokenClassification, args.encoder, new_head=True, config=config, dtype=torch.float32
    )
