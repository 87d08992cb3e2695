"""Worker processes of the HTTP server: started together, replaced when they die, stopped when their work is done."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
import uvicorn._subprocess
import uvicorn.supervisors.multiprocess
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from hf_adner.serve.http_metrics import FOLDER_VARIABLE
from hf_adner.serve.http_server import TOKEN_VARIABLE, ServerSettings, environment_of

logger = logging.getLogger(__name__)

APPLICATION = "hf_adner.serve.http_server:app_from_environment"
PATIENCE = 60
"""Seconds a worker may take to answer its parent, busy with a long note, before it counts as hung."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(settings: ServerSettings, host: str, port: int, workers: int, token: str | None = None) -> None:
    """Serve a checkpoint until SIGTERM or SIGINT; requests that are being answered then are finished.

    A worker that dies is replaced; its requests end with a closed connection. Each worker loads the model; what it
    imports was imported before, by the process that workers are forked from.

    Args:
        settings: of the server.
        host, port: where to listen.
        workers: number of processes.
        token: what requests must carry, see `hf_adner.serve.http_server.make_app`.

    Raises:
        SystemExit: the address is taken.
    """
    if host not in LOOPBACK and not token:
        logger.warning("listening on %s without a token: whoever reaches it may send and tag texts", host)
    config = uvicorn.Config(
        APPLICATION,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        timeout_worker_healthcheck=PATIENCE,
        timeout_graceful_shutdown=PATIENCE,
        server_header=False,
    )
    with tempfile.TemporaryDirectory(prefix="hf_adner-metrics-") as folder:
        os.environ |= {**environment_of(settings), FOLDER_VARIABLE: folder}
        if token:
            os.environ[TOKEN_VARIABLE] = token
        _adapt_uvicorn()
        # also for one worker, which uvicorn.run would not replace
        Multiprocess(config, sockets=_shared_sockets(config)).run()


def _shared_sockets(config: uvicorn.Config) -> list[socket.socket]:
    """Return the socket that all workers listen to, or none where each has its own.

    A shared one keeps connections while its worker is replaced; but of several workers the first that wakes takes all
    connections that wait. The kernel spreads them over sockets of their own (SO_REUSEPORT, see socket(7)).
    """
    shared = config.bind_socket()  # also finds out whether another server has the address
    if config.workers == 1 or sys.platform != "linux":
        return [shared]
    config.port = shared.getsockname()[1]
    shared.close()
    return []


def own_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address that other sockets made here may have as well."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind((host, port))
    return found


class Worker(Process):
    """A worker whose death is seen at once, also by a check that waits for its answer.

    Args:
        config: of the server.
        sockets: those that workers share; empty: the worker has its own.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]):
        self._own = [] if sockets else [own_socket(config.host, config.port)]
        super().__init__(config, sockets or self._own)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": []}  # the process has them already

    def start(self) -> None:
        """Start the process, and leave socket and end of the pipe to it alone: then both end with it."""
        super().start()
        self.child_conn.close()
        for one in self._own:
            one.close()


def _adapt_uvicorn() -> None:
    """Let uvicorn start `Worker`s, forked from a process that has imported what they need.

    Importing takes a spawned worker many times as long as loading the model. Where this uvicorn starts its workers in
    another way, that way stays.
    """
    uvicorn.supervisors.multiprocess.Process = Worker
    if hasattr(uvicorn._subprocess, "spawn") and "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([APPLICATION.split(":")[0]])
        uvicorn._subprocess.spawn = context


def read_token(path: str | None) -> str | None:
    """Return the token in a file, or that of the environment variable, or None.

    Raises:
        ValueError: the file is empty or no text, or the token has characters that no request could carry in its header.
        OSError: it cannot be read.
    """
    if path is None:
        place, token = f"the variable {TOKEN_VARIABLE}", os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            return None
    else:
        place, token = path, Path(path).read_text(encoding="utf-8", errors="replace").strip()
        if not token:
            raise ValueError(f"{path} holds no token")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError(
            f"{place} must hold one token of visible ASCII characters without white space, for requests carry it in "
            f"a header; found {len(token)} characters with others among them"
        )
    return token
