"""Tiny random models with documents whose gold entities are what the model finds.

Runs of explainers on the tiny model.
"""

from typing import NamedTuple

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification, BertTokenizer

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Document, Entity, Lexicon
from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import ExplainerRun, ExplanationSettings
from hf_adner.audit.prediction import scored_spans
from hf_adner.explain.controls import ConstantExplainer

WORDS = {"红斑": 5, "红": 2, "斑块": 1, "瘙痒": 7, "他克莫司": 3, "反复": 30, "外用": 4}
TEXTS = [
    "四肢红斑块，瘙痒明显，夜间加重。",
    "外用他克莫司软膏后，红斑好转。",
    "反复红斑伴瘙痒三年，外用药膏。",
    "面部瘙痒，无发热，红斑反复。",
]
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] 红 斑 伴 痒 瘙 四 肢 外 用 反 复 面 部 ， 。".split()
ENCODER = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
SIZES = {"stream_size": 8, "bilstm_size": 8, "num_stream_heads": 2, "lexicon_embedding_size": 6}


class Case(NamedTuple):
    """A model, its tokenizer, and documents with the entities it finds, each with a cue left of it."""

    model: torch.nn.Module
    tokenizer: object
    documents: list[Document]


@pytest.fixture(scope="session")
def tokenizer() -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(WORDS, WORDS.values()))


@pytest.fixture(scope="session")
def build(tokenizer):
    """Make a tiny model of ours by its architecture."""

    def make(architecture: str = "m-dscmg", seed: int = 1) -> Case:
        torch.manual_seed(seed)
        encoder = {"model_type": "bert", **ENCODER}
        model = AdnerForTokenClassification.from_scratch(
            tokenizer, ["Disease", "Drug"], architecture, encoder_config=encoder, **SIZES
        )
        return with_documents(enlarged(model), tokenizer)

    return make


@pytest.fixture(scope="session")
def case(build) -> Case:
    """m-dscmg, with a lexicon stream."""
    return build()


@pytest.fixture(scope="session")
def stock(tmp_path_factory) -> Case:
    """A stock BERT with a WordPiece tokenizer."""
    folder = tmp_path_factory.mktemp("stock")
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    torch.manual_seed(3)
    labels = dict(enumerate(["O", "B-Disease", "I-Disease", "B-Drug", "I-Drug"]))
    config = BertConfig(vocab_size=len(PIECES), id2label=labels, **ENCODER)
    return with_documents(enlarged(BertForTokenClassification(config)), BertTokenizer(vocab=str(folder / "vocab.txt")))


@torch.no_grad()
def enlarged(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that texts make a difference."""
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower() and parameter.dim() > 1:
            parameter.normal_(std=0.4)
    return model.eval()


def with_documents(model, tokenizer) -> Case:
    found = scored_spans(model, tokenizer, TEXTS)
    assert sum(map(len, found)) > 4, "the random model finds too little to test with"
    documents = []
    for number, (text, ones) in enumerate(zip(TEXTS, found, strict=True)):
        entities = tuple(Entity(*one.span) for one in ones)
        cues = [{"entity": index, "start": max(0, one.start - 1), "end": one.end} for index, one in enumerate(entities)]
        documents.append(Document(f"d{number}", text, entities, {"cues": cues}))
    return Case(model, tokenizer, documents)


SMALL = {
    "families": ["punctuation", "context-masking"],
    "views": 2,
    "max_entities": 6,
    "sensitivity_draws": 2,
    "infidelity_draws": 8,
    "soft_draws": 3,
    "orderings": 2,
    "replacements": 1,
    "random_shares": (0.4, 1.0),
    "resamples": 50,
}


@pytest.fixture(scope="session")
def audit(case) -> ExplanationAudit:
    return ExplanationAudit(case.model, case.tokenizer, case.documents, ExplanationSettings(**SMALL), progress=False)


@pytest.fixture(scope="session")
def run_of(audit):
    """The run of an explainer, given itself or by name."""

    def make(explainer, rebuild=None, settings=None) -> ExplainerRun:
        explainer = audit.make(explainer) if isinstance(explainer, str) else explainer
        count = len(audit.sample.entities)
        return ExplainerRun(
            explainer, count, audit.sample, audit.views, audit.responses, settings or audit.settings, rebuild
        )

    return make


class Function(ConstantExplainer):
    """An explainer given as a function of text and entity."""

    def __init__(self, scores):
        self._function = scores

    def _scores(self, text, entity):
        return self._function(text, entity)


@pytest.fixture
def function_explainer():
    """Make an explainer of a function of text and entity."""
    return Function
