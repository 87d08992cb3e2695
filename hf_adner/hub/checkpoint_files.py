"""Select and check the files of a checkpoint that may be uploaded.

The patterns are allow-lists: any other file stays, such as `private/` (raw explanation statistics and caches, which
may disclose documents) and `training_args.bin` (a pickle with paths, and with the Hub token if it was set).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from hf_adner.explain.global_table import GlobalTable
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.loading_adner import named_errors, read_json_object
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.tokenization_adner import LEXICON_FILE, AdnerTokenizer

TABLE_FOLDER = "global_table"
ONNX_FOLDER = "onnx"
"""Folder of a checkpoint that may hold its export for ONNX Runtime."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

PUBLISHED = (
    "config.json",
    "model*.safetensors",
    "model*.safetensors.index.json",
    "*_adner.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "lexicon.json",
    "script_map.json",
    "assertion_rules.tsv",
    "codes.tsv",
    "global_table/global_table.*",
    "onnx/model.onnx",
    "onnx/decoder.json",
    "onnx/tokenizer.json",
    "onnx/tokenizer_config.json",
    "onnx/lexicon.json",
    "onnx/script_map.json",
    "onnx/assertion_rules.tsv",
    "onnx/codes.tsv",
    "README.md",
    "LICENSE",
)
"""Patterns of the files of a published checkpoint, relative to its folder."""

RESUMED = (
    *PUBLISHED,
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "raw_weights.safetensors",
    "trainer_state.json",
    "pytorch_model*",
    "pytorch_model*/*",
    "optimizer*/*",
    "global_step*/*",
    "latest",
)
"""Patterns of the files that the Trainer resumes from, with FSDP and DeepSpeed too."""


def checkpoint_to_publish(folder: Path, allow_document_lexicon: bool = False) -> list[str]:
    """Check a checkpoint and return its files to publish, relative to its folder.

    Args:
        folder: where model and tokenizer were saved.
        allow_document_lexicon: allow a lexicon that was made from documents.

    Raises:
        FileNotFoundError: configuration, weights, tokenizer, lexicon or code is missing.
        ValueError: another kind of model, files that are damaged or do not belong together, a lexicon made from
            documents, a global table that names documents, or an ONNX export of another checkpoint.
    """
    config = _read(folder, "config.json")
    if config.get("model_type") != "adner":
        raise ValueError(f"{folder} holds a model of type {config.get('model_type')!r}, expected 'adner'")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise FileNotFoundError(f"{folder} has no weights, expected {' or '.join(WEIGHTS)}")
    _check_lexicon(folder, _read(folder, "tokenizer_config.json"), allow_document_lexicon)
    _check_code(folder, config)
    _check_table(folder / TABLE_FOLDER)
    _check_export(folder)
    _check_loading(folder)
    return published_files(folder)


def published_files(folder: Path) -> list[str]:
    """Return the files of a published checkpoint, relative to its folder and sorted."""
    return [name for name in _files(folder) if is_published(name)]


def is_published(name: str) -> bool:
    """Return whether a file name, relative to the checkpoint's folder, is one of a published checkpoint."""
    return _matches(name, PUBLISHED)


def resumed_files(folder: Path) -> list[str]:
    """Return the files from which training is resumed, relative to the checkpoint's folder and sorted."""
    return [name for name in _files(folder) if _matches(name, RESUMED)]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {name}: save model and tokenizer there with save_pretrained")
    return read_json_object(path)


def _check_lexicon(folder: Path, tokenizer: dict[str, Any], allow: bool) -> None:
    if tokenizer.get("lexicon_hash") is None:
        return
    if not (folder / LEXICON_FILE).is_file():
        raise FileNotFoundError(f"{folder} has no {LEXICON_FILE}, which its tokenizer was saved with")
    lexicon = Lexicon.load(folder / LEXICON_FILE)
    if not lexicon.has_hash(tokenizer["lexicon_hash"]):
        raise ValueError(f"{folder}: {LEXICON_FILE} is not the word list that the tokenizer was saved with")
    lexicon.check_shareable(allow)


def _check_code(folder: Path, config: dict[str, Any]) -> None:
    """Check that the code files named in `config.json` are there, with all files that they import."""
    with named_errors(str(folder / "config.json")):
        references = [*config.get("auto_map", {}).values()]
        references += [pipeline["impl"] for pipeline in config.get("custom_pipelines", {}).values()]
        names = (reference if isinstance(reference, str) else reference[0] for reference in references)
        modules = {name.partition(".")[0] for name in names}
    try:
        imported = {name for module in modules for name in get_relative_import_files(folder / f"{module}.py")}
        missing = sorted(Path(name).name for name in imported if not Path(name).is_file())
    except FileNotFoundError as error:
        missing = [Path(error.filename).name]
    if missing or not modules:
        raise FileNotFoundError(
            f"{folder} lacks code that is needed without the package ({', '.join(missing) or 'all of it'}); "
            "load the checkpoint and save it again"
        )


def _check_table(folder: Path) -> None:
    if folder.is_dir() and GlobalTable.load(folder).min_documents is None:
        raise ValueError(f"{folder} holds a raw table, which names documents; replace it by table.publish()")


def _check_export(folder: Path) -> None:
    """Check that an ONNX export has lexicon and calibration of the checkpoint, whose lexicon was found shareable."""
    export = folder / ONNX_FOLDER
    if not export.is_dir():
        return
    decoder, config = _read(export, "decoder.json"), _read(folder, "config.json")
    words = [(path / LEXICON_FILE).read_bytes() for path in (folder, export) if (path / LEXICON_FILE).is_file()]
    is_other = len(words) == 1 or len(set(words)) == 2 or decoder.get("calibration") != config.get("calibration")
    if is_other:
        raise ValueError(
            f"{export} is not of this checkpoint (another lexicon or calibration): export it again, or remove it"
        )


def _check_loading(folder: Path) -> None:
    """Load everything as a user of the checkpoint will: what is damaged is better told before the upload."""
    AdnerForTokenClassification.from_pretrained(folder).check_tokenizer(AdnerTokenizer.from_pretrained(folder))
