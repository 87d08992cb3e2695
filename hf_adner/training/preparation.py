"""Build splits, entity types, lexicon, tokenizer and model of a training run from its arguments."""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import reduce
from typing import Any

from datasets import Dataset, DatasetDict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig

from hf_adner.data.dataset import entity_labels, load_ner_dataset
from hf_adner.data.splits import split_dataset
from hf_adner.data.synthetic import ad_lexicon
from hf_adner.model.configuration_adner import AdnerConfig
from hf_adner.model.encoders_adner import limit_tokenizer
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.arguments import DatasetArguments, ModelArguments

logger = logging.getLogger(__name__)

BUILT_IN_WORDS = {"ad": "default", "ad-notes": "notes"}
"""Name of a built-in list of words -> the profile of ad-synthetic whose terms it has."""

_ARCHITECTURES_WITHOUT_ENCODER = ("bilstm-crf",)


def load_splits(args: DatasetArguments) -> DatasetDict:
    """Load the splits `train`, `validation` and, if there is one, `test`.

    Without a validation split, `validation_share` of the training documents is held out (whole groups when `group_key`
    is set); a share of 0 holds out nothing.

    Raises:
        ValueError: there is no training split, a split is left without documents, the share is outside [0, 1), or a
            sample has less than one document.
    """
    sources = {"train": args.dataset, "validation": args.validation, "test": args.test}
    sources = {name: path for name, path in sources.items() if path}
    dataset = load_ner_dataset(args.dataset if len(sources) == 1 else sources, **args.reading_options())
    if "train" not in dataset:
        raise ValueError(f"{args.dataset} has no training split, only {sorted(dataset)}")
    if "validation" not in dataset:
        dataset = DatasetDict({**dataset, **hold_out(dataset["train"], args)})
    limits = {
        "train": args.max_train_documents,
        "validation": args.max_validation_documents,
        "test": args.max_test_documents,
    }
    return DatasetDict(
        {name: sample(dataset[name], limit, args.sample_seed) for name, limit in limits.items() if name in dataset}
    )


def hold_out(train: Dataset, args: DatasetArguments) -> DatasetDict:
    """Split training documents into `train` and `validation` by `validation_share`; with a share of 0 only `train`.

    Raises:
        ValueError: the share is outside [0, 1), or leaves a split without documents.
    """
    share = args.validation_share
    if not 0 <= share < 1:
        raise ValueError(f"validation_share (--validation-share) is {share}, expected 0 or more and less than 1")
    if not share:
        return DatasetDict({"train": train})
    shares = {"train": 1 - share, "validation": share}
    splits = split_dataset(train, shares, seed=args.sample_seed, group_key=args.group_key)
    if empty := [name for name, split in splits.items() if not len(split)]:
        raise ValueError(
            f"validation_share (--validation-share) is {share}: of {len(train)} documents none is left for "
            f"{empty[0]}; choose another share, or give a validation split (--validation)"
        )
    return splits


