"""Loading a checkpoint: whatever is missing, superfluous or damaged is refused by file and name.

transformers fills missing weights at random and drops superfluous ones, both with no more than a warning, and of a
damaged file it raises whatever its reader stumbled over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
RESTORE = "restore it from a copy, or save the checkpoint again"
RESTORE_ALL = (
    "Restore config.json and the weights from one saved checkpoint; to train the weights that do not fit anew, pass "
    "ignore_mismatched_sizes=True"
)


class CheckpointError(ValueError):
    """A file of a checkpoint is missing, damaged or does not fit the others; the message names it."""


@contextmanager
def named_errors(place: str) -> Iterator[None]:
    """Turn whatever the reading of a damaged file raises into an error that names the file.

    Args:
        place: the file, or those that it can be.

    Raises:
        CheckpointError: in place of any error but `OSError` and `ImportError`, which tell what is missing themselves.
    """
    try:
        yield
    except (CheckpointError, OSError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        if not isinstance(error, ValueError):
            reason = f"{type(error).__name__} {reason}"
        raise CheckpointError(f"{place} cannot be read: {reason}; {RESTORE}") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is not JSON, or not a JSON object.
    """
    with named_errors(str(path)):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected a JSON object; {RESTORE}")
    return content


def write_atomically(path: Path, text: str) -> None:
    """Write a file of a checkpoint so that it is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_tokenizer_files(folder: Path) -> None:
    """Check that the JSON files of a tokenizer are JSON objects that belong together; absent ones are passed over.

    Raises:
        CheckpointError: one of them is not, or `tokenizer.json` is that of an `AdnerTokenizer` and lower-cases where
            `tokenizer_config.json` does not say so, or the other way round.
    """
    files = {name: read_json_object(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()}
    backend, settings = files.get("tokenizer.json", {}), files.get("tokenizer_config.json", {})
    if backend.get("pre_tokenizer") != {"type": "FixedLength", "length": 1}:
        return
    lowers = '"Lowercase"' in json.dumps(backend.get("normalizer"))
    if settings.get("do_lower_case") is not lowers:
        raise CheckpointError(
            f"{folder}: tokenizer.json {'lower-cases' if lowers else 'keeps capitals'}, but do_lower_case of "
            f"tokenizer_config.json is {settings.get('do_lower_case', 'missing')}; {RESTORE}"
        )


def check_model_files(folder: Path, needs_config: bool = True) -> None:
    """Check that `config.json` and the safetensors files of a model are there, whole and readable.

    Args:
        folder: of the checkpoint.
        needs_config: whether to check `config.json`.

    Raises:
        FileNotFoundError: `config.json`, or a file that the index names, is missing.
        CheckpointError: a file is damaged.
    """
    if needs_config:
        read_json_object(folder / CONFIG_FILE)
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                file.keys()
        except SafetensorError as error:
            raise CheckpointError(f"{path} is damaged or incomplete ({error}); {RESTORE}") from error


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        return []
    shards = read_json_object(folder / INDEX_FILE).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise CheckpointError(f"{folder / INDEX_FILE}: weight_map must name the file of each weight; {RESTORE}")
    missing = sorted(name for name in set(shards.values()) if not (folder / name).is_file())
    if missing:
        raise FileNotFoundError(f"{folder} lacks {missing[0]}, which {INDEX_FILE} names; {RESTORE}")
    return [folder / name for name in sorted(set(shards.values()))]


class CheckedModel(PreTrainedModel):
    """A model whose `from_pretrained` refuses a checkpoint that does not hold exactly its weights."""

    weights_of_heads: tuple[str, ...] = ()
    """Prefixes of the weights of heads, which a checkpoint may have in addition."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *args: Any, **kwargs: Any):
        """Load like the base class.

        Args:
            pretrained_model_name_or_path, args, kwargs: as for the base class; with `ignore_mismatched_sizes=True`
                weights that the checkpoint lacks or has in another shape start at random (for training a new head).

        Raises:
            FileNotFoundError: `config.json`, or a file of the weights, is missing.
            CheckpointError: a file is damaged, or a weight is missing, superfluous, of another shape or not finite.
        """
        ignore = kwargs.pop("ignore_mismatched_sizes", False)
        output_loading_info = kwargs.pop("output_loading_info", False)
        _check_local_files(pretrained_model_name_or_path, kwargs)
        options = {"ignore_mismatched_sizes": True, "output_loading_info": True, **kwargs}
        try:
            model, report = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        except SafetensorError as error:
            message = f"{pretrained_model_name_or_path}: the weights are damaged ({error}); {RESTORE}"
            raise CheckpointError(message) from error
        if not ignore:
            own = [key for key in report["unexpected_keys"] if not key.startswith(cls.weights_of_heads)]
            _refuse(pretrained_model_name_or_path, model, {**report, "unexpected_keys": own})
        return (model, report) if output_loading_info else model


