"""Tiny models with random weights that find entities, ours and a stock one with a sub-word tokenizer."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification, BertTokenizer

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.explain.tagger import Tagger

WORDS = {"红斑": 5, "红": 2, "斑块": 1, "瘙痒": 7, "他克莫司": 3, "反复红斑": 30}
TEXTS = ["四肢红斑块", "", "他克莫司软膏外用", "痒", "反复红斑伴瘙痒瘙痒瘙痒3年"]
ENTITIES = [
    [(2, 5, "Disease")],
    [],
    [(0, 4, "Drug"), (4, 6, "Drug"), (7, 8, "Disease")],
    [(0, 1, "Disease")],
    [(2, 4, "Disease"), (5, 7, "Disease")],
]
ENCODER = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
SIZES = {
    "stream_size": 12,
    "bilstm_size": 10,
    "num_stream_heads": 2,
    "lexicon_embedding_size": 6,
    "character_embedding_size": 8,
}
PIECES = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the patient had severe ec ##ze ##ma on arm ##s and leg 红 斑 伴 痒 a ##b".split()
)
STOCK_TEXTS = ["the patient had severe eczema on arms", "", "eczema", "红斑伴痒 and eczema on arms and legs"]
STOCK_ENTITIES = [
    [(23, 29, "Disease"), (16, 29, "Disease")],
    [],
    [(0, 6, "Disease")],
    [(0, 2, "Drug"), (9, 15, "Disease")],
]


class Case(NamedTuple):
    """A model with its tokenizer, and texts with entities to explain."""

    model: torch.nn.Module
    tokenizer: object
    texts: list[str]
    entities: list[list[tuple[int, int, str]]]

    @property
    def tagger(self) -> Tagger:
        return Tagger(self.model, self.tokenizer)


@pytest.fixture(scope="session")
def tokenizer() -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(WORDS, WORDS.values()))


@pytest.fixture(scope="session")
def build(tokenizer) -> Callable[..., Case]:
    """Make a tiny model of ours by its architecture."""

    def make(architecture: str = "m-dscmg", seed: int = 0, **kwargs) -> Case:
        torch.manual_seed(seed)
        encoder = None if architecture == "bilstm-crf" else dict(ENCODER)
        model = AdnerForTokenClassification.from_scratch(
            tokenizer, ["Disease", "Drug"], architecture, encoder_config=encoder, **{**SIZES, **kwargs}
        )
        enlarge(model)
        return Case(model, tokenizer, list(TEXTS), [list(entities) for entities in ENTITIES])

    return make


@pytest.fixture(scope="session")
def stock(tmp_path_factory) -> Case:
    """A stock BERT with a WordPiece tokenizer."""
    folder = tmp_path_factory.mktemp("stock")
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    torch.manual_seed(3)
    labels = ["O", "B-Disease", "I-Disease", "B-Drug", "I-Drug"]
    sizes = {name: value for name, value in ENCODER.items() if name != "model_type"}
    config = BertConfig(
        vocab_size=len(PIECES),
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
        **sizes,
    )
    model = BertForTokenClassification(config).eval()
    enlarge(model)
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    return Case(model, tokenizer, list(STOCK_TEXTS), [list(entities) for entities in STOCK_ENTITIES])


@torch.no_grad()
def enlarge(model: torch.nn.Module) -> None:
    """Weights of sd 0.02 make a model that says nearly the same everywhere, of which most equalities would hold."""
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower() and parameter.dim() > 1:
            parameter.normal_(std=0.3)


@pytest.fixture(scope="session", params=["m-dscmg", "bert-crf", "bert-softmax", "bilstm-crf", "stock"])
def case(request, build, stock) -> Case:
    """Ours with and without lexicon and encoder, with CRF and softmax, and the stock model."""
    return stock if request.param == "stock" else build(request.param)
