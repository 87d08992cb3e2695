"""The code that a checkpoint brings along, for processes without the package.

transformers copies a class's file with all that it imports, which it finds by reading the text of the files. The
imports inside the functions below therefore tie every file to every other: whatever is saved or loaded first, all of
them are there, and a checkpoint loaded without the package can be saved again in full.
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
    from .configuration_adner import AdnerConfig
    from .modeling_adner import AdnerForTokenClassification, AdnerModel
    from .tokenization_adner import AdnerTokenizer

    return {
        "AutoConfig": _reference(AdnerConfig),
        "AutoModel": _reference(AdnerModel),
        "AutoModelForTokenClassification": _reference(AdnerForTokenClassification),
        "AutoTokenizer": [_reference(AdnerTokenizer), None],
    }


def custom_pipelines() -> dict[str, dict[str, Any]]:
    """Task -> pipeline of the checkpoint, as `config.json` names it."""
    from .pipeline_adner import AdnerPipeline

    pipeline = {"impl": _reference(AdnerPipeline), "pt": ["AutoModelForTokenClassification"], "type": "text"}
    return {PIPELINE_TASK: pipeline}


def save_code(folder: str | Path) -> list[str]:
    """Copy every file of the checkpoint's code into a folder; returns their paths there."""
    copies = []
    for source in sorted(Path(__file__).parent.glob("*_adner.py")):
        copies.append(str(Path(folder) / source.name))
        shutil.copyfile(source, copies[-1])
    return copies


def _reference(code: type) -> str:
    return f"{code.__module__.rpartition('.')[2]}.{code.__name__}"
