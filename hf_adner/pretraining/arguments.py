"""What a pretraining run can be told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import HfArgumentParser, TrainingArguments

from hf_adner.pretraining.collator import NGRAM_SHARES, REPLACEMENTS


@dataclass
class PretrainingArguments:
    """How texts are read and words masked, and what of the encoder is used."""

    format: str = field(default="lines", metadata={"help": "format of the files (default: every line is a text)"})
    encoding: str | None = field(default=None, metadata={"help": "text encoding (default: UTF-8, then GB18030)"})
    skip_invalid: bool = field(default=False, metadata={"help": "skip broken records instead of stopping"})
    validation_share: float = field(default=0.01, metadata={"help": "share of the texts held out for perplexity"})
    max_length: int | None = field(
        default=None, metadata={"help": "tokens of a block (default: what the encoder can take, at most 512)"}
    )
    lexicon: str | None = field(
        default="ad", metadata={"help": "words masked as a whole: files or 'ad' (built in), joined by '+'; or none"}
    )
    longest_word: int = field(default=8, metadata={"help": "most characters of a word that is masked as a whole"})
    replacement: str = field(
        default="similar",
        metadata={"help": "what stands in for masked words: similar ones, or [MASK]", "choices": list(REPLACEMENTS)},
    )
    masked_share: float = field(default=0.15, metadata={"help": "share of the words that are to be predicted"})
    ngram_shares: list[float] = field(
        default_factory=lambda: list(NGRAM_SHARES), metadata={"help": "shares of masked n-grams of 1, 2, ... words"}
    )
    word_vectors: str | None = field(
        default=None,
        metadata={"help": "word2vec/fastText text file for similar words (default: learned from the text)"},
    )
    similar_words: int = field(default=5, metadata={"help": "neighbours of a word that a similar one is drawn from"})
    similar_minimum: float = field(default=0.3, metadata={"help": "smallest cosine of a similar word, 0 to 1"})
    encoder_layers: int | None = field(
        default=None, metadata={"help": "keep only the first layers (from scratch: their number, default 4)"}
    )
    encoder_size: int = field(default=256, metadata={"help": "width of an encoder from scratch"})
    min_count: int = field(
        default=2, metadata={"help": "from scratch: rarer characters get no place in the vocabulary"}
    )

    def __post_init__(self) -> None:
        """Read `none` as no lexicon."""
        self.lexicon = None if self.lexicon in (None, "none", "") else self.lexicon
        if self.lexicon is not None and "train" in self.lexicon.split("+"):
            raise ValueError("lexicon: plain text has no entities to take words from ('train'); name a file or 'ad'")
        if self.longest_word < 1:
            raise ValueError(f"longest_word is {self.longest_word}, expected 1 or more; for none, set lexicon to none")


@dataclass
class PretrainingTrainingArguments(TrainingArguments):
    """`TrainingArguments` with defaults for continued pretraining.

    The ones that differ from transformers: a checkpoint and a perplexity every 1,000 steps, the last checkpoint
    kept, 6 % of warm-up, two data-loader workers, no reporting service.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "peak of the learning rate"})
    weight_decay: float = field(default=0.01, metadata={"help": "of matrices; biases and norms have none"})
    warmup_steps: float = field(default=0.06, metadata={"help": "steps, or a share of all steps when below 1"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the text"})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "blocks per step and process"})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "blocks per evaluation step and process"})
    eval_strategy: str = field(default="steps", metadata={"help": "when to measure perplexity"})
    eval_steps: float | None = field(default=1000, metadata={"help": "steps between two measurements"})
    save_strategy: str = field(default="steps", metadata={"help": "when to write a checkpoint"})
    save_steps: float = field(default=1000, metadata={"help": "steps between two checkpoints"})
    save_total_limit: int | None = field(default=1, metadata={"help": "checkpoints that are kept"})
    logging_steps: float = field(default=100, metadata={"help": "steps between two lines of the log"})
    dataloader_num_workers: int = field(default=2, metadata={"help": "processes that mask"})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "pin batches (default: where there is a GPU)"}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "blocks have no other columns"})
    report_to: str | None = field(default="none", metadata={"help": "reporting service of the Trainer"})


@dataclass(frozen=True)
class PretrainingCommand:
    """What `adner pretrain` was asked to do.

    Attributes:
        encoder: Hub name or folder; None for an encoder from scratch.
        texts: files, folders or patterns.
        arguments: reading and masking.
        training: of the Trainer.
        check: only look at the vocabulary.
    """

    encoder: str | None
    texts: list[str]
    arguments: PretrainingArguments
    training: PretrainingTrainingArguments
    check: bool


def parse_pretraining(argv: Sequence[str]) -> PretrainingCommand:
    """The command line of `adner pretrain ENCODER TEXT... --output DIR`.

    With `--from-scratch` all names are texts.

    Raises:
        ValueError: no text, or no folder for the output of a run.
    """
    parser = HfArgumentParser((PretrainingTrainingArguments, PretrainingArguments), prog="adner pretrain")
    parser.usage = "adner pretrain ENCODER TEXT... --output DIR [options], or TEXT... --from-scratch --output DIR"
    parser.add_argument("names", nargs="+", help="the encoder (unless --from-scratch), then files of text")
    parser.add_argument("--output", help="folder of the run, in which the encoder will lie")
    parser.add_argument(
        "--from-scratch", "--from_scratch", action="store_true", help="begin with a small random encoder"
    )
    parser.add_argument("--check", action="store_true", help="only tell how much of the text the vocabulary knows")
    parser.formatter_class = argparse.HelpFormatter
    known = parser.parse_intermixed_args(list(argv))  # options may stand between the names
    if not known.check and not (known.output or known.output_dir):
        raise ValueError("no folder for the result: give --output DIR")
    texts = list(known.names)
    encoder = None if known.from_scratch else texts.pop(0)
    if not texts:
        raise ValueError("no text was given; expected ENCODER TEXT..., or TEXT... --from-scratch")
    training, arguments = parser.parse_dict(vars(known), allow_extra_keys=True)
    training.output_dir = known.output or known.output_dir or training.output_dir
    return PretrainingCommand(encoder, texts, arguments, training, known.check)
