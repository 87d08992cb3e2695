"""Remote code: the files that a checkpoint contains, for processes without the package.

transformers copies the file of a class with all files that it imports. It finds them by searching the text for lines
that begin with ``from .name import``, without parsing Python. The lines below are for that search: they connect the
entry points without importing them here, so that whichever file is loaded first, all files are copied, and a checkpoint
loaded without the package can be saved again with all its code.

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
    """The `custom_pipelines` of a checkpoint whose task is registered in this process.

    `transformers.pipeline` iterates over this dictionary to infer the task. A task that is `in` it runs the
    checkpoint's own code, which needs `trust_remote_code`; any other task is looked up in the registry. So this
    dictionary lists its tasks but does not contain them.
    """

    def __contains__(self, task: object) -> bool:
        return False


def auto_map() -> dict[str, Any]:
    """Return the `auto_map` of `config.json`: auto class -> class of the checkpoint."""
    return {
        "AutoConfig": "configuration_adner.AdnerConfig",
        "AutoModel": "modeling_adner.AdnerModel",
        "AutoModelForTokenClassification": "modeling_adner.AdnerForTokenClassification",
        "AutoTokenizer": ["tokenization_adner.AdnerTokenizer", None],
    }


def custom_pipelines() -> dict[str, dict[str, Any]]:
    """Return the `custom_pipelines` of `config.json`: task -> pipeline of the checkpoint."""
    model_class = "AutoModelForTokenClassification"
    return {PIPELINE_TASK: {"impl": "pipeline_adner.AdnerPipeline", "pt": [model_class], "type": "text"}}


def code_files() -> list[Path]:
    """Return the files of a checkpoint's code, where they are in this process."""
    return sorted(Path(__file__).parent.glob("*_adner.py"))


def save_code(folder: str | Path) -> list[str]:
    """Copy all files of the checkpoint's code into a folder and return their paths there."""
    copies = []
    for source in code_files():
        copies.append(str(Path(folder) / source.name))
        shutil.copyfile(source, copies[-1])
    return copies
