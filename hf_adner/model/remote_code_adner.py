"""The code that a checkpoint brings along, for processes without the package.

transformers copies the file of a class with all files that it imports, which it finds by searching the text for lines
that begin with ``from .name import``; it does not parse Python. The lines below are for that search: they tie the entry
points together without importing them here, so that whatever is saved or loaded first, all files are there, and a
checkpoint loaded without the package can be saved again in full.

    from .configuration_adner import AdnerConfig
    from .modeling_adner import AdnerForTokenClassification
    from .pipeline_adner import AdnerPipeline
    from .tokenization_adner import AdnerTokenizer
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

PIPELINE_TASK = "adner-ner"


class RegisteredPipelines(dict):
    """Custom pipelines of a checkpoint whose task is registered in this process.

    `transformers.pipeline` reads the name of the task here when it is given none. A task that it finds here by name it
    runs with the checkpoint's own code, which it refuses to do without `trust_remote_code`; one that it does not find
    here it looks up among the registered ones. So the names can be read here, and are not found.
    """

    def __contains__(self, task: object) -> bool:
        return False


def auto_map() -> dict[str, Any]:
    """Auto class -> class of the checkpoint, as `config.json` names them."""
    return {
        "AutoConfig": "configuration_adner.AdnerConfig",
        "AutoModel": "modeling_adner.AdnerModel",
        "AutoModelForTokenClassification": "modeling_adner.AdnerForTokenClassification",
        "AutoTokenizer": ["tokenization_adner.AdnerTokenizer", None],
    }


def custom_pipelines() -> dict[str, dict[str, Any]]:
    """Task -> pipeline of the checkpoint, as `config.json` names it."""
    model_class = "AutoModelForTokenClassification"
    return {PIPELINE_TASK: {"impl": "pipeline_adner.AdnerPipeline", "pt": [model_class], "type": "text"}}


def save_code(folder: str | Path) -> list[str]:
    """Copy every file of the checkpoint's code into a folder; returns their paths there."""
    copies = []
    for source in sorted(Path(__file__).parent.glob("*_adner.py")):
        copies.append(str(Path(folder) / source.name))
        shutil.copyfile(source, copies[-1])
    return copies
