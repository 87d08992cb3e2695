"""A loopback Hub, and processes that talk to it: huggingface_hub reads its address once, when it is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hf_adner

from .loopback_hub import LoopbackHub

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def hub():
    with LoopbackHub() as server:
        yield server


@pytest.fixture(scope="session")
def run_client(hub, tmp_path_factory):
    """Run a script of this folder as alice, with a cache of its own; it gets a folder and gives a record as JSON."""

    def run(script: str, folder: Path) -> dict:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(hf_adner.__file__).parents[1]),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_alice",
            "HF_HOME": str(tmp_path_factory.mktemp("cache")),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        output = folder / f"{script}.json"
        client = subprocess.run(
            [sys.executable, str(HERE / script), str(folder), str(output)],
            env=environment,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
        )
        assert client.returncode == 0, client.stderr[-3000:]
        return json.loads(output.read_text(encoding="utf-8"))

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Folder that the clients share."""
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="session")
def pushed(run_client, folder):
    """Results and error messages of `pushing_client.py`."""
    return run_client("pushing_client.py", folder)


@pytest.fixture(scope="session")
def loaded(pushed, run_client, folder):
    """Results of `loading_client.py`, without the package and with an empty cache."""
    return run_client("loading_client.py", folder)
