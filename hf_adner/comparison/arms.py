"""Arms of a comparison: the same run under other rules, each a named set of overrides of the training arguments.

Whether explanations help is decided by the controls: "explanation-guided" is a claim only if `full` beats plain
training, other regularisers (`r-drop`, `augmentation-only`) and the same method with explanations that are wrong
(`shuffled`, `other-sentence`, `random`).

Model families of a comparison: our architectures, and the stock token classifier of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedModel

from hf_adner.guided.arguments import FAST
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import bio_labels
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
    """One way of training.

    Attributes:
        name: as in tables and file names.
        summary: what it does, in a line.
        overrides: fields of the training arguments that it sets; all other fields are the comparison's.
    """

    name: str
    summary: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as a part of a file name."""
        return re.sub(r"[^A-Za-z0-9.=]+", "-", self.name)

    def apply(self, args: Arguments, **settings: Any) -> Arguments:
        """The training arguments of a run of this arm.

        Args:
            args: dataclass of the comparison's training arguments; stays as it is.
            settings: further fields, such as `seed` and `output_dir`.

        Raises:
            ValueError: an override of a field that the arguments do not have.
        """
        unknown = sorted(set(self.overrides) - {one.name for one in fields(args)})
        if unknown:
            raise ValueError(f"arm {self.name!r} sets {unknown}, which {type(args).__name__} does not have")
        return replace(args, **self.overrides, **settings)


_WITHOUT_TERMS = {"stability_weight": 0.0, "boundary_weight": 0.0, "consistency_weight": 0.0}
_WITHOUT_VIEWS = {**_WITHOUT_TERMS, "view_ner_weight": 0.0, "r_drop_weight": 0.0, "boundary_smoothing": 0.0}

_ARMS = (
    Arm("plain", "the tagging loss alone: no views, no explanations", _WITHOUT_VIEWS),
    Arm(
        "augmentation-only",
        "the tagging loss on texts and on views edited at random, no other term",
        {**_WITHOUT_TERMS, "explanation_control": "random"},
    ),
    Arm(
        "r-drop", "two dropout masks and the KL between them (Wu et al. 2021)", {**_WITHOUT_VIEWS, "r_drop_weight": 1.0}
    ),
    Arm(
        "boundary-smoothing",
        "part of the boundary probability goes to the neighbours (Zhu & Li 2022)",
        {**_WITHOUT_VIEWS, "boundary_smoothing": 0.1},
    ),
    Arm("full", "stability, boundary and consistency, guided by fused explanations"),
    Arm("full-without-stability", "full less the stability term", {"stability_weight": 0.0}),
    Arm("full-without-boundary", "full less the boundary term", {"boundary_weight": 0.0}),
    Arm("full-without-consistency", "full less the consistency term", {"consistency_weight": 0.0}),
    Arm("local-only", "full, guided by the local explanations alone", {"fusion": "local"}),
    Arm("global-only", "full, guided by the global table alone", {"fusion": "global"}),
    Arm("equal-weights", "full, local and global explanations mixed half and half", {"fusion": "equal"}),
    Arm("shuffled", "full, every explanation shuffled over its characters", {"explanation_control": "shuffled"}),
    Arm(
        "other-sentence",
        "full, guided by the explanation of another sentence",
        {"explanation_control": "other-sentence"},
    ),
    Arm("random", "full, random numbers in place of explanations", {"explanation_control": "random"}),
    Arm("fast", "full with fewer views and explanations", FAST),
)

ARMS: dict[str, Arm] = {arm.name: arm for arm in _ARMS}
"""The named arms."""

CORE = ("plain", "augmentation-only", "r-drop", "full", "shuffled", "random")
"""Arms without which the claim cannot be judged."""

CONTROL_ARMS = ("augmentation-only", "r-drop", "shuffled", "other-sentence", "random")
"""Arms that the guided one has to beat besides the plain one."""


def make_arm(spec: str) -> Arm:
    """An arm by its name, or a variant of one.

    Args:
        spec: a name of `ARMS`, or the arm with further overrides, ``full:view_share=0.3,saliency_interval=4``.

    Raises:
        ValueError: an unknown name, or overrides that are not of the form field=value.
    """
    name, colon, overrides = spec.partition(":")
    if name not in ARMS:
        raise ValueError(f"no arm {name[:30]!r}; there are {', '.join(ARMS)}")
    if not colon:
        return ARMS[name]
    base = ARMS[name]
    return Arm(spec, f"{base.summary}; {overrides}", {**base.overrides, **parse_overrides(overrides)})


def overridden(spec: str) -> set[str]:
    """The training arguments that an arm sets; none for an arm that is not known here.

    Args:
        spec: as for `make_arm`.
    """
    try:
        return set(make_arm(spec).overrides)
    except ValueError:
        return set()


def make_arms(specs: Iterable[str]) -> list[Arm]:
    """The arms of several specifications, which must differ.

    Raises:
        ValueError: as `make_arm`, no arm, or one that is named twice.
    """
    arms = [make_arm(spec) for spec in specs]
    if not arms or len({arm.slug for arm in arms}) < len(arms):
        raise ValueError(f"a comparison needs arms of different names, found {[arm.name for arm in arms]}")
    return arms


STOCK = "stock"
"""The encoder's own `AutoModelForTokenClassification`: one linear layer and a softmax."""

MODEL_FAMILIES = (STOCK, *ARCHITECTURES)


def family_arguments(args: ModelArguments, family: str) -> ModelArguments:
    """The model arguments of a family; the lexicon stays only where the network reads it.

    Raises:
        ValueError: an unknown family.
    """
    if family not in MODEL_FAMILIES:
        raise ValueError(f"no model {family[:30]!r}; there are {', '.join(MODEL_FAMILIES)}")
    switches = ARCHITECTURES.get(family, {})
    reads_lexicon = switches.get("use_dual_stream") or switches.get("use_lexicon_edges")
    architecture = "bert-softmax" if family == STOCK else family
    return replace(args, architecture=architecture, lexicon=args.lexicon if reads_lexicon else None)


def family_tokenizer(args: ModelArguments, family: str, train: Dataset) -> AdnerTokenizer:
    """The tokenizer of a family: one token per character for the stock classifier too, so that all see the same."""
    return build_tokenizer(family_arguments(args, family), train)


def family_model(args: ModelArguments, family: str, tokenizer: AdnerTokenizer, types: Sequence[str]) -> PreTrainedModel:
    """A new model of a family.

    Raises:
        ValueError: an unknown family, more encoder layers than there are, or what `AdnerConfig` refuses.
    """
    if family == STOCK:
        return _stock_model(args, tokenizer, types)
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
    return AutoModelForTokenClassification.from_pretrained(args.encoder, config=config, dtype=torch.float32)
