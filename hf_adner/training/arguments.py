"""Arguments of a training run, as dataclasses for `HfArgumentParser`."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from transformers import TrainingArguments

from hf_adner.data.reading_arguments import ReadingArguments
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import TAGGINGS
from hf_adner.model.lexicon_adner import PUBLIC_DOCUMENTS

LATER_SETTINGS = {"encoder_layer_decay": 1.0, "ema_decay": None, "swa_epochs": None}
"""Training arguments that records and checkpoints of earlier versions do not have -> the value that changes nothing."""


@dataclass
class DatasetArguments(ReadingArguments):
    """Documents of a run, their splits and their windows."""

    dataset: str = field(metadata={"help": "a file, a folder, a Hugging Face dataset or ad-synthetic (built in)"})
    validation: str | None = field(default=None, metadata={"help": "file or folder of the validation split"})
    test: str | None = field(default=None, metadata={"help": "file or folder of the test split"})
    validation_share: float = field(
        default=0.1, metadata={"help": "share of the training documents held out when there is no validation split"}
    )
    group_key: str | None = field(
        default=None,
        metadata={"help": "metadata key (such as a patient id); documents with the same value stay in one split"},
    )
    max_train_documents: int | None = field(
        default=None, metadata={"help": "train on a fixed random sample of this many documents"}
    )
    max_validation_documents: int | None = field(default=None, metadata={"help": "the same for the validation split"})
    max_test_documents: int | None = field(default=None, metadata={"help": "the same for the test split"})
    sample_seed: int = field(
        default=0, metadata={"help": "seed of the samples and the held-out share, independent of --seed"}
    )
    max_length: int | None = field(
        default=None, metadata={"help": "characters per window (default: the most the encoder can read)"}
    )
    window_overlap: int = field(
        default=64, metadata={"help": "characters that neighbouring windows of a long text share"}
    )


@dataclass
class ModelArguments:
    """Encoder, architecture and lexicon of the model that a run builds."""

    encoder: str | None = field(
        default=None, metadata={"help": "pretrained encoder: a Hub name or a folder (default: a small random encoder)"}
    )
    encoder_layers: int | None = field(
        default=None, metadata={"help": "keep only this many of the first encoder layers"}
    )
    encoder_size: int = field(default=128, metadata={"help": "hidden size of the random encoder (without --encoder)"})
    encoder_dropout: float | None = field(
        default=None,
        metadata={"help": "dropout of the encoder's hidden states and attention weights (default: as configured)"},
    )
    architecture: str = field(
        default="m-dscmg", metadata={"help": "model architecture", "choices": list(ARCHITECTURES)}
    )
    tagging: str = field(
        default="flat",
        metadata={
            "help": "'flat': entities are disjoint; 'per-label': those of different labels may overlap (needs a CRF)",
            "choices": list(TAGGINGS),
        },
    )
    normalize_script: bool = field(
        default=True,
        metadata={"help": "read Traditional, variant and full-width characters as the ordinary Simplified ones"},
    )
    lexicon: str | None = field(
        default=None,
        metadata={
            "help": "word list file, 'ad' or 'ad-notes' (built in), or 'train' (entities of the training split); "
            "several joined by '+'"
        },
    )
    lexicon_counts: bool = field(
        default=True,
        metadata={"help": "weight words by their frequency in the training texts instead of that in the list"},
    )
    lexicon_min_documents: int = field(
        default=PUBLIC_DOCUMENTS,
        metadata={
            "help": "count only words of at least this many training documents, so that no count describes a single one"
        },
    )
    word_vectors: str | None = field(
        default=None, metadata={"help": "word2vec or fastText text file with vectors of the lexicon words"}
    )
    config_overrides: str | None = field(
        default=None, metadata={"help": "further AdnerConfig fields as name=value, separated by commas"}
    )


@dataclass
class AdnerTrainingArguments(TrainingArguments):
    """`TrainingArguments` with separate learning rates for encoder, head and CRF.

    Defaults that differ from transformers: group batches by length, warm up over 10 % of the steps, report to no
    service. Evaluation, saving and the choice of the best checkpoint are as in transformers (none, every 500 steps,
    none); `TrainCommandArguments` have those of the commands.

    Raises:
        ValueError: early stopping without evaluation or without a metric, a decay or a number of epochs out of range,
            or an average of weights that are sharded.
    """

    trainer_class: ClassVar[str] = "hf_adner.training.trainer:AdnerTrainer"
    """Trainer class to use with these arguments; a name, because subclasses in other packages have other trainers."""

    head_learning_rate: float | None = field(
        default=1e-3, metadata={"help": "learning rate of the layers after the encoder (None: that of the encoder)"}
    )
    crf_learning_rate: float | None = field(
        default=5e-3, metadata={"help": "learning rate of the CRF transitions (None: that of the head)"}
    )
    encoder_layer_decay: float = field(
        default=1.0,
        metadata={"help": "each encoder layer learns at this share of the rate of the layer above it (1: all alike)"},
    )
    ema_decay: float | None = field(
        default=None,
        metadata={"help": "evaluate and save the moving average of the weights that keeps this share at each step"},
    )
    swa_epochs: int | None = field(
        default=None,
        metadata={"help": "evaluate and save the mean of the weights at the ends of this many last epochs"},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better validation F1"}
    )
    learning_rate: float = field(default=5e-5, metadata={"help": "learning rate of the encoder"})
    weight_decay: float = field(
        default=0.01, metadata={"help": "weight decay of matrices; biases, layer norms and embeddings are not decayed"}
    )
    warmup_steps: float = field(default=0.1, metadata={"help": "warm-up steps, or a share of all steps when below 1"})
    num_train_epochs: float = field(default=10.0, metadata={"help": "passes over the training documents"})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "windows per step and process"})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "windows per evaluation step and process"})
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "order of training windows: group_by_length, random or sequential"}
    )
    length_column_name: str = field(default="length", metadata={"help": "dataset column that holds the window lengths"})
    logging_steps: float = field(default=50, metadata={"help": "steps between two log entries"})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available,
        metadata={"help": "pin memory of batches (default: if a GPU is available)"},
    )
    hub_allow_document_lexicon: bool = field(
        default=False, metadata={"help": "also push a lexicon made from documents, which may contain private text"}
    )
    report_to: str | None = field(default="none", metadata={"help": "experiment tracker to report to"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_averaging()
        if not 0 < self.encoder_layer_decay <= 1:
            raise ValueError(
                f"encoder_layer_decay (--encoder-layer-decay) is {self.encoder_layer_decay}, expected more than 0 and "
                "at most 1"
            )
        if self.early_stopping_patience is None:
            return
        if self.early_stopping_patience < 1:
            raise ValueError(f"early_stopping_patience is {self.early_stopping_patience}, expected 1 or more")
        if self.eval_strategy == "no" or self.metric_for_best_model is None:
            raise ValueError(
                "early_stopping_patience (--early-stopping-patience) needs evaluations and their metric; set "
                "eval_strategy='epoch' (--eval-strategy epoch) and metric_for_best_model='f1' "
                "(--metric-for-best-model f1)"
            )

    def later_settings(self) -> dict[str, float | int]:
        """Return those of `LATER_SETTINGS` that change what is learned."""
        settings = {name: getattr(self, name) for name in LATER_SETTINGS}
        return {name: value for name, value in settings.items() if value != LATER_SETTINGS[name]}

    def _check_averaging(self) -> None:
        if self.ema_decay is None and self.swa_epochs is None:
            return
        if self.ema_decay is not None and self.swa_epochs is not None:
            raise ValueError("ema_decay and swa_epochs (--ema-decay, --swa-epochs) are two averages; give one of them")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay (--ema-decay) is {self.ema_decay}, expected 0 or more and less than 1")
        if self.swa_epochs is not None and self.swa_epochs < 1:
            raise ValueError(f"swa_epochs (--swa-epochs) is {self.swa_epochs}, expected 1 or more")
        if self.fsdp or self.deepspeed:
            raise ValueError(
                "ema_decay and swa_epochs (--ema-decay, --swa-epochs) average whole weights, and FSDP and DeepSpeed "
                "shard them; train without either"
            )


@dataclass
class BestEpochDefaults:  # no TrainingArguments, whose other defaults would hide those of the second base class
    """Evaluation and saving once per epoch; the epoch with the best strict entity F1 is the result."""

    eval_strategy: str = field(default="epoch", metadata={"help": "when to evaluate on the validation split"})
    save_strategy: str = field(default="epoch", metadata={"help": "when to save a checkpoint"})
    save_total_limit: int | None = field(
        default=1, metadata={"help": "checkpoints to keep in addition to the best one"}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "load the checkpoint with the best validation score at the end"}
    )
    metric_for_best_model: str | None = field(
        default="f1", metadata={"help": "validation metric that selects the best checkpoint"}
    )


@dataclass
class TrainCommandArguments(BestEpochDefaults, AdnerTrainingArguments):
    """`AdnerTrainingArguments` with the defaults of the commands: the best epoch is the result."""
