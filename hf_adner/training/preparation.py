"""From arguments to what a training run needs: splits, labels, lexicon, tokenizer, model."""

import logging
import random
from collections.abc import Sequence

from datasets import Dataset, DatasetDict
from transformers import AutoConfig, PreTrainedConfig

from hf_adner.data.dataset import entity_labels, load_ner_dataset
from hf_adner.data.splits import split_dataset
from hf_adner.data.synthetic import ad_lexicon
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.arguments import DatasetArguments, ModelArguments

logger = logging.getLogger(__name__)

_ENCODERLESS = ("bilstm-crf",)


def load_splits(args: DatasetArguments) -> DatasetDict:
    """Splits `train`, `validation` and, where there is one, `test`.

    Without a validation split a share of the training documents is held out (whole groups when `group_key` is given);
    a share of 0 holds out nothing.

    Raises:
        ValueError: there is no training split, or a share outside [0, 1].
    """
    source = {"train": args.dataset, "validation": args.validation, "test": args.test}
    given = {name: path for name, path in source.items() if path}
    dataset = load_ner_dataset(
        args.dataset if len(given) == 1 else given,
        format=args.format,
        encoding=args.encoding,
        skip_invalid=args.skip_invalid,
    )
    if "train" not in dataset:
        raise ValueError(f"{args.dataset} has no training split, only {sorted(dataset)}")
    if "validation" not in dataset:
        dataset = DatasetDict({**dataset, **hold_out(dataset["train"], args)})
    limits = {
        "train": args.max_train_documents,
        "validation": args.max_validation_documents,
        "test": args.max_test_documents,
    }
    kept = [name for name in limits if name in dataset]
    return DatasetDict({name: sample(dataset[name], limits[name], args.sample_seed) for name in kept})


def hold_out(train: Dataset, args: DatasetArguments) -> DatasetDict:
    """Divide training documents into `train` and `validation` by `validation_share`; a share of 0 gives `train`."""
    if not args.validation_share:
        return DatasetDict({"train": train})
    shares = {"train": 1 - args.validation_share, "validation": args.validation_share}
    return split_dataset(train, shares, seed=args.sample_seed, group_key=args.group_key)


def sample(dataset: Dataset, size: int | None, seed: int) -> Dataset:
    """A fixed random sample in the original order; the whole dataset when `size` is None or not smaller."""
    if size is None or size >= len(dataset):
        return dataset
    return dataset.select(sorted(random.Random(seed).sample(range(len(dataset)), size)))


def entity_types_of(dataset: Dataset) -> list[str]:
    """Entity types of a split, sorted.

    Raises:
        ValueError: the split holds no entity, so there is nothing to learn.
    """
    types = entity_labels(dataset)
    if not types:
        raise ValueError(f"none of the {len(dataset)} training documents holds an entity")
    return types


def build_lexicon(spec: str, train: Dataset) -> Lexicon:
    """The word list that a specification names.

    Args:
        spec: parts joined by '+': a file, `ad` (the built-in dermatology words) or `train` (the surfaces of the
            training split's entities).
        train: the training split.
    """
    lexicon, *others = [_lexicon_part(name.strip(), train) for name in spec.split("+")]
    for other in others:
        lexicon = lexicon.union(other)
    return lexicon


def _lexicon_part(name: str, train: Dataset) -> Lexicon:
    if name == "ad":
        return Lexicon(ad_lexicon())
    if name == "train":
        return Lexicon.from_documents(
            row["text"][entity["start"] : entity["end"]] for row in train for entity in row["entities"]
        )
    return Lexicon.from_file(name)