def sample(dataset: Dataset, size: int | None, seed: int) -> Dataset:
    """Draw a fixed random sample in the original order; return the whole dataset if `size` is None or not smaller.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size is None or size >= len(dataset):
        return dataset
    if size < 1:
        raise ValueError(f"a sample of {size} documents (--max-train-documents and the like), expected 1 or more")
    return dataset.select(sorted(random.Random(seed).sample(range(len(dataset)), size)))


def entity_types_of(splits: Mapping[str, Dataset]) -> list[str]:
    """Return the sorted entity types of a run: those of `train`, and of `validation` so that it can be scored.

    Warns of types without training documents, and of a validation split without entities.

    Raises:
        ValueError: the training split has no entities.
    """
    types = {name: set(entity_labels(split)) for name, split in splits.items()}
    if not types["train"]:
        raise ValueError(f"none of the {len(splits['train'])} training documents has an entity")
    for name in ("validation", "test"):
        if unknown := sorted(types.get(name, set()) - types["train"]):
            logger.warning(
                "the %s split has entities of types that no training document has, and that the model therefore cannot "
                "learn: %s",
                name,
                ", ".join(unknown),
            )
    if "validation" in types and not types["validation"]:
        logger.warning("the validation split has no entity: its F1 is 0 whatever the model finds, and chooses nothing")
    return sorted(types["train"] | types.get("validation", set()))


def build_lexicon(spec: str, train: Dataset) -> Lexicon:
    """Build the lexicon that a specification names.

    Args:
        spec: parts joined by '+': a file, `ad` (the built-in dermatology words), `ad-notes` (the same and those of the
            profile `notes` of ad-synthetic) or `train` (the surface forms of the entities of the training split).
        train: training split.
    """
    return reduce(Lexicon.union, (_load_lexicon(name.strip(), train) for name in spec.split("+")))


def _load_lexicon(name: str, train: Dataset) -> Lexicon:
    if name in BUILT_IN_WORDS:
        return Lexicon(ad_lexicon(profile=BUILT_IN_WORDS[name]))
    if name == "train":
        return Lexicon.from_documents(
            row["text"][entity["start"] : entity["end"]] for row in train for entity in row["entities"]
        )
    return Lexicon.from_file(name)


def build_tokenizer(args: ModelArguments, train: Dataset) -> AdnerTokenizer:
    """Build a tokenizer with the encoder's vocabulary, or the characters of the training texts, and the lexicon.

    Lexicon words are weighted by their frequency in the training texts (as in SoftLexicon), or with
    `lexicon_counts=False` by the frequencies of the word list.
    """
    options = {} if args.normalize_script else {"script_map": None}
    if args.encoder and args.architecture not in _ARCHITECTURES_WITHOUT_ENCODER:
        tokenizer = AdnerTokenizer.from_pretrained(args.encoder, **options)
    else:
        tokenizer = AdnerTokenizer.from_texts(train["text"], **options)
    if args.lexicon:
        lexicon = build_lexicon(args.lexicon, train)
        counted = lexicon.with_counts(
            train["text"],
            lower_case=tokenizer.do_lower_case,
            script_map=tokenizer.script_map,
            min_documents=args.lexicon_min_documents,
        )
        tokenizer.lexicon = counted if args.lexicon_counts else lexicon
    return tokenizer


def build_model(args: ModelArguments, tokenizer: AdnerTokenizer, types: Sequence[str]) -> AdnerForTokenClassification:
    """Build a new model.

    Args:
        args: encoder, architecture and overrides.
        tokenizer: tokenizer with the lexicon; its `model_max_length` is lowered to what the encoder takes.
        types: entity types.

    Raises:
        ValueError: a malformed or unknown override, word vectors without a lexicon, or a configuration that
            `AdnerConfig` rejects.
    """
    overrides = {"tagging": args.tagging, **parse_overrides(args.config_overrides)}
    if unknown := sorted(overrides.keys() - {field.name for field in fields(AdnerConfig)}):
        raise ValueError(f"config_overrides (--config-overrides): AdnerConfig has no field {unknown[0]!r}")
    _warn_of_lexicon(args, tokenizer)
    try:
        return _new_model(args, tokenizer, types, overrides)
    except StrictDataclassError as error:
        raise ValueError(f"the configuration is invalid (--config-overrides): {error}") from None


def _warn_of_lexicon(args: ModelArguments, tokenizer: AdnerTokenizer) -> None:
    """Warn of a network that reads dictionary words without any, and of words for one that reads none."""
    needed = AdnerConfig(architecture=args.architecture).needs_lexicon
    if needed and not tokenizer.lexicon:
        logger.warning(
            "architecture %s reads dictionary words, and there is no lexicon (--lexicon): it sees characters alone; "
            "give a word list, ad (the built-in words) or train (the entities of the training documents)",
            args.architecture,
        )
    if args.lexicon and not needed:
        logger.warning("architecture %s does not read the words of the lexicon %s", args.architecture, args.lexicon)


def _new_model(args: ModelArguments, tokenizer: AdnerTokenizer, types: Sequence[str], overrides: dict[str, Any]) -> Any:
    if args.word_vectors:
        if tokenizer.lexicon is None:
            raise ValueError("word_vectors needs a lexicon, and none was given")
        vectors, covered = tokenizer.lexicon.vectors_from_file(args.word_vectors)
        logger.info("word vectors cover %d of %d lexicon words", int(covered.sum()), len(tokenizer.lexicon))
        overrides = {"lexicon_embedding_size": vectors.shape[1], **overrides, "word_vectors": vectors}
    if args.architecture in _ARCHITECTURES_WITHOUT_ENCODER:
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
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, types, args.architecture, encoder_config=random_config(args), **overrides
    )
    limit_tokenizer(tokenizer, model)
    return model


def small_encoder(size: int, layers: int) -> dict[str, int | str | float]:
    """Return the configuration of a small randomly initialised BERT with heads of 32 dimensions."""
    return {
        "model_type": "bert",
        "hidden_size": size,
        "num_hidden_layers": layers,
        "num_attention_heads": max(size // 32, 1),
        "intermediate_size": 4 * size,
        "max_position_embeddings": 512,
    }


def random_config(args: ModelArguments) -> dict[str, int | str | float]:
    """Return the configuration of the small randomly initialised encoder.

    Raises:
        ValueError: `encoder_size` or `encoder_layers` is less than 1.
    """
    _check_layers(args)
    if args.encoder_size < 1:
        raise ValueError(f"encoder_size (--encoder-size) is {args.encoder_size}, expected 1 or more")
    return small_encoder(args.encoder_size, args.encoder_layers or 2) | _dropout(args)


def pretrained_config(args: ModelArguments) -> PreTrainedConfig:
    """Return the configuration of the pretrained encoder with `encoder_layers` and `encoder_dropout` applied.

    Raises:
        ValueError: `encoder_layers` is less than 1, or larger than the number of layers of the encoder.
    """
    _check_layers(args)
    config = AutoConfig.from_pretrained(args.encoder)
    for name, value in _dropout(args).items():
        setattr(config, name, value)
    if args.encoder_layers is not None:
        if args.encoder_layers > config.num_hidden_layers:
            raise ValueError(f"encoder_layers={args.encoder_layers}, the encoder has only {config.num_hidden_layers}")
        config.num_hidden_layers = args.encoder_layers
    return config


def _check_layers(args: ModelArguments) -> None:
    if args.encoder_layers is not None and args.encoder_layers < 1:
        raise ValueError(f"encoder_layers (--encoder-layers) is {args.encoder_layers}, expected 1 or more")


def _dropout(args: ModelArguments) -> dict[str, float]:
    if args.encoder_dropout is None:
        return {}
    return {"hidden_dropout_prob": args.encoder_dropout, "attention_probs_dropout_prob": args.encoder_dropout}


def parse_overrides(text: str | None) -> dict[str, object]:
    """Parse `"stream_size=128,word_layer=transformer"` into a dictionary of numbers, booleans and strings.

    Raises:
        ValueError: a part has no '='.
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
