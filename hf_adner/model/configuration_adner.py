"""Configuration of the M-DSCMG tagger, its baselines and its ablations."""

import logging
import os
import re
from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .calibration_adner import Calibration
from .labels_adner import OUTSIDE, TAGGINGS, bio_labels, entity_types, state_names
from .loading_adner import CONFIG_FILE, CheckpointError, named_errors
from .remote_code_adner import RegisteredPipelines, auto_map, custom_pipelines, save_code

logger = logging.getLogger(__name__)

FORMAT_VERSION = "1.2"
"""Checkpoint format, major.minor: another major version cannot be read, additions of a newer minor are ignored.

1.1 added script normalisation and `calibration`, 1.2 `tagging`.
"""

_BASE = {
    "use_encoder": True,
    "use_bilstm": False,
    "use_dual_stream": False,
    "use_self_attention": False,
    "use_graph": False,
    "use_lexicon_edges": False,
    "use_crf": True,
}
_M_DSCMG = {
    **_BASE,
    "use_dual_stream": True,
    "use_self_attention": True,
    "use_graph": True,
    "use_lexicon_edges": True,
}

ARCHITECTURES: dict[str, dict[str, bool]] = {
    "m-dscmg": _M_DSCMG,
    "m-dscmg-no-dual-stream": {**_M_DSCMG, "use_dual_stream": False, "use_lexicon_edges": False},
    "m-dscmg-no-attention": {**_M_DSCMG, "use_self_attention": False},
    "m-dscmg-no-graph": {**_M_DSCMG, "use_graph": False, "use_lexicon_edges": False},
    "bert-crf": _BASE,
    "bert-bilstm-crf": {**_BASE, "use_bilstm": True},
    "bert-att-crf": {**_BASE, "use_self_attention": True},
    "bert-softmax": {**_BASE, "use_crf": False},
    "bilstm-crf": {**_BASE, "use_encoder": False, "use_bilstm": True},
}
"""Switches of each architecture; a switch that is set in the configuration overrides them."""

_CHOICES = {
    "architecture": set(ARCHITECTURES),
    "tag_scheme": {"bio", "bioes"},
    "tagging": set(TAGGINGS),
    "lexicon_pooling": {"bmes", "mean"},
    "stream_fusion": {"gate", "concat"},
    "word_layer": {"lstm", "transformer"},
}

_LEAST = {
    "num_stream_heads": 1,
    "graph_rounds": 1,
    "lexicon_size": 0,
    "lexicon_embedding_size": 1,
    "character_vocab_size": 0,
    "character_embedding_size": 1,
}
"""Smallest value of each size."""
_MOST = 2**31 - 1
"""Largest value of each size, far beyond any memory."""


