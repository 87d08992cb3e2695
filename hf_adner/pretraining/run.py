"""Pretraining runs: from text files to an encoder with its vocabulary and its perplexity on held-out text.

`run_pretraining` is the whole run; its steps follow in order.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)

from hf_adner.files import write_file, write_json
from hf_adner.model.encoders_adner import position_limit
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import SPACE, UNUSED, AdnerTokenizer
from hf_adner.perturb.similar_words import SimilarWordTable, similar_word_table
from hf_adner.pretraining.arguments import PretrainingArguments, PretrainingCommand, PretrainingTrainingArguments
from hf_adner.pretraining.collator import MacBertCollator
from hf_adner.pretraining.text import (
    TextBlocks,
    VocabularyCoverage,
    hold_out_texts,
    read_evaluation_texts,
    read_texts,
    vocabulary_coverage,
    without_evaluation_texts,
)
from hf_adner.pretraining.trainer import PretrainingTrainer
from hf_adner.pretraining.word_vectors import WordSequences, cooccurrence_vectors
from hf_adner.pretraining.words import UNKNOWN
from hf_adner.training.preparation import build_lexicon, small_encoder
from hf_adner.training.resume import METRICS_FILE, checkpoint_to_resume

logger = logging.getLogger(__name__)

WARNED, REFUSED = 0.01, 0.3
"""Rates of unknown characters above which a run warns, and is refused."""

_LAYERS = 4  # of an encoder from scratch


def run_command(command: PretrainingCommand) -> str:
    """Run `adner pretrain` and return the text to print."""
    if command.check:
        coverage = check_text(command.encoder, command.texts, command.arguments)
        refused = coverage.unknown_rate > REFUSED
        verdict = f"a run would be refused: more than {100 * REFUSED:.0f} % of the characters are unknown\n\n"
        return verdict * refused + coverage.to_markdown()
    metrics = run_pretraining(command.encoder, command.texts, command.arguments, command.training)
    lines = [f"encoder    {command.training.output_dir}"]
    if "held_out" in metrics:
        before, after = (metrics["held_out"][when]["perplexity"] for when in ("before", "after"))
        lines.insert(0, f"held-out perplexity {before:.2f} before, {after:.2f} after")
    return "\n".join(lines)


def check_text(encoder: str | None, paths: Iterable[str], args: PretrainingArguments) -> VocabularyCoverage:
    """Return the coverage of texts by an encoder's vocabulary, or by one built from them if `encoder` is None."""
    texts = texts_of(paths, args)
    return vocabulary_coverage(texts, load_tokenizer(encoder, texts, args))


def texts_of(paths: Iterable[str], args: PretrainingArguments) -> list[str]:
    """Read the texts of a run, without those of `args.exclude`.

    Raises:
        DataFormatError, FileNotFoundError, ValueError: as `read_texts`, or no text is left.
    """
    texts = read_texts(list(paths), **args.reading_options())
    if not args.exclude:
        return texts
    kept = without_evaluation_texts(texts, read_evaluation_texts(args.exclude))
    logger.warning("%d of %d texts are left out: they belong to excluded files", len(texts) - len(kept), len(texts))
    return kept


def run_pretraining(
    encoder: str | None,
    paths: Iterable[str],
    args: PretrainingArguments,
    training_args: PretrainingTrainingArguments,
) -> dict[str, Any]:
    """Pretrain an encoder and save it with its vocabulary and `metrics.json` in `output_dir`.

    The folder can be loaded with `AutoModel.from_pretrained` and `AutoModelForMaskedLM.from_pretrained`, and as the
    encoder of every architecture.

    Args:
        encoder: Hub name or folder of the encoder to continue from; None starts from a small random encoder.
        paths: files, folders or glob patterns of text.
        args: arguments of reading and masking.
        training_args: arguments of the Trainer.

    Returns:
        The content of `metrics.json`.

    Raises:
        FileExistsError: if `output_dir` has another run or a model and resuming was not asked for.
        ValueError, DataFormatError: if the texts, the vocabulary or the arguments are invalid, or the checkpoint to
            resume from is of another run.
    """
    checkpoint = checkpoint_to_resume(training_args)
    set_seed(training_args.seed)
    texts = texts_of(paths, args)
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
    # not evaluate(): Accelerate prepares a model only once, so several processes would each train their own model
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
    """Return the first evaluation, of the original run if this one was resumed."""
    return _scores(next(entry for entry in trainer.state.log_history if "eval_perplexity" in entry))


