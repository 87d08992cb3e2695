"""Check the name of a checkpoint before any work: a folder, or a model in the cache or on the Hub."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi, scan_cache_dir, try_to_load_from_cache
from huggingface_hub.errors import CacheNotFound, HFValidationError

from hf_adner.data.hub_question import TIMEOUT, ask_hub

CONFIG_FILE = "config.json"
KNOWN = ("hfl/chinese-macbert-base", "hfl/chinese-macbert-large", "hfl/chinese-roberta-wwm-ext", "bert-base-chinese")
"""Encoders that are often meant, for suggestions."""


def check_checkpoint_name(name: str | None, revision: str | None = None) -> None:
    """Check that a checkpoint can be had; None passes.

    A name is a path if it begins with `/`, `./`, `../` or `~`, or has more than one `/`. Any other is that of a folder,
    of a model in the cache, or of one on the Hub, which is asked once.

    Args:
        name: folder or Hub name.
        revision: of a Hub name; None: the main branch.

    Raises:
        FileNotFoundError: there is no such folder, nor a model of that name on the Hub, or it is not in the cache and
            the Hub must not be asked (`HF_HUB_OFFLINE`).
        NotADirectoryError: it is a file.
        PermissionError: the model is gated and has not been granted.
        ConnectionError: it is not in the cache, and the Hub cannot be reached.
    """
    if name is None or Path(name).is_dir():
        return
    if Path(name).is_file():
        raise NotADirectoryError(f"{name} is a file, expected the folder of a checkpoint or a Hub name")
    if name.startswith(("/", "./", "../", "~")) or name in (".", "..") or name.count("/") > 1:
        raise FileNotFoundError(f"there is no folder {name}; expected that of a checkpoint, or a Hub name owner/name")
    try:
        if isinstance(try_to_load_from_cache(name, CONFIG_FILE, revision=revision or "main"), str):
            return
        _ask(name, revision)
    except HFValidationError:
        raise FileNotFoundError(f"there is no folder {name!r}, and it is no Hub name (owner/name) either") from None


def _ask(name: str, revision: str | None) -> None:
    """Ask the Hub whether there is a model."""
    question = partial(HfApi().model_info, name, revision=revision, timeout=TIMEOUT)
    nowhere = f"there is no folder {name}, and the model is not in the cache"
    ask_hub(question, "model", nowhere, revision, partial(_suggestion, name))


def _suggestion(name: str) -> str:
    """Return a hint at a model in the cache, or one that is often used, of nearly the same name."""
    try:
        cached = [repository.repo_id for repository in scan_cache_dir().repos if repository.repo_type == "model"]
    except (CacheNotFound, OSError):
        cached = []
    close = get_close_matches(name, [*cached, *KNOWN], n=1, cutoff=0.8)
    return f"; did you mean {close[0]}?" if close and close[0] != name else ""
