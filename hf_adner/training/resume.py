"""Which checkpoint a run resumes from, and whether that checkpoint is of the same run.

`checkpoint_to_resume` finds the checkpoint that the arguments name; `CheckedResume` is the `Trainer` that goes on from
it only with the labels, tokenizer, lexicon, architecture and data that it was made with.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from hf_adner.files import read_json, write_json

logger = logging.getLogger(__name__)

MODEL_FOLDER = "model"
METRICS_FILE = "metrics.json"
RUN_FILE = "run.json"
"""File of a checkpoint that says what its run reads; it stays with the checkpoint and is never pushed."""

_TOLD = 8  # differences that an error lists
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\Z")
_RESULTS = (METRICS_FILE, MODEL_FOLDER, "config.json", "model.safetensors")
_WEIGHTS = ("*model*.safetensors*", "pytorch_model*", "global_step*")
_KEPT = ("learning_rate", "head_learning_rate", "crf_learning_rate", "weight_decay", "seed")
"""Training arguments whose change a resumed run does not follow, or follows only from its next epoch on."""

_BOOKKEEPING = {
    "transformers_version", "architectures", "dtype", "_name_or_path", "auto_map", "custom_pipelines", "label2id",
    "lexicon_hash", "script_hash", "use_cache", "output_attentions", "output_hidden_states", "return_dict",
    "format_version", "calibration",
}  # fmt: skip
"""Fields of a configuration that say nothing about the network; labels and lexicon are compared by themselves."""


def checkpoint_to_resume(args: Any) -> str | None:
    """Return the checkpoint to resume from (`auto`: the last complete one in `output_dir`), or None for a new run.

    Args:
        args: `TrainingArguments` with `output_dir` and `resume_from_checkpoint`.

    Raises:
        FileExistsError: a new run would write into the folder of an earlier one, or into that of a model.
        FileNotFoundError: there is no such checkpoint.
        ValueError: a checkpoint is incomplete or damaged.
    """
    folder, asked = Path(args.output_dir), args.resume_from_checkpoint
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, expected a folder (output_dir, --output-dir)")
    if asked and asked != "auto":
        return str(_complete(Path(asked)))
    if asked and (last := last_checkpoint(folder)):
        return last
    results = [name for name in _RESULTS if (folder / name).exists()]
    results += [path.name for path in _checkpoints(folder)]
    if results and asked:
        raise FileExistsError(
            f"{folder} holds {results[0]}, but no checkpoint to continue from; choose another --output-dir"
        )
    if results:
        raise FileExistsError(
            f"{folder} holds an earlier run or a model ({results[0]}); continue a run with --resume-from-checkpoint "
            "auto, or choose another --output-dir"
        )
    return None


def last_checkpoint(folder: str | Path) -> str | None:
    """Return the last complete checkpoint of a run, and log which later ones are passed over; None if there is none.

    Raises:
        ValueError: there are checkpoints, but none is complete.
    """
    found = _checkpoints(Path(folder))
    faults = {}
    for checkpoint in found:
        fault = checkpoint_fault(checkpoint)
        if fault is None:
            return str(checkpoint)
        faults[checkpoint.name] = fault
        logger.warning("%s is passed over: %s", checkpoint, fault)
    if faults:
        told = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
        raise ValueError(f"no checkpoint in {folder} can be resumed ({told}); remove them to begin anew")
    return None


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the last one first."""
    paths = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    steps = {path: int(match[1]) for path in paths if (match := _CHECKPOINT.match(path.name))}
    return sorted(steps, key=steps.__getitem__, reverse=True)


def _complete(checkpoint: Path) -> Path:
    if not checkpoint.is_dir():
        raise FileNotFoundError(
            f"there is no checkpoint {checkpoint} (resume_from_checkpoint, --resume-from-checkpoint); expected a "
            "folder such as checkpoint-100, or auto"
        )
    if fault := checkpoint_fault(checkpoint):
        raise ValueError(f"{checkpoint} cannot be resumed: {fault}; resume from an earlier checkpoint")
    return checkpoint


def checkpoint_fault(checkpoint: Path) -> str | None:
    """Return why a checkpoint cannot be resumed, or None: a file is missing, cut short or unreadable.

    The Trainer writes `trainer_state.json` last, so a checkpoint without it was interrupted.
    """
    state = checkpoint / TRAINER_STATE_NAME
    if not state.is_file():
        return f"it has no {TRAINER_STATE_NAME}, so saving it was interrupted"
    try:
        loaded = TrainerState.load_from_json(str(state))
        sound = isinstance(loaded.global_step, int) and isinstance(loaded.log_history, list)
    except (ValueError, TypeError, RecursionError) as error:
        return f"{TRAINER_STATE_NAME} is damaged ({error})"
    if not sound:
        return f"{TRAINER_STATE_NAME} is damaged (global_step or log_history)"
    if not any(next(checkpoint.glob(pattern), None) for pattern in _WEIGHTS):
        return "it has no weights"
    damaged = [path.name for path in sorted(checkpoint.iterdir()) if not _is_whole(path)]
    return f"{damaged[0]} is cut short or damaged" if damaged else None


