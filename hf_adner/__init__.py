"""Explainable medical entity recognition for Chinese clinical text, at home in the Hugging Face libraries.

Importing the package registers `AdnerConfig`, the models, the tokenizer and the pipeline task `adner-ner` with
transformers, and does nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer
from transformers.pipelines import PIPELINE_REGISTRY

from .model.configuration_adner import AdnerConfig
from .model.lexicon_adner import Lexicon
from .model.modeling_adner import AdnerForTokenClassification, AdnerModel
from .model.pipeline_adner import AdnerPipeline
from .model.remote_code_adner import PIPELINE_TASK
from .model.tokenization_adner import AdnerTokenizer

if TYPE_CHECKING:
    from .audit.explanations import evaluate_explanations
    from .data.loading import load_ner_dataset
    from .data.records import Document, Entity
    from .data.writers import write_documents
    from .explain.explainers import make_explainer
    from .explain.explanation import Explanation
    from .explain.global_table import GlobalTable
    from .training.guided_arguments import ExplanationGuidedTrainingArguments
    from .training.guided_trainer import ExplanationGuidedTrainer

__version__ = "0.1.0"

_LAZY = {
    "Document": "data.records",
    "Entity": "data.records",
    "Explanation": "explain.explanation",
    "GlobalTable": "explain.global_table",
    "evaluate_explanations": "audit.explanations",
    "ExplanationGuidedTrainer": "training.guided_trainer",
    "ExplanationGuidedTrainingArguments": "training.guided_arguments",
    "load_ner_dataset": "data.loading",
    "make_explainer": "explain.explainers",
    "write_documents": "data.writers",
}

__all__ = [
    "AdnerConfig",
    "AdnerForTokenClassification",
    "AdnerModel",
    "AdnerPipeline",
    "AdnerTokenizer",
    "Document",
    "Entity",
    "Explanation",
    "ExplanationGuidedTrainer",
    "ExplanationGuidedTrainingArguments",
    "GlobalTable",
    "Lexicon",
    "evaluate_explanations",
    "load_ner_dataset",
    "make_explainer",
    "write_documents",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _explainer_of_pipeline(pipeline: AdnerPipeline, explain: Any, measure_stability: bool) -> Any:
    """What the pipeline explains with; the room that does it is loaded when it is first needed."""
    from .explain.explainers import pipeline_explainer

    return pipeline_explainer(pipeline, explain, measure_stability)


def _register() -> None:
    AdnerPipeline.explainer_factory = _explainer_of_pipeline
    AdnerConfig.pipeline_is_registered = True
    AutoConfig.register("adner", AdnerConfig, exist_ok=True)
    AutoModel.register(AdnerConfig, AdnerModel, exist_ok=True)
    AutoModelForTokenClassification.register(AdnerConfig, AdnerForTokenClassification, exist_ok=True)
    AutoTokenizer.register(AdnerConfig, fast_tokenizer_class=AdnerTokenizer, exist_ok=True)
    PIPELINE_REGISTRY.register_pipeline(
        PIPELINE_TASK, pipeline_class=AdnerPipeline, pt_model=AutoModelForTokenClassification, type="text"
    )
    AdnerConfig.register_for_auto_class()
    AdnerModel.register_for_auto_class("AutoModel")
    AdnerForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
    AdnerTokenizer.register_for_auto_class()


_register()
