"""Ask the Hub once whether it has a repository, and say at once why it cannot be had.

Loading what cannot be had retries for minutes, and then says that something with a file went wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

TIMEOUT = 10.0
"""Seconds to wait for the Hub."""


def ask_hub(
    question: Callable[[], Any],
    kind: str,
    nowhere: str,
    revision: str | None = None,
    suggestion: Callable[[], str] = str,
) -> None:
    """Ask a question that the Hub answers with an error if a repository cannot be had.

    Args:
        question: a call of the Hub's client, with a time limit.
        kind: of the repository, ``model`` or ``dataset``.
        nowhere: where it was not found before, the beginning of the message.
        revision: that is asked for.
        suggestion: returns the end of the message, such as a name that is nearly the same.

    Raises:
        FileNotFoundError: the Hub has no such repository or revision, or must not be asked (`HF_HUB_OFFLINE`).
        PermissionError: it is gated and has not been granted.
        ConnectionError: the Hub cannot be reached.
        HFValidationError: the name is none of the Hub.
    """
    try:
        question()
    except OfflineModeIsEnabled:
        raise FileNotFoundError(f"{nowhere}; HF_HUB_OFFLINE forbids to ask the Hub{suggestion()}") from None
    except GatedRepoError:
        raise PermissionError(f"{nowhere}; on the Hub it is gated: ask for access there, and log in") from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"{nowhere}; on the Hub it has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        message = f"{nowhere}; the Hub has no such {kind}, or it is private and you are not logged in"
        raise FileNotFoundError(f"{message}{suggestion()}") from None
    except HFValidationError:
        raise
    except Exception as error:  # the client of huggingface_hub has had errors of several libraries
        reason = f"the Hub cannot be reached ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise ConnectionError(f"{nowhere}; {reason}{suggestion()}") from None