def build_tokenizer(args: ModelArguments, train: Dataset) -> AdnerTokenizer:
    """The encoder's vocabulary, or the characters of the training texts when there is no encoder; and the lexicon.

    Words are weighted by how often they occur in the training texts (SoftLexicon's practice) unless `lexicon_counts`
    is off, which leaves the list's own frequencies.
    """
    if args.encoder and args.architecture not in _ENCODERLESS:
        tokenizer = AdnerTokenizer.from_pretrained(args.encoder)
    else:
        tokenizer = AdnerTokenizer.from_texts(train["text"])
    if args.lexicon:
        lexicon = build_lexicon(args.lexicon, train)
        counted = lexicon.with_counts(
            train["text"], lower_case=tokenizer.do_lower_case, min_documents=args.lexicon_min_documents
        )
        tokenizer.lexicon = counted if args.lexicon_counts else lexicon
    return tokenizer


def build_model(args: ModelArguments, tokenizer: AdnerTokenizer, types: Sequence[str]) -> AdnerForTokenClassification:
    """A new model as the arguments say it.

    Raises:
        ValueError: a malformed or unknown override, or what `AdnerConfig` refuses.
    """
    overrides = parse_overrides(args.config_overrides)
    if args.word_vectors:
        if tokenizer.lexicon is None:
            raise ValueError("word vectors were given, but no lexicon whose words they could be")
        vectors, covered = tokenizer.lexicon.vectors_from_file(args.word_vectors)
        logger.info("word vectors cover %d of %d lexicon words", int(covered.sum()), len(tokenizer.lexicon))
        overrides = {"lexicon_embedding_size": vectors.shape[1], **overrides, "word_vectors": vectors}
    if args.architecture in _ENCODERLESS:
        return AdnerForTokenClassification.from_scratch(tokenizer, types, args.architecture, **overrides)
    if args.encoder:
        return AdnerForTokenClassification.from_encoder_pretrained(
            args.encoder,
            tokenizer,
            types,
            args.architecture,
            encoder_kwargs={"config": pretrained_config(args)},
            **overrides,
        )
    return AdnerForTokenClassification.from_scratch(
        tokenizer, types, args.architecture, encoder_config=random_config(args), **overrides
    )


def small_encoder(size: int, layers: int) -> dict[str, int | str | float]:
    """Configuration of a small BERT to be trained from nothing, with heads of 32 dimensions."""
    return {
        "model_type": "bert",
        "hidden_size": size,
        "num_hidden_layers": layers,
        "num_attention_heads": max(size // 32, 1),
        "intermediate_size": 4 * size,
        "max_position_embeddings": 512,
    }


def random_config(args: ModelArguments) -> dict[str, int | str | float]:
    """Configuration of the small encoder that is trained from nothing, as the arguments say it."""
    return small_encoder(args.encoder_size, args.encoder_layers or 2) | _dropout(args)


def pretrained_config(args: ModelArguments) -> PreTrainedConfig:
    """Configuration of the pretrained encoder with the number of layers and the dropout that the arguments say.

    Raises:
        ValueError: more layers than the encoder has.
    """
    config = AutoConfig.from_pretrained(args.encoder)
    for name, value in _dropout(args).items():
        setattr(config, name, value)
    if args.encoder_layers is not None:
        if args.encoder_layers > config.num_hidden_layers:
            raise ValueError(f"encoder_layers={args.encoder_layers}, the encoder has only {config.num_hidden_layers}")
        config.num_hidden_layers = args.encoder_layers
    return config


def _dropout(args: ModelArguments) -> dict[str, float]:
    if args.encoder_dropout is None:
        return {}
    return {"hidden_dropout_prob": args.encoder_dropout, "attention_probs_dropout_prob": args.encoder_dropout}


def parse_overrides(text: str | None) -> dict[str, object]:
    """`"stream_size=128,word_layer=transformer"` as a dictionary of numbers, booleans and strings.

    Raises:
        ValueError: a part without '='.
    """
    pairs = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"config_overrides: {part!r} is not of the form name=value")
        pairs[name.strip()] = _literal(value.strip())
    return pairs


def _literal(value: str) -> object:
    if value.lower() in {"true", "false", "none"}:
        return {"true": True, "false": False, "none": None}[value.lower()]
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value
