"""What a run ran with: versions of the libraries and the kind of machine, nothing that names the machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

PACKAGES = ("transformers", "torch", "datasets", "tokenizers", "accelerate", "huggingface-hub", "pytorch-crf")


def versions() -> dict[str, str]:
    """Name -> version: hf_adner, Python and `PACKAGES`, as far as they are installed."""
    from hf_adner import __version__

    found = {"hf_adner": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """`accelerator` (the GPU's model, or "none"), `accelerators`, `cpu` (the architecture), `cores`, `threads`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "accelerator": torch.cuda.get_device_name(0) if count else "none",
        "accelerators": count,
        "cpu": platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
