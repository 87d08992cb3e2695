"""Arguments of a pretraining run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments

from hf_adner.data.reading_arguments import ReadingArguments
from hf_adner.pretraining.collator import NGRAM_SHARES, REPLACEMENTS


@dataclass
class PretrainingArguments(ReadingArguments):
    """Arguments of reading, masking and the encoder."""

    format: str = field(default="lines", metadata={"help": "format of the files (default: every line is a text)"})
    exclude: list[str] | None = field(
        default=None,
        metadata={"help": "files of test documents in any format, whose texts are left out (default: none)"},
    )
    validation_share: float = field(default=0.01, metadata={"help": "share of the texts held out for perplexity"})
    max_length: int | None = field(
        default=None, metadata={"help": "tokens of a block (default: the positions of the encoder, at most 512)"}
    )
    lexicon: str | None = field(
        default="ad", metadata={"help": "words masked as a whole: files or 'ad' (built in), joined by '+'; or none"}
    )
    longest_word: int = field(
        default=8, metadata={"help": "largest number of characters of a word that is masked as a whole"}
    )
    replacement: str = field(
        default="similar",
        metadata={"help": "replacement of masked words: similar words, or [MASK]", "choices": list(REPLACEMENTS)},
    )
    masked_share: float = field(default=0.15, metadata={"help": "share of the words to mask and predict"})
    ngram_shares: list[float] = field(
        default_factory=lambda: list(NGRAM_SHARES), metadata={"help": "shares of masked n-grams of 1, 2, ... words"}
    )
    word_vectors: str | None = field(
        default=None,
        metadata={"help": "word2vec/fastText text file for similar words (default: learned from the text)"},
    )
    similar_words: int = field(default=5, metadata={"help": "number of neighbours that a similar word is drawn from"})
    similar_minimum: float = field(default=0.3, metadata={"help": "smallest cosine of a similar word, 0 to 1"})
    encoder_layers: int | None = field(
        default=None, metadata={"help": "keep only the first layers (from scratch: their number, default 4)"}
    )
    encoder_size: int = field(default=256, metadata={"help": "width of an encoder from scratch"})
    min_count: int = field(
        default=2, metadata={"help": "from scratch: smallest count of a character in the vocabulary"}
    )

    def __post_init__(self) -> None:
        """Normalise ``"none"`` to None and check the arguments.

        Raises:
            ValueError: if the lexicon names the training data, `longest_word` is less than 1, or as
                `ReadingArguments`.
        """
        super().__post_init__()
        self.lexicon = None if self.lexicon in (None, "none", "") else self.lexicon
        if self.lexicon is not None and "train" in self.lexicon.split("+"):
            raise ValueError("lexicon: plain text has no entities to take words from ('train'); name a file or 'ad'")
        if self.longest_word < 1:
            raise ValueError(f"longest_word is {self.longest_word}, expected 1 or more; for none, set lexicon to none")


@dataclass
class PretrainingTrainingArguments(TrainingArguments):
    """`TrainingArguments` with defaults for continued pretraining.

    Different from transformers: 6 % warm-up, two data-loader workers, no reporting service. Evaluation and saving are
    as in transformers; `PretrainCommandArguments` have those of the command.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay, except for biases and norms"})
    warmup_steps: float = field(default=0.06, metadata={"help": "warm-up steps, or a share of all steps if below 1"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the text"})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "blocks per step and process"})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "blocks per evaluation step and process"})
    logging_steps: float = field(default=100, metadata={"help": "steps between two log entries"})
    dataloader_num_workers: int = field(default=2, metadata={"help": "data-loader processes, which mask"})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "pin batches (default: if there is a GPU)"}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "not needed: blocks have no other columns"})
    report_to: str | None = field(default="none", metadata={"help": "reporting service of the Trainer"})


@dataclass
class PretrainCommandArguments(PretrainingTrainingArguments):
    """Evaluation and saving of `adner pretrain`: every 1,000 steps, and only the last checkpoint is kept."""

    eval_strategy: str = field(default="steps", metadata={"help": "when to evaluate perplexity"})
    eval_steps: float | None = field(default=1000, metadata={"help": "steps between two evaluations"})
    save_strategy: str = field(default="steps", metadata={"help": "when to write a checkpoint"})
    save_steps: float = field(default=1000, metadata={"help": "steps between two checkpoints"})
    save_total_limit: int | None = field(default=1, metadata={"help": "number of checkpoints to keep"})


@dataclass(frozen=True)
class PretrainingCommand:
    """Parsed command line of `adner pretrain`.

    Attributes:
        encoder: Hub name or folder; None for an encoder from scratch.
        texts: files, folders or glob patterns.
        arguments: arguments of reading and masking.
        training: arguments of the Trainer.
        check: only check the vocabulary.
    """

    encoder: str | None
    texts: list[str]
    arguments: PretrainingArguments
    training: PretrainingTrainingArguments
    check: bool