def _is_whole(path: Path) -> bool:
    """Whether a file of tensors has its header and its end; other files are taken as they are."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt"):
                return True
        except (SafetensorError, OSError):
            return False
    return path.suffix not in {".pt", ".pth", ".bin"} or path.is_dir() or zipfile.is_zipfile(path)


class CheckedResume(Trainer):
    """A `Trainer` that resumes only from a complete checkpoint of the same run.

    Labels, tokenizer, lexicon, architecture, settings and data of the checkpoint are compared with those of the run.
    Batch size, epochs, evaluation and saving may change.

    Attributes:
        data_settings: settings that the rows come from; they explain a difference of the rows.
    """

    data_settings: Mapping[str, Any] = {}

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `Trainer` does.

        Args:
            resume_from_checkpoint: folder of a checkpoint, or True for the last complete one in `output_dir`.
            args, kwargs: as for `Trainer.train`.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: the checkpoint is incomplete, damaged or of another run; says what differs.
        """
        checkpoint = resume_from_checkpoint or None
        if checkpoint is True:
            checkpoint = last_checkpoint(self.args.output_dir)
            if checkpoint is None:
                raise ValueError(f"there is no checkpoint in {self.args.output_dir} to resume from (output_dir)")
        if checkpoint is not None:
            self._check_resumed(_complete(Path(checkpoint)))
        return super().train(checkpoint, *args, **kwargs)

    def learned_settings(self) -> dict[str, Any]:
        """Return the settings, beside configuration and data, that a resumed run must share with its checkpoint."""
        return {}

    def _check_resumed(self, checkpoint: Path) -> None:
        model = self.accelerator.unwrap_model(self.model)
        differences = tokenizer_differences(checkpoint, self.processing_class)
        differences += config_differences(checkpoint, getattr(model, "config", None))
        differences = differences or self._run_differences(checkpoint)  # of another model, the rows differ as well
        if differences:
            more = [f"and {len(differences) - _TOLD} more"] if len(differences) > _TOLD else []
            raise ValueError(
                f"{checkpoint} is of another run (checkpoint → now): {'; '.join([*differences[:_TOLD], *more])}. "
                "Resume it with the data and arguments that it was made with, or train anew in another output_dir "
                "(--output-dir)"
            )
        if not any(next(checkpoint.glob(pattern), None) for pattern in ("optimizer*", "global_step*")):
            logger.warning("%s has no optimizer state: optimizer and learning-rate schedule begin anew", checkpoint)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse weights that are not the model's; `Trainer` trains on with those that happen to be there."""
        tied = {*getattr(self.model, "all_tied_weights_keys", ()), *(self.model._keys_to_ignore_on_save or ())}
        wrong = sorted({*load_result.missing_keys, *load_result.unexpected_keys} - tied)
        if wrong:
            raise ValueError(
                f"the weights of the checkpoint are not those of the model: {len(wrong)} are missing or superfluous "
                f"({', '.join(wrong[:3])}); restore the checkpoint, or resume from another one"
            )
        super()._issue_warnings_after_load(load_result)

    def _run_facts(self) -> dict[str, Any]:
        if not hasattr(self, "_facts_of_run"):
            self._facts_of_run = {"train": rows_facts(self.train_dataset), "validation": rows_facts(self.eval_dataset)}
        settings = {"settings": self.learned_settings(), "data_settings": dict(self.data_settings)}
        kept = {name: getattr(self.args, name) for name in _KEPT if hasattr(self.args, name)}
        return json.loads(json.dumps({**self._facts_of_run, **settings, "arguments": kept}, default=str))

    def _run_differences(self, checkpoint: Path) -> list[str]:
        path = checkpoint / RUN_FILE
        if not path.is_file():
            logger.warning("%s has no %s: whether its data are those of this run is not known", checkpoint, RUN_FILE)
            return []
        then, now = read_json(path), self._run_facts()
        arguments = _changes(then.get("arguments"), now["arguments"])
        if arguments:
            logger.warning(
                "resumed with other arguments than %s was made with (%s); its optimizer keeps its learning rates and "
                "weight decay, and the order of the epoch changes with the seed",
                checkpoint,
                "; ".join(arguments),
            )
        differences = _changes(then.get("settings"), now["settings"])
        rows = [name for name in ("train", "validation") if None not in (then.get(name), now[name])]
        changed = [f"{name} data: {_told(then[name])} → {_told(now[name])}" for name in rows if then[name] != now[name]]
        return differences + changed + (_changes(then.get("data_settings"), now["data_settings"]) if changed else [])

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        with _naming(folder):
            if self.args.should_save:
                (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)  # until it is written again, this is incomplete
                write_json(folder / RUN_FILE, self._run_facts())
            super()._save_checkpoint(model, trial)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and tokenizer as `Trainer` does.

        Raises:
            OSError: the folder cannot be written; names it.
        """
        with _naming(Path(output_dir or self.args.output_dir)):
            super().save_model(output_dir, _internal_call)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name the folder in the errors of writing tensors, which know neither file nor reason."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno not in _FULL:
            raise
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        raise OSError(
            f"{folder} could not be written ({error}); make room, then continue from the last complete checkpoint "
            "with --resume-from-checkpoint auto"
        ) from error


def config_differences(checkpoint: Path, config: PreTrainedConfig | None) -> list[str]:
    """Return what differs between a checkpoint's configuration and that of the model, as "name: then → now".

    Raises:
        ValueError: `config.json` is no configuration.
    """
    path = checkpoint / "config.json"
    if config is None or not path.is_file():
        return []
    then = read_json(path).get("model_type")
    if then != config.model_type:
        return [f"model_type: {then} → {config.model_type}"]
    saved = type(config).from_pretrained(checkpoint)
    return _labels_changed(saved, config) + _config_changes(saved.to_dict(), config.to_dict())


def _labels_changed(then: PreTrainedConfig, now: PreTrainedConfig) -> list[str]:
    before, after = ([config.id2label[index] for index in sorted(config.id2label)] for config in (then, now))
    if before == after:
        return []
    lost, new = ([name for name in one if name not in other] for one, other in ((before, after), (after, before)))
    if not lost and not new:
        return ["labels: the same in another order"]
    return [f"labels: {', '.join(lost) or 'none'} → {', '.join(new) or 'none'}"]


def _config_changes(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the fields of both configurations that differ; those of one alone are of another version."""
    changes = []
    for name in sorted((then.keys() & now.keys()) - _BOOKKEEPING - {"id2label"}):
        if isinstance(then[name], Mapping) and isinstance(now[name], Mapping):
            changes += _config_changes(then[name], now[name], f"{prefix}{name}.")
        elif then[name] != now[name] and not name.endswith("_token_id"):
            changes.append(f"{prefix}{name}: {_shown(then[name])} → {_shown(now[name])}")
    return changes


