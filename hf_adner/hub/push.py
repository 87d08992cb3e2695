"""Push a checkpoint to the Hub, with error messages that say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, constants
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hf_adner.cards.card import CARD_FILE, card_for
from hf_adner.hub.checkpoint_files import checkpoint_to_publish, is_published

_NEVER_DELETED = (CARD_FILE, "LICENSE")
"""Often edited on the Hub itself."""


def push_checkpoint(
    checkpoint: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload checkpoint",
    token: str | None = None,
    create_pr: bool = False,
    allow_document_lexicon: bool = False,
) -> CommitInfo:
    """Push all files of a checkpoint in one commit.

    These are weights, configuration, code, tokenizer, lexicon, the published global table, the explainer head and the
    card, in whose examples the repository is named; never `private/` or any other file of the folder. Files of an
    earlier checkpoint that this one does not have are deleted in the same commit. The commit is created after all
    weights have been uploaded: an interrupted push leaves the revision unchanged.

    Args:
        checkpoint: the folder of a saved checkpoint.
        repo_id: `owner/name`, or a name in your own namespace; created if it does not exist.
        private: whether a new repository is private; None takes your namespace's default.
        revision: branch to push to, created from `main` if it does not exist.
        commit_message: first line of the commit message.
        token: Hub token; None takes the one you are logged in with.
        create_pr: open a pull request instead.
        allow_document_lexicon: push a lexicon that was made from documents too.

    Returns:
        The commit; its `oid` is the revision to pin.

    Raises:
        FileNotFoundError: the checkpoint is incomplete.
        ValueError: another kind of model, a lexicon made from documents, or a repository that is public although
            `private=True`, or that holds another kind of model.
        ConnectionError, PermissionError, OSError: see `plain_errors`.
    """
    folder = Path(checkpoint)
    names = checkpoint_to_publish(folder, allow_document_lexicon)
    api = HfApi(token=token, library_name="hf_adner")
    with plain_errors(repo_id):
        repo_id = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        _prepare(api, repo_id, private, revision)
        before = api.model_info(repo_id, revision=revision)
        return api.create_commit(
            repo_id,
            [*_additions(folder, names, repo_id), *_deletions(before, names)],
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
            parent_commit=before.sha,
        )


@contextmanager
def plain_errors(repo_id: str) -> Iterator[None]:
    """Convert Hub errors about a repository to built-in exceptions with a plain message.

    Raises:
        ConnectionError: the Hub cannot be reached, or offline mode is on.
        PermissionError: the token is missing, invalid or has no write access.
        FileNotFoundError: no such repository or revision.
        OSError: the repository changed during the push, or any other HTTP error.
    """
    try:
        yield
    except (LocalTokenNotFoundError, OfflineModeIsEnabled, HTTPError) as error:
        raise _builtin_error(error, repo_id) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, HTTPError):
            raise
        raise _builtin_error(error.__cause__, repo_id) from error  # one of several uploads failed


def _builtin_error(error: Exception, repo_id: str) -> OSError:
    if isinstance(error, LocalTokenNotFoundError):
        return PermissionError("no Hub token: log in with `hf auth login`, or set HF_TOKEN")
    if isinstance(error, OfflineModeIsEnabled):
        return ConnectionError("offline mode is on: unset HF_HUB_OFFLINE to use the Hub")
    if isinstance(error, HfHubHTTPError):
        return _http_error(error, repo_id)
    return ConnectionError(
        f"no connection to {constants.ENDPOINT} ({error}); what was not committed is not in {repo_id}"
    )


def _http_error(error: HfHubHTTPError, repo_id: str) -> OSError:
    status, reason = error.response.status_code, error.server_message or "no reason given"
    if isinstance(error, RevisionNotFoundError):
        return FileNotFoundError(f"{repo_id} has no such branch, tag or commit: {reason}")
    if isinstance(error, RepositoryNotFoundError):
        return FileNotFoundError(f"{repo_id} does not exist, or is private and not open to this token")
    if status == 401:
        return PermissionError("the Hub does not accept the token: log in with `hf auth login`, or correct HF_TOKEN")
    if status == 403:
        return PermissionError(f"the token may not write to {repo_id}: {reason}")
    if status in (409, 412):
        return OSError(f"{repo_id} changed during the push: {reason} Push again")
    return OSError(f"{repo_id}: the Hub answered {status}: {reason}")


def _prepare(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> None:
    """Check the repository, or create it; create the branch if it is missing."""
    try:
        _check_repository(api.model_info(repo_id), private)
    except RepositoryNotFoundError:
        api.create_repo(repo_id, private=private, exist_ok=True)
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)


def _check_repository(info: ModelInfo, private: bool | None) -> None:
    if private and not info.private:
        raise ValueError(f"{info.id} exists and is public, but private=True; make it private or use another repository")
    model_type = (info.config or {}).get("model_type", "adner")
    if model_type != "adner":
        raise ValueError(f"{info.id} exists and holds a model of type {model_type!r}; push to another repository")


def _additions(folder: Path, names: list[str], repo_id: str) -> list[CommitOperationAdd]:
    cards = {CARD_FILE: card_for(folder / CARD_FILE, repo_id)} if CARD_FILE in names else {}
    return [CommitOperationAdd(name, cards.get(name, folder / name)) for name in names]


def _deletions(before: ModelInfo, names: list[str]) -> list[CommitOperationDelete]:
    stale = {sibling.rfilename for sibling in before.siblings or ()} - set(names)
    return [CommitOperationDelete(name) for name in sorted(stale) if is_published(name) and name not in _NEVER_DELETED]