def _scores(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: metrics[f"eval_{name}"] for name in ("perplexity", "masked_loss", "accuracy")}


def _save(trainer: PretrainingTrainer, tokenizer: AdnerTokenizer, folder: Path, metrics: dict[str, Any]) -> None:
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        save_vocabulary(tokenizer, folder, max_length=block_length(None, trainer.model))
        write_json(folder / METRICS_FILE, metrics)


@dataclass(frozen=True)
class PretrainingText:
    """The text of a run.

    Attributes:
        train: training texts.
        held_out: texts for measuring perplexity.
        coverage: coverage of all texts by the vocabulary.
    """

    train: list[str]
    held_out: list[str]
    coverage: VocabularyCoverage


def load_tokenizer(encoder: str | None, texts: Iterable[str], args: PretrainingArguments) -> AdnerTokenizer:
    """Load the encoder's vocabulary with one token per character, or build one from the texts."""
    if encoder is None:
        return AdnerTokenizer.from_texts(texts, min_count=args.min_count)
    tokenizer = AdnerTokenizer.from_pretrained(encoder)
    tokenizer.lexicon = None  # words are used for masking only, not as encoder inputs
    return tokenizer


def divide_text(texts: list[str], tokenizer: AdnerTokenizer, args: PretrainingArguments) -> PretrainingText:
    """Check texts against a vocabulary and hold out a part.

    Raises:
        ValueError: if too many characters are unknown, or there are too few texts.
    """
    coverage = vocabulary_coverage(texts, tokenizer)
    if coverage.unknown_rate > REFUSED:
        raise ValueError(
            f"{100 * coverage.unknown_rate:.1f} % of the characters are not in the vocabulary, expected at most "
            f"{100 * REFUSED:.0f} %: vocabulary and text do not match (--check lists the characters); a vocabulary "
            f"from scratch has the characters that occur {args.min_count} times or more (--min-count, min_count=)"
        )
    if coverage.unknown_rate > WARNED:
        logger.warning("%.1f %% of the characters are not in the vocabulary (see --check)", 100 * coverage.unknown_rate)
    return PretrainingText(*hold_out_texts(texts, args.validation_share), coverage)


def build_masked_lm(encoder: str | None, tokenizer: AdnerTokenizer, args: PretrainingArguments) -> PreTrainedModel:
    """Create the model of a run with `load_masked_lm` or `make_masked_lm`."""
    if encoder is None:
        return make_masked_lm(tokenizer, args.encoder_size, args.encoder_layers or _LAYERS, args.max_length or 0)
    return load_masked_lm(encoder, tokenizer, args.encoder_layers)


