"""What a guided run adds to its checkpoints.

Beside the model lie `explainer_head.safetensors` and the published `global_table/`; `private/` holds the raw table and
all that a resumed run needs: it tells of single documents, and no push carries it.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hf_adner.data.writers.atomic import write_file
from hf_adner.explain.checkpoint_table import PRIVATE_FOLDER, save_checkpoint_table
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.head import HEAD_FILE, ExplainerHead
from hf_adner.training.guidance import Guidance
from hf_adner.training.saliency_cache import SaliencyCache

CACHE_FILE = "private/saliency_cache.safetensors"
STATE_FILE = "private/guidance.json"
_FUSION = "fusion."


def save_explanations(folder: str | Path, head: ExplainerHead | None, guidance: Guidance) -> None:
    """Write what explains a checkpoint's entities, once there is something: the table, and the head.

    Args:
        folder: of the checkpoint.
        head: the explainer head; None where nothing teaches it.
        guidance: of the run.
    """
    if not guidance.is_ready:
        return
    save_checkpoint_table(folder, guidance.table)
    if head is not None:
        head.save_pretrained(folder)


def save_guidance(folder: str | Path, guidance: Guidance) -> None:
    """Write what a resumed run needs beside the head and the table."""
    path = Path(folder) / CACHE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fusion = {f"{_FUSION}{name}": value.contiguous() for name, value in guidance.fusion.state_dict().items()}
    save_file({**guidance.cache.to_tensors(), **fusion}, path)
    write_file(Path(folder) / STATE_FILE, [json.dumps(guidance.state(), indent=2), "\n"], "utf-8")


def load_guidance(folder: str | Path, head: ExplainerHead, guidance: Guidance) -> None:
    """Bring head and guidance into the state of a checkpoint.

    A checkpoint that came without `private/`, as pushed ones do, has the head alone; the rest begins anew. One of the
    plain phase has no head yet.

    Raises:
        FileNotFoundError: the checkpoint is not of a guided run.
    """
    folder = Path(folder)
    if (folder / HEAD_FILE).is_file() or not (folder / STATE_FILE).is_file():
        head.load_state_dict(ExplainerHead.from_pretrained(folder).state_dict())
    if not (folder / STATE_FILE).is_file():
        logger.warning("%s has no %s: maps and global table begin anew", folder, STATE_FILE)
        return
    guidance.load_state(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    tensors = load_file(folder / CACHE_FILE)
    guidance.cache = SaliencyCache.from_tensors(tensors)
    fusion = {name.removeprefix(_FUSION): value for name, value in tensors.items() if name.startswith(_FUSION)}
    guidance.fusion.load_state_dict(fusion)
    if guidance.is_ready:
        guidance.table = GlobalTable.load(folder / PRIVATE_FOLDER)


def gathered(own: object) -> list:
    """The same object of every process, in their order; of this one alone where there are no others."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [own]
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found
