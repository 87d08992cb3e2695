"""Pretraining of an encoder on plain text: texts in, an encoder and its perplexity out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, set_seed

from hf_adner.data.macbert_collator import MacBertCollator
from hf_adner.data.text_blocks import TextBlocks
from hf_adner.data.token_words import UNKNOWN
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.preparation import build_lexicon
from hf_adner.training.pretrained_encoder import block_length, load_masked_lm, make_masked_lm, save_vocabulary
from hf_adner.training.pretraining_arguments import (
    PretrainingArguments,
    PretrainingCommand,
    PretrainingTrainingArguments,
)
from hf_adner.training.pretraining_text import VocabularyCoverage, hold_out_texts, read_texts, vocabulary_coverage
from hf_adner.training.pretraining_trainer import PretrainingTrainer
from hf_adner.training.run import METRICS_FILE, checkpoint_to_resume, write_json
from hf_adner.training.similar_word_table import (
    SimilarWordTable,
    WordSequences,
    cooccurrence_vectors,
    similar_word_table,
)

logger = logging.getLogger(__name__)

WARNED, REFUSED = 0.01, 0.3
"""Rates of unknown characters from which on a run warns, and is refused."""

_LAYERS = 4


@dataclass(frozen=True)
class PretrainingText:
    """The text of a run.

    Attributes:
        train: texts to learn from.
        held_out: texts to measure perplexity on.
        coverage: how much of all of it the vocabulary knows.
    """

    train: list[str]
    held_out: list[str]
    coverage: VocabularyCoverage


def run_command(command: PretrainingCommand) -> str:
    """Do what `adner pretrain` was asked to, and tell what came of it."""
    if command.check:
        coverage = check_text(command.encoder, command.texts, command.arguments)
        refused = coverage.unknown_rate > REFUSED
        verdict = f"a run would be refused: more than {100 * REFUSED:.0f} % of the characters are unknown\n\n"
        return verdict * refused + coverage.to_markdown()
    metrics = run_pretraining(command.encoder, command.texts, command.arguments, command.training)
    told = [f"encoder    {command.training.output_dir}"]
    if "held_out" in metrics:
        before, after = (metrics["held_out"][when]["perplexity"] for when in ("before", "after"))
        told.insert(0, f"held-out perplexity {before:.2f} before, {after:.2f} after")
    return "\n".join(told)


def check_text(encoder: str | None, paths: Iterable[str], args: PretrainingArguments) -> VocabularyCoverage:
    """How much of the texts an encoder's vocabulary knows (from scratch: the one that would be made of them)."""
    texts = read_texts(list(paths), args.format, args.encoding, args.skip_invalid)
    return vocabulary_coverage(texts, load_tokenizer(encoder, texts, args))


def run_pretraining(
    encoder: str | None,
    paths: Iterable[str],
    args: PretrainingArguments,
    training_args: PretrainingTrainingArguments,
) -> dict[str, Any]:
    """Pretrain an encoder, write it with its vocabulary to `output_dir`, and `output_dir/metrics.json` beside it.

    The folder loads with `AutoModel.from_pretrained` and `AutoModelForMaskedLM.from_pretrained`, and as the encoder of
    every architecture.

    Args:
        encoder: the encoder to go on from, Hub name or folder; None begins with a small random one.
        paths: files, folders or patterns of text.
        args: reading and masking.
        training_args: of the Trainer.

    Returns:
        The content of `metrics.json`.

    Raises:
        FileExistsError: `output_dir` holds another run and nothing says to resume it.
        ValueError, DataFormatError: what the texts, the vocabulary or the arguments have wrong.
    """
    checkpoint = checkpoint_to_resume(training_args)
    set_seed(training_args.seed)
    texts = read_texts(list(paths), args.format, args.encoding, args.skip_invalid)
    tokenizer = load_tokenizer(encoder, texts, args)
    text = divide_text(texts, tokenizer, args)
    model = build_masked_lm(encoder, tokenizer, args)
    trainer = build_trainer(model, tokenizer, text, args, training_args)
    metrics = {
        "encoder": encoder,
        "arguments": asdict(args),
        "training": {"seed": training_args.seed, "learning_rate": training_args.learning_rate},
        "texts": {"train": len(text.train), "held_out": len(text.held_out)},
        "coverage": text.coverage.to_dict(),
        "blocks": {"number": len(trainer.train_dataset), "fill": trainer.train_dataset.fill},
    }
    metrics |= _train(trainer, checkpoint)
    _save(trainer, tokenizer, Path(training_args.output_dir), metrics)
    return metrics


def _train(trainer: PretrainingTrainer, checkpoint: str | None) -> dict[str, Any]:
    held_out = trainer.eval_dataset is not None
    # not evaluate(): several processes would then train each a model of its own, as Accelerate prepares a model once
    trainer.args.eval_on_start = held_out and checkpoint is None
    result = trainer.train(resume_from_checkpoint=checkpoint)
    after = _scores(trainer.evaluate()) if held_out else {}
    scores = {"before": _first_scores(trainer), "after": after} if held_out else {}
    history = [
        {name: entry[name] for name in ("step", "loss", "eval_perplexity") if name in entry}
        for entry in trainer.state.log_history
    ]
    return {
        "steps": result.global_step,
        "train_seconds": round(result.metrics["train_runtime"], 1),
        "history": [entry for entry in history if len(entry) > 1],
        **({"held_out": scores} if scores else {}),
    }


