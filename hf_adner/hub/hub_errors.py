"""What the Hub refuses, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@contextmanager
def plain_errors(repo_id: str) -> Iterator[None]:
    """Turn errors of requests about a repository into built-in ones with a plain message.

    Raises:
        ConnectionError: the Hub cannot be reached, or offline mode is on.
        PermissionError: no token, one that the Hub does not accept, or one that may not do this.
        FileNotFoundError: no such repository or revision.
        OSError: the repository changed while it was written to, or any other refusal.
    """
    try:
        yield
    except (LocalTokenNotFoundError, OfflineModeIsEnabled, HTTPError) as error:
        raise _plain(error, repo_id) from error
    except RuntimeError as error:
        if not isinstance(error.__cause__, HTTPError):
            raise
        raise _plain(error.__cause__, repo_id) from error  # of one upload among several


def _plain(error: Exception, repo_id: str) -> OSError:
    if isinstance(error, LocalTokenNotFoundError):
        return PermissionError("no Hub token: log in with `hf auth login`, or set HF_TOKEN")
    if isinstance(error, OfflineModeIsEnabled):
        return ConnectionError("offline mode is on: unset HF_HUB_OFFLINE to use the Hub")
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, repo_id)
    return ConnectionError(
        f"no connection to {constants.ENDPOINT} ({error}); what was not committed is not in {repo_id}"
    )


def _refusal(error: HfHubHTTPError, repo_id: str) -> OSError:
    status, told = error.response.status_code, error.server_message or "no reason given"
    if isinstance(error, RevisionNotFoundError):
        return FileNotFoundError(f"{repo_id} has no such branch, tag or commit: {told}")
    if isinstance(error, RepositoryNotFoundError):
        return FileNotFoundError(f"{repo_id} does not exist, or is private and not open to this token")
    if status == 401:
        return PermissionError("the Hub does not accept the token: log in with `hf auth login`, or mend HF_TOKEN")
    if status == 403:
        return PermissionError(f"the token may not write to {repo_id}: {told}")
    if status in (409, 412):
        return OSError(f"{repo_id} changed while it was written to: {told} Push again")
    return OSError(f"{repo_id}: the Hub answered {status}: {told}")
