"""Shared by all tests: no network, an empty cache, one thread, and where the optional real data lies."""

import os
import tempfile
from pathlib import Path

# All of this before anything imports torch or huggingface_hub: they read it once.
_CACHE = tempfile.TemporaryDirectory(prefix="hf_adner_tests_")
os.environ["HF_HOME"] = _CACHE.name
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]

# A shared machine may be slow at any moment: that says nothing about the code under test.
settings.register_profile(
    "adner",
    deadline=None,
    max_examples=50,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("adner")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real corpora for `@pytest.mark.data` tests; they are skipped where it is absent."""
    folder = Path(os.environ.get("HF_ADNER_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data here: set HF_ADNER_DATA to its folder")
    return folder