def _first_scores(trainer: PretrainingTrainer) -> dict[str, float]:
    """The first measurement of the run or, where it was resumed, of the one that it goes on with.

    A run that was begun without held-out text has none but its last.
    """
    return _scores(next(entry for entry in trainer.state.log_history if "eval_perplexity" in entry))


def _scores(found: Mapping[str, float]) -> dict[str, float]:
    return {name: found[f"eval_{name}"] for name in ("perplexity", "masked_loss", "accuracy")}


def _save(trainer: PretrainingTrainer, tokenizer: AdnerTokenizer, folder: Path, metrics: dict[str, Any]) -> None:
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        save_vocabulary(tokenizer, folder, max_length=block_length(None, trainer.model.config))
        write_json(folder / METRICS_FILE, metrics)


def load_tokenizer(encoder: str | None, texts: Iterable[str], args: PretrainingArguments) -> AdnerTokenizer:
    """The encoder's vocabulary with one token per character, or one made of the texts."""
    if encoder is None:
        return AdnerTokenizer.from_texts(texts, min_count=args.min_count)
    tokenizer = AdnerTokenizer.from_pretrained(encoder)
    tokenizer.lexicon = None  # words are masked, not given to the encoder
    return tokenizer


def divide_text(texts: list[str], tokenizer: AdnerTokenizer, args: PretrainingArguments) -> PretrainingText:
    """Check texts against a vocabulary and hold a part out.

    Raises:
        ValueError: the vocabulary does not know the texts' characters, or there are too few texts.
    """
    coverage = vocabulary_coverage(texts, tokenizer)
    if coverage.unknown_rate > REFUSED:
        raise ValueError(
            f"{100 * coverage.unknown_rate:.1f} % of the characters are not in the vocabulary, expected at most "
            f"{100 * REFUSED:.0f} %: vocabulary and text do not belong together (--check tells which characters)"
        )
    if coverage.unknown_rate > WARNED:
        logger.warning("%.1f %% of the characters are not in the vocabulary (see --check)", 100 * coverage.unknown_rate)
    return PretrainingText(*hold_out_texts(texts, args.validation_share), coverage)


def build_masked_lm(encoder: str | None, tokenizer: AdnerTokenizer, args: PretrainingArguments) -> PreTrainedModel:
    """The model of a run; see `load_masked_lm` and `make_masked_lm`."""
    if encoder is None:
        return make_masked_lm(tokenizer, args.encoder_size, args.encoder_layers or _LAYERS, args.max_length or 0)
    return load_masked_lm(encoder, tokenizer, args.encoder_layers)


def build_trainer(
    model: PreTrainedModel,
    tokenizer: AdnerTokenizer,
    text: PretrainingText,
    args: PretrainingArguments,
    training_args: PretrainingTrainingArguments,
) -> PretrainingTrainer:
    """The trainer of a run, its text packed to blocks."""
    length = block_length(args.max_length, model.config)
    blocks = TextBlocks(text.train, tokenizer, length)
    if not text.held_out:
        training_args.eval_strategy = "no"
    lexicon = build_lexicon(args.lexicon, ()) if args.lexicon else None
    similar = similar_words_of(text.train, lexicon, tokenizer, args) if args.replacement == "similar" else None
    options = {
        "replacement": args.replacement,
        "share": args.masked_share,
        "ngram_shares": args.ngram_shares,
        "longest_word": args.longest_word,
        "seed": training_args.seed,
    }
    training, held_out = (MacBertCollator(tokenizer, lexicon, similar, **options) for _ in range(2))
    return PretrainingTrainer(
        model=model,
        args=training_args,
        collator=training,
        eval_collator=held_out,
        train_dataset=blocks,
        eval_dataset=TextBlocks(text.held_out, tokenizer, length) if text.held_out else None,
    )


def similar_words_of(
    texts: Iterable[str], lexicon: Lexicon | None, tokenizer: AdnerTokenizer, args: PretrainingArguments
) -> SimilarWordTable:
    """Similar words by vectors from a file, or learned from the texts.

    Raises:
        ValueError: a file that is none of word vectors, or that has no word of the texts.
    """
    sequences = WordSequences(texts, lexicon, lower_case=tokenizer.do_lower_case, longest=args.longest_word)
    words = sequences.words
    if args.word_vectors:
        vectors = given_vectors(words, args.word_vectors, lower_case=tokenizer.do_lower_case)
    else:
        vectors = cooccurrence_vectors(sequences)
    table = similar_word_table(words, vectors, args.similar_words, args.similar_minimum)
    logger.info("%d of the text's %d words have similar ones", len(table), len(words))
    return table


def given_vectors(words: list[str], path: str, lower_case: bool = False) -> torch.Tensor:
    """Vectors (words, dimension) from a word2vec or fastText text file; zeros for words that it lacks.

    Args:
        words: the words.
        path: of the file.
        lower_case: the words are in lower case, those of the file need not be.

    Raises:
        ValueError: a broken file, or one with none of the words.
    """
    usable = [place for place, word in enumerate(words) if UNKNOWN not in word and word == word.strip()]
    vectors, covered = Lexicon(words[place] for place in usable).vectors_from_file(path, lower_case=lower_case)
    if not covered.any():
        raise ValueError(f"{path}: has none of the text's {len(words)} words; are they vectors of another language?")
    logger.info("word vectors cover %d of %d words", int(covered.sum()), len(words))
    rows = vectors.new_zeros(len(words), vectors.shape[1])
    rows[usable] = vectors[1:]
    return rows