def load_complete(auto_class: Any, name_or_path: str | os.PathLike[str], new_head: bool = False, **kwargs: Any) -> Any:
    """Load any pretrained model, of ours or not, that must have its weights.

    Args:
        auto_class: a class with `from_pretrained`.
        name_or_path: a folder or Hub name.
        new_head: the weights outside the encoder may be missing, and then start at random. (A pooler, which token
            classification does not use, may always be missing.)
        kwargs: of `from_pretrained`.

    Raises:
        FileNotFoundError, CheckpointError: as `CheckedModel.from_pretrained`; superfluous weights of other models, such
            as the head of pretraining, are ignored.
    """
    _check_local_files(name_or_path, kwargs)
    ignore = kwargs.pop("ignore_mismatched_sizes", False)
    options = {"ignore_mismatched_sizes": True, "output_loading_info": True, **kwargs}
    model, report = auto_class.from_pretrained(name_or_path, **options)
    encoder = f"{model.base_model_prefix}." if new_head else ""
    missing = [key for key in report["missing_keys"] if key.startswith(encoder) and "pooler" not in key]
    superfluous = report["unexpected_keys"] if isinstance(model, CheckedModel) else ()
    if not ignore:
        _refuse(name_or_path, model, {**report, "missing_keys": missing, "unexpected_keys": superfluous})
    return model


def _check_local_files(name_or_path: str | os.PathLike[str] | None, kwargs: dict[str, Any]) -> None:
    folder = Path(name_or_path or "") / kwargs.get("subfolder", "")
    if name_or_path is not None and any((folder / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE)):
        check_model_files(folder, needs_config=kwargs.get("config") is None)


def _refuse(place: Any, model: nn.Module, report: dict[str, Any]) -> None:
    """Refuse a model that was loaded from weights which are not its own, according to transformers' report."""
    faults = [
        f"{word} {_names(report[key])}"
        for word, key in (("lacks", "missing_keys"), ("has superfluous", "unexpected_keys"))
        if report[key]
    ]
    for name, found, expected in sorted(report["mismatched_keys"]):
        faults.append(f"{name} has shape {tuple(found)} where {CONFIG_FILE} says {tuple(expected)}")
    if not faults and (wrong := _not_finite(model)):
        faults.append(f"{_names(wrong)} not finite (nan or infinity)")
    if faults:
        raise CheckpointError(
            f"{place} does not hold the weights of its {type(model).__name__}: {'; '.join(faults[:3])}. {RESTORE_ALL}"
        )


def _names(names: Sequence[str]) -> str:
    shown = sorted(names)[:3]
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} weight{'s' * (len(names) > 1)} ({', '.join(shown)}{others})"


def _not_finite(model: nn.Module) -> list[str]:
    """Return the names of weights with nan or infinity; none with several processes, which may share the weights."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return []
    weights = ((name, value) for name, value in model.state_dict().items() if value.is_floating_point())
    return [name for name, value in weights if not value.is_meta and not value.isfinite().all()]