def load_masked_lm(name_or_path: str, tokenizer: AdnerTokenizer, layers: int | None = None) -> PreTrainedModel:
    """Load an encoder with a masked-language-model head, which is new if the checkpoint has none.

    Args:
        name_or_path: Hub name or folder.
        tokenizer: tokenizer with the encoder's vocabulary.
        layers: number of first layers to keep; default: all.

    Raises:
        ValueError: if there are fewer layers, or fewer embeddings than tokens, or the checkpoint lacks weights of the
            encoder itself.
    """
    config = AutoConfig.from_pretrained(name_or_path)
    _check_vocabulary(tokenizer, config, name_or_path)
    if layers is not None:
        if not 1 <= layers <= config.num_hidden_layers:
            raise ValueError(f"encoder_layers={layers}, expected 1 to {config.num_hidden_layers}, as the encoder has")
        config.num_hidden_layers = layers
    model, report = AutoModelForMaskedLM.from_pretrained(
        name_or_path, config=config, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    encoder = [name for name in missing if name.startswith(f"{model.base_model_prefix}.")]
    if encoder:
        raise ValueError(f"{name_or_path} lacks {len(encoder)} weights of the encoder, the first is {encoder[0]}")
    if missing:
        logger.warning("%s has no masked-language-model head: a new head is initialised randomly", name_or_path)
    return model


def _check_vocabulary(tokenizer: AdnerTokenizer, config: PreTrainedConfig, name: str) -> None:
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise ValueError(
            f"{name}: the vocabulary has the id {largest}, but the encoder only {config.vocab_size} embeddings; "
            "vocabulary and weights belong to different encoders"
        )


def make_masked_lm(tokenizer: AdnerTokenizer, size: int, layers: int, max_length: int) -> PreTrainedModel:
    """Create a small random encoder with its head, for a vocabulary built from the text."""
    settings = small_encoder(size, layers)
    settings["max_position_embeddings"] = max(max_length, int(settings["max_position_embeddings"]))
    config = AutoConfig.for_model(**settings, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    return AutoModelForMaskedLM.from_config(config)


def build_trainer(
    model: PreTrainedModel,
    tokenizer: AdnerTokenizer,
    text: PretrainingText,
    args: PretrainingArguments,
    training_args: PretrainingTrainingArguments,
) -> PretrainingTrainer:
    """Create the trainer of a run, with the text packed into blocks."""
    length = block_length(args.max_length, model)
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
    trainer = PretrainingTrainer(
        model=model,
        args=training_args,
        collator=training,
        eval_collator=held_out,
        train_dataset=blocks,
        eval_dataset=TextBlocks(text.held_out, tokenizer, length) if text.held_out else None,
    )
    trainer.data_settings = asdict(args)
    return trainer


def block_length(asked: int | None, model: PreTrainedModel) -> int:
    """Return the tokens of a block: `asked`, or the positions of the encoder, at most 512.

    Raises:
        ValueError: if the encoder has fewer positions than asked for.
    """
    positions = position_limit(model)
    if asked is not None and positions is not None and asked > positions:
        raise ValueError(f"max_length={asked} (--max-length), but the encoder has only {positions} positions")
    return asked or min(positions or 512, 512)


def similar_words_of(
    texts: Iterable[str], lexicon: Lexicon | None, tokenizer: AdnerTokenizer, args: PretrainingArguments
) -> SimilarWordTable:
    """Find similar words by word vectors from a file, or by vectors learned from the texts.

    Raises:
        ValueError: if the file is not a file of word vectors, or has no word of the texts.
    """
    reading = {"lower_case": tokenizer.do_lower_case, "script_map": getattr(tokenizer, "script_map", None)}
    sequences = WordSequences(texts, lexicon, longest=args.longest_word, **reading)
    words = sequences.words
    if args.word_vectors:
        vectors = given_vectors(words, args.word_vectors, lower_case=tokenizer.do_lower_case)
    else:
        vectors = cooccurrence_vectors(sequences)
    table = similar_word_table(words, vectors, args.similar_words, args.similar_minimum)
    logger.info("%d of the text's %d words have similar words", len(table), len(words))
    return table


def given_vectors(words: list[str], path: str, lower_case: bool = False) -> torch.Tensor:
    """Read vectors (words, dimension) from a word2vec or fastText text file; zeros for words that it lacks.

    Args:
        words: the words.
        path: path of the file.
        lower_case: match the words, which are lower-cased, to the file's words in any case.

    Raises:
        ValueError: if the file is broken or has none of the words.
    """
    usable = [place for place, word in enumerate(words) if UNKNOWN not in word and word == word.strip()]
    vectors, covered = Lexicon(words[place] for place in usable).vectors_from_file(path, lower_case=lower_case)
    if not covered.any():
        raise ValueError(f"{path}: has none of the text's {len(words)} words; are they vectors of another language?")
    logger.info("word vectors cover %d of %d words", int(covered.sum()), len(words))
    rows = vectors.new_zeros(len(words), vectors.shape[1])
    rows[usable] = vectors[1:]
    return rows


def save_vocabulary(tokenizer: AdnerTokenizer, folder: Path, *, max_length: int) -> None:
    """Write `vocab.txt` and the configuration of a stock `BertTokenizer`, as in BERT and MacBERT repositories.

    Args:
        tokenizer: tokenizer to save; its entry for white space is renamed to BERT's ``[unused1]``.
        folder: folder of the model.
        max_length: largest number of tokens of the encoder.
    """
    vocabulary = {index: token for token, index in tokenizer.get_vocab().items()}
    tokens = [vocabulary.get(index, f"[unused-{index}]") for index in range(max(vocabulary) + 1)]
    tokens = [UNUSED if token == SPACE and UNUSED not in tokens else token for token in tokens]
    write_file(folder / "vocab.txt", (f"{token}\n" for token in tokens), "utf-8")
    special = {
        name: getattr(tokenizer, name)
        for name in ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
        if getattr(tokenizer, name) is not None
    }
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": tokenizer.do_lower_case,
        "tokenize_chinese_chars": True,
        "strip_accents": False,
        "model_max_length": max_length,
        **special,
    }
    for name, content in (("tokenizer_config.json", settings), ("special_tokens_map.json", special)):
        write_file(folder / name, [json.dumps(content, ensure_ascii=False, indent=2), "\n"], "utf-8")