def _shown(value: Any) -> str:
    return "given" if isinstance(value, Mapping) else str(value)


def tokenizer_differences(checkpoint: Path, tokenizer: Any) -> list[str]:
    """Return what differs between a checkpoint's tokenizer and another one: vocabulary, rules, lexicon."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not (checkpoint / "tokenizer_config.json").is_file():
        return []
    saved = type(tokenizer).from_pretrained(checkpoint)
    before, after = saved.get_vocab(), tokenizer.get_vocab()
    differences = []
    if before != after:
        first = next(token for token in (*before, *after) if before.get(token) != after.get(token))
        differences = [f"vocabulary: {len(before)} → {len(after)} entries, the first that differs is {first[:10]!r}"]
    elif saved.is_fast and _rules(saved) != _rules(tokenizer):
        differences = ["tokenizer: the same vocabulary with other rules"]
    if getattr(saved, "script_hash", None) != getattr(tokenizer, "script_hash", None):
        differences.append("script map: characters are read as others (--normalize_script)")
    words, counts = ([_words(one, name) for one in (saved, tokenizer)] for name in ("words", "frequencies"))
    if words[0] != words[1]:
        differences.append(f"lexicon: {len(words[0])} → {len(words[1])} words")
    elif counts[0] != counts[1]:
        differences.append("lexicon: the same words with other frequencies")
    return differences


def _rules(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: rule for name, rule in rules.items() if name not in ("padding", "truncation")}


def _words(tokenizer: Any, name: str) -> tuple:
    return getattr(getattr(tokenizer, "lexicon", None), name, ())


def rows_facts(rows: Any) -> dict[str, Any] | None:
    """Return number, tokens and a digest of encoded rows; None without rows, or where they are a stream.

    Args:
        rows: rows with `input_ids` and, if any, `labels`; or a mapping of names to such rows.
    """
    if isinstance(rows, Mapping):
        facts = {name: rows_facts(part) for name, part in rows.items()}
        return {"digest": json.dumps(facts, sort_keys=True)}
    if rows is None or not hasattr(rows, "__len__") or not len(rows) or "input_ids" not in rows[0]:
        return None
    hashed, tokens = blake2b(digest_size=8), 0
    for row in _token_columns(rows):
        arrays = [np.asarray(column, dtype=np.int64) for column in row]
        tokens += arrays[0].size
        for array in arrays:
            hashed.update(array.size.to_bytes(8, "little") + array.tobytes())
    return {"rows": len(rows), "tokens": tokens, "digest": hashed.hexdigest()}


def _token_columns(rows: Any) -> Iterator[tuple]:
    names = [name for name in ("input_ids", "labels") if name in rows[0]]
    if isinstance(rows, Dataset):
        for batch in rows.select_columns(names).with_format("numpy").iter(1000):
            yield from zip(*(batch[name] for name in names), strict=True)
    else:
        yield from (tuple(rows[index][name] for name in names) for index in range(len(rows)))


def _told(facts: Mapping[str, Any]) -> str:
    if "rows" not in facts:
        return "other rows"
    return f"{facts['rows']} rows of {facts['tokens']} tokens (digest {facts['digest'][:8]})"


def _changes(then: Any, now: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ, as "name: then → now"; `then` may be None, of an older version."""
    if not isinstance(then, Mapping):
        return []
    names = [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]
    return [f"{name}: {then.get(name)} → {now.get(name)}" for name in names]
