"""What a training run can be told, as dataclasses for `HfArgumentParser`."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from transformers import TrainingArguments

from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.lexicon_adner import PUBLIC_DOCUMENTS


@dataclass
class DatasetArguments:
    """Which documents a run reads and how it cuts them."""

    dataset: str = field(metadata={"help": "a file, a folder, or the built-in name ad-synthetic"})
    validation: str | None = field(default=None, metadata={"help": "file of the validation split"})
    test: str | None = field(default=None, metadata={"help": "file of the test split"})
    format: str | None = field(default=None, metadata={"help": "format of the files (default: recognised)"})
    encoding: str | None = field(default=None, metadata={"help": "text encoding (default: UTF-8, then GB18030)"})
    skip_invalid: bool = field(default=False, metadata={"help": "skip and list broken records instead of stopping"})
    validation_share: float = field(
        default=0.1, metadata={"help": "share of the training documents held out where there is no validation split"}
    )
    group_key: str | None = field(
        default=None, metadata={"help": "meta key (a patient id, say) whose documents stay in one split"}
    )
    max_train_documents: int | None = field(default=None, metadata={"help": "size of a fixed random training sample"})
    max_validation_documents: int | None = field(default=None, metadata={"help": "the same for validation"})
    max_test_documents: int | None = field(default=None, metadata={"help": "the same for test"})
    sample_seed: int = field(default=0, metadata={"help": "seed of samples and held-out shares, apart from --seed"})
    max_length: int | None = field(
        default=None, metadata={"help": "characters a window holds (default: what the encoder can take)"}
    )
    window_overlap: int = field(default=64, metadata={"help": "characters shared by neighbouring windows of long text"})


@dataclass
class ModelArguments:
    """Which network a run builds."""

    encoder: str | None = field(
        default=None, metadata={"help": "pretrained encoder, a Hub name or a folder (default: a small random one)"}
    )
    encoder_layers: int | None = field(default=None, metadata={"help": "keep only the first layers of the encoder"})
    encoder_size: int = field(default=128, metadata={"help": "width of the random encoder when none is given"})
    encoder_dropout: float | None = field(
        default=None, metadata={"help": "dropout of the encoder's states and attentions (default: its own)"}
    )
    architecture: str = field(default="m-dscmg", metadata={"help": "the network", "choices": list(ARCHITECTURES)})
    lexicon: str | None = field(
        default=None,
        metadata={"help": "word list file, 'ad' (built in), 'train' (entities of the training split), joined by '+'"},
    )
    lexicon_counts: bool = field(
        default=True, metadata={"help": "weight words by their frequency in the training texts, not in the list"}
    )
    lexicon_min_documents: int = field(
        default=PUBLIC_DOCUMENTS,
        metadata={"help": "count only words found in so many training documents; with fewer, counts may tell of one"},
    )
    word_vectors: str | None = field(default=None, metadata={"help": "word2vec/fastText text file for the lexicon"})
    config_overrides: str | None = field(
        default=None, metadata={"help": "further AdnerConfig fields, as name=value separated by commas"}
    )


@dataclass
class AdnerTrainingArguments(TrainingArguments):
    """`TrainingArguments` with a learning rate for each part of the network.

    The defaults that differ from transformers: evaluation and saving once per epoch, the best checkpoint (strict
    entity F1) loaded at the end, batches grouped by length, 10 % of warm-up, no reporting service.
    """

    trainer_class: ClassVar[str] = "hf_adner.training.trainer:AdnerTrainer"
    """Trainer of a run with these arguments; a name, because rooms above this one have trainers of their own."""

    head_learning_rate: float | None = field(
        default=1e-3, metadata={"help": "rate of all that stands after the encoder (None: as the encoder)"}
    )
    crf_learning_rate: float | None = field(
        default=5e-3, metadata={"help": "rate of the CRF's transitions (None: as the head)"}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after so many evaluations without a better validation F1"}
    )
    learning_rate: float = field(default=5e-5, metadata={"help": "rate of the encoder"})
    weight_decay: float = field(default=0.01, metadata={"help": "of matrices; biases, norms and embeddings have none"})
    warmup_steps: float = field(default=0.1, metadata={"help": "steps, or a share of all steps when below 1"})
    num_train_epochs: float = field(default=10.0, metadata={"help": "passes over the training documents"})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "windows per step and process"})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "windows per evaluation step and process"})
    eval_strategy: str = field(default="epoch", metadata={"help": "when to score the validation split"})
    save_strategy: str = field(default="epoch", metadata={"help": "when to write a checkpoint"})
    save_total_limit: int | None = field(default=1, metadata={"help": "checkpoints kept beside the best one"})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "end with the best validation F1"})
    metric_for_best_model: str | None = field(default="f1", metadata={"help": "validation figure that counts"})
    train_sampling_strategy: str = field(default="group_by_length", metadata={"help": "sampler of the Trainer"})
    length_column_name: str = field(default="length", metadata={"help": "column with the windows' lengths"})
    logging_steps: float = field(default=50, metadata={"help": "steps between two lines of the log"})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "pin batches (default: where there is a GPU)"}
    )
    hub_allow_document_lexicon: bool = field(
        default=False, metadata={"help": "push a lexicon made from documents too, which may be private"}
    )
    report_to: str | None = field(default="none", metadata={"help": "reporting service of the Trainer"})