@strict
class AdnerConfig(PreTrainedConfig):
    """Configuration of `AdnerModel` and `AdnerForTokenClassification`.

    Args:
        encoder_config: configuration (or its dict) of any Hugging Face encoder; `None` for `bilstm-crf`.
        architecture: a name in `ARCHITECTURES`; sets every `use_*` switch that is `None`.
        use_encoder, use_bilstm, use_dual_stream, use_self_attention, use_graph, use_lexicon_edges, use_crf:
            the switches. `use_dual_stream` is the word stream with cross-stream attention (M-DSCMG eqs. 3–7),
            `use_self_attention` eqs. 8–11, `use_graph` the GGNN (eqs. 12–15), `use_lexicon_edges` its word edges.
        tag_scheme: states of the CRF, `"bioes"` (default) or `"bio"`; the labels are BIO in both cases.
        tagging: `"flat"` (default), one label sequence per text, so that entities are disjoint; or `"per-label"`, one
            for each entity type, so that entities of different types may overlap. The latter needs a CRF.
        lexicon_size: rows of the word embedding, padding (row 0) included; 0 without a lexicon.
        lexicon_embedding_size: width of a word vector.
        lexicon_hash: hash of the word list the model was trained with (checked against the tokenizer's).
        script_hash: hash of the map of Traditional, variant and full-width characters that the tokenizer reads the text
            with (checked likewise); `None` without one, as in checkpoints of format 1.0.
        lexicon_pooling: `"bmes"` (SoftLexicon sets, frequency-weighted) or `"mean"` (the literal eq. 2).
        stream_size: width of both streams; `None` takes the encoder's width.
        stream_fusion: eq. 7 as a `"gate"`, or as `"concat"` with a projection.
        word_layer: context layer of the word stream, `"lstm"` or `"transformer"`.
        num_stream_heads: heads of the cross-stream and the self-attention.
        graph_rounds: T of eq. 15.
        bilstm_size: width of the BiLSTM's output (both directions together).
        head_dropout: dropout before each layer after the encoder, in [0, 1).
        character_vocab_size, character_embedding_size: the embedding of architectures without an encoder.
        calibration: maps from posteriors to scores and thresholds, as `adner calibrate` writes them (`Calibration`);
            `None` for an uncalibrated model, whose scores are its posteriors.
        format_version: format of the loaded checkpoint; set to `FORMAT_VERSION`, in which it will be saved.

    Raises:
        ValueError: a checkpoint format that this code cannot read, an unknown choice, a size out of range, labels that
            are not the BIO labels of some types with O first, contradictory switches, or a calibration out of range.
    """

    model_type = "adner"
    pipeline_is_registered: ClassVar[bool] = False
    """Whether this process has registered the pipeline task, so that it needs no remote code; the package sets it."""
    sub_configs_defaults: ClassVar[dict] = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert", optional=True)
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "emissions",
        "text_mask",
        "start_probs",
        "end_probs",
        "chain_log_probs",
        "hidden_states",
        "attentions",
    ]

    encoder_config: PreTrainedConfig | dict | None = None
    architecture: str = "m-dscmg"
    use_encoder: bool | None = None
    use_bilstm: bool | None = None
    use_dual_stream: bool | None = None
    use_self_attention: bool | None = None
    use_graph: bool | None = None
    use_lexicon_edges: bool | None = None
    use_crf: bool | None = None
    tag_scheme: str = "bioes"
    tagging: str = "flat"
    lexicon_size: int = 0
    lexicon_embedding_size: int = 50
    lexicon_hash: str | None = None
    script_hash: str | None = None
    lexicon_pooling: str = "bmes"
    stream_size: int | None = 256
    stream_fusion: str = "gate"
    word_layer: str = "lstm"
    num_stream_heads: int = 4
    graph_rounds: int = 2
    bilstm_size: int = 256
    head_dropout: float | int = 0.1
    character_vocab_size: int = 0
    character_embedding_size: int = 128
    pad_token_id: int | None = 0
    calibration: dict | None = None
    format_version: str = FORMAT_VERSION

    def __post_init__(self, **kwargs: Any):
        _check_format(self.format_version)
        self.format_version = FORMAT_VERSION
        self._check_choices()
        for switch, value in ARCHITECTURES[self.architecture].items():
            if getattr(self, switch) is None:
                setattr(self, switch, value)
        if self.id2label is None:
            self.id2label = {index: label for label, index in (self.label2id or {OUTSIDE: 0}).items()}
        if self.label2id is None:
            self.label2id = {label: int(index) for index, label in self.id2label.items()}
        super().__post_init__(**kwargs)
        if hasattr(self, "custom_pipelines"):
            self._mark_pipelines(self.custom_pipelines)
        if self.use_encoder and self.encoder_config is None:
            self.encoder_config = AutoConfig.for_model("bert")
        if not self.use_encoder:
            self.encoder_config = None
        self.check()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """Load like the base class; an error names `config.json`."""
        with named_errors(f"{pretrained_model_name_or_path}: {CONFIG_FILE}"):
            kwargs.setdefault("name_or_path", str(pretrained_model_name_or_path))
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Create like the base class, for `AutoConfig` too; an error names `config.json`."""
        with named_errors(f"{kwargs.get('name_or_path') or 'the configuration'}: {CONFIG_FILE}"):
            if config_dict.get("model_type", cls.model_type) != cls.model_type:
                raise ValueError(f"model_type is {config_dict['model_type']!r}, expected {cls.model_type!r}")
            return super().from_dict(config_dict, **kwargs)

    def _mark_pipelines(self, pipelines: dict[str, Any]) -> None:
        self.custom_pipelines = RegisteredPipelines(pipelines) if self.pipeline_is_registered else pipelines

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save like the base class, with the checkpoint's code and its `auto_map` and `custom_pipelines` entries.

        Models and pipelines save their configuration through this method too.
        """
        os.makedirs(save_directory, exist_ok=True)
        save_code(save_directory)
        self.auto_map = {**auto_map(), **(getattr(self, "auto_map", None) or {})}
        self._mark_pipelines(custom_pipelines())
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def check(self) -> None:
        """Raise the `ValueError` of the class. `from_pretrained` sets its overrides after construction: check again."""
        self._check_choices()
        self._check_labels()
        self._check_sizes()
        Calibration.from_config(self.calibration, self.entity_types)
        if self.is_per_label and not self.use_crf:
            raise ValueError(
                "tagging='per-label' needs a CRF (use_crf=True): the softmax head gives each token one label"
            )
        if self.is_per_label and not self.entity_types:
            raise ValueError("tagging='per-label' needs an entity type, id2label has none")
        if self.use_lexicon_edges and not self.use_graph:
            raise ValueError("use_lexicon_edges=True needs use_graph=True: the edges belong to the graph")
        widths = [self.fused_size] * bool(self.use_dual_stream) + [self.output_size] * bool(self.use_self_attention)
        for width in widths:
            if width % self.num_stream_heads:
                raise ValueError(f"num_stream_heads={self.num_stream_heads} does not divide the width {width}")

    def _check_choices(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; expected one of {sorted(choices)}")

    def _check_labels(self) -> None:
        ids = sorted(self.id2label)
        if not ids or ids != list(range(len(ids))):
            raise ValueError(f"id2label must number its labels from 0 without a gap, found {ids[:10]}")
        if not all(isinstance(label, str) for label in self.labels):
            raise ValueError(f"id2label must map ids to strings, found {self.labels[:10]}")
        if self.labels[0] != OUTSIDE:
            raise ValueError(f"label 0 must be {OUTSIDE!r}, found {self.labels[0]!r}")
        expected = bio_labels(self.entity_types)
        if sorted(self.labels) != sorted(expected):
            raise ValueError(f"id2label must contain each of {expected} once, found {self.labels}")
        if self.label2id != {label: index for index, label in self.id2label.items()}:
            raise ValueError("label2id is not the inverse of id2label")

    def _check_sizes(self) -> None:
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) <= _MOST:
                raise ValueError(f"{name} must be {least} to {_MOST}, found {getattr(self, name)}")
        if self.stream_size is not None and not 1 <= self.stream_size <= _MOST:
            raise ValueError(f"stream_size must be 1 to {_MOST} (or null), found {self.stream_size}")
        if not 2 <= self.bilstm_size <= _MOST or self.bilstm_size % 2:
            raise ValueError(f"bilstm_size must be even and 2 to {_MOST}, found {self.bilstm_size}")
        for name in ("num_hidden_layers", "num_attention_heads"):  # a negative one would build an encoder
            if (getattr(self.encoder_config, name, None) or 0) < 0:
                raise ValueError(f"{name} of encoder_config is {getattr(self.encoder_config, name)}")
        if not isinstance(self.dtype, str | torch.dtype | None):
            raise ValueError(f"dtype must be a type of torch, such as 'float32', found {self.dtype!r}")
        if not 0 <= self.head_dropout < 1:
            raise ValueError(f"head_dropout must be in [0, 1), found {self.head_dropout}")

    @property
    def labels(self) -> list[str]:
        """BIO labels in id order."""
        return [self.id2label[index] for index in range(len(self.id2label))]

    @property
    def entity_types(self) -> list[str]:
        """Entity types in label order."""
        return entity_types(self.labels)

    @property
    def states(self) -> list[str]:
        """Names of the CRF's states (the labels if there is no CRF); per-label those of each type's chain in turn."""
        if self.is_per_label:
            return [state for name in self.entity_types for state in state_names([name], self.tag_scheme)]
        return state_names(self.entity_types, self.tag_scheme) if self.use_crf else self.labels

    @property
    def is_per_label(self) -> bool:
        """Whether each entity type has a label sequence of its own."""
        return self.tagging == "per-label"

    @property
    def needs_lexicon(self) -> bool:
        """Whether the network reads the `lexicon_*` inputs."""
        return bool(self.use_dual_stream or self.use_lexicon_edges)

    @property
    def hidden_size(self) -> int:
        """Width of the encoder's (or character embedding's) output."""
        return self.character_embedding_size if self.encoder_config is None else self.encoder_config.hidden_size

    @property
    def fused_size(self) -> int:
        """Width of the dual stream's output, `hidden_size` if there is no dual stream."""
        return self.stream_size or self.hidden_size if self.use_dual_stream else self.hidden_size

    @property
    def output_size(self) -> int:
        """Width of `AdnerModel`'s last hidden state."""
        return self.bilstm_size if self.use_bilstm else self.fused_size

    @property
    def vocab_size(self) -> int:
        """Rows of the character embedding, the encoder's or our own."""
        return self.character_vocab_size if self.encoder_config is None else self.encoder_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        if self.encoder_config is None:
            self.character_vocab_size = value
        else:
            self.encoder_config.vocab_size = value


def _check_format(version: str) -> None:
    """Refuse a checkpoint of another major version, warn about a newer minor one."""
    if not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", str(version)):
        raise ValueError(f"format_version must be a version such as {FORMAT_VERSION!r}, found {version!r}")
    major, minor = (int(number) for number in str(version).split("."))
    known_major, known_minor = (int(number) for number in FORMAT_VERSION.split("."))
    if major != known_major:
        raise CheckpointError(
            f"the checkpoint has format {version}, this version of hf_adner reads {FORMAT_VERSION}; "
            f"install a {'newer' if major > known_major else 'older'} hf_adner, or do not import it and load the "
            "checkpoint with its own code (trust_remote_code=True)"
        )
    if minor > known_minor:
        logger.warning("checkpoint of format %s, newer than %s: its additions are ignored", version, FORMAT_VERSION)
