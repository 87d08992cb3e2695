"""Explainable medical entity recognition for Chinese clinical text, at home in the Hugging Face libraries.

Importing the package registers `AdnerConfig`, the models, the tokenizer and the pipeline task `adner-ner` with
transformers, and does nothing else.

The names in `__all__` are the public interface; everything deeper may change without notice.
"""

import importlib
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer
from transformers.pipelines import PIPELINE_REGISTRY

from .explain.explanation import Explanation
from .model.codes_adner import CodeTable
from .model.configuration_adner import AdnerConfig
from .model.constraints_adner import Constraints
from .model.lexicon_adner import Lexicon
from .model.modeling_adner import AdnerForTokenClassification, AdnerModel
from .model.pipeline_adner import AdnerPipeline
from .model.remote_code_adner import PIPELINE_TASK
from .model.tokenization_adner import AdnerTokenizer

if TYPE_CHECKING:
    from .audit.evaluation import evaluate_documents
    from .audit.explanations import evaluate_explanations
    from .audit.prediction import predict_documents
    from .data.dataset import dataset_from_documents, documents_from_dataset, load_ner_dataset
    from .data.encoding import AdnerDataCollator, encode_dataset
    from .data.errors import DataFormatError
    from .data.formats import read_documents, write_documents
    from .data.records import Document, Entity
    from .explain.explainers import make_explainer
    from .explain.global_table import GlobalTable
    from .guided.arguments import ExplanationGuidedTrainingArguments, GuidedCommandArguments
    from .guided.trainer import ExplanationGuidedTrainer
    from .hub.push import push_checkpoint
    from .metrics.boundary_f1 import boundary_f1
    from .metrics.entity_f1 import entity_f1
    from .pretraining.collator import MacBertCollator
    from .serve.onnx_tagger import OnnxTagger
    from .training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments, TrainCommandArguments
    from .training.run import run_training
    from .training.trainer import AdnerTrainer
    from .view.page import explanations_to_html

__version__ = "0.1.0"

_LAZY = {
    "evaluate_documents": "audit.evaluation",
    "evaluate_explanations": "audit.explanations",
    "predict_documents": "audit.prediction",
    "dataset_from_documents": "data.dataset",
    "documents_from_dataset": "data.dataset",
    "load_ner_dataset": "data.dataset",
    "AdnerDataCollator": "data.encoding",
    "encode_dataset": "data.encoding",
    "DataFormatError": "data.errors",
    "read_documents": "data.formats",
    "write_documents": "data.formats",
    "Document": "data.records",
    "Entity": "data.records",
    "make_explainer": "explain.explainers",
    "GlobalTable": "explain.global_table",
    "ExplanationGuidedTrainingArguments": "guided.arguments",
    "GuidedCommandArguments": "guided.arguments",
    "ExplanationGuidedTrainer": "guided.trainer",
    "push_checkpoint": "hub.push",
    "boundary_f1": "metrics.boundary_f1",
    "entity_f1": "metrics.entity_f1",
    "MacBertCollator": "pretraining.collator",
    "OnnxTagger": "serve.onnx_tagger",
    "AdnerTrainingArguments": "training.arguments",
    "DatasetArguments": "training.arguments",
    "ModelArguments": "training.arguments",
    "TrainCommandArguments": "training.arguments",
    "run_training": "training.run",
    "AdnerTrainer": "training.trainer",
    "explanations_to_html": "view.page",
}
"""Public name -> its module, imported when the name is first used (PEP 562)."""

__all__ = [
    "AdnerConfig",
    "AdnerDataCollator",
    "AdnerForTokenClassification",
    "AdnerModel",
    "AdnerPipeline",
    "AdnerTokenizer",
    "AdnerTrainer",
    "AdnerTrainingArguments",
    "CodeTable",
    "Constraints",
    "DataFormatError",
    "DatasetArguments",
    "Document",
    "Entity",
    "Explanation",
    "ExplanationGuidedTrainer",
    "ExplanationGuidedTrainingArguments",
    "GlobalTable",
    "GuidedCommandArguments",
    "Lexicon",
    "MacBertCollator",
    "ModelArguments",
    "OnnxTagger",
    "TrainCommandArguments",
    "boundary_f1",
    "dataset_from_documents",
    "documents_from_dataset",
    "encode_dataset",
    "entity_f1",
    "evaluate_documents",
    "evaluate_explanations",
    "explanations_to_html",
    "load_ner_dataset",
    "make_explainer",
    "predict_documents",
    "push_checkpoint",
    "read_documents",
    "run_training",
    "write_documents",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _view_module(name: str) -> Any:
    """A module of the room that shows explanations, loaded when the first one is shown."""
    return importlib.import_module(f".view.{name}", __name__)


def _explainer_of_pipeline(pipeline: AdnerPipeline, explain: Any) -> Any:
    """Return the explainer of a pipeline; the room `explain` is imported when the first one is needed."""
    from .explain.explainers import pipeline_explainer

    return pipeline_explainer(pipeline, explain)


def _register() -> None:
    AdnerPipeline.explainer_factory = _explainer_of_pipeline
    Explanation.viewer = staticmethod(_view_module)
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
