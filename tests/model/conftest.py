"""Tiny models with random weights, their tokenizer, and the enumeration that the tests of this room check against."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.model import crf_adner
from hf_adner.model.labels_adner import bio_to_bioes

WORDS = {"红斑": 5, "红": 2, "斑块": 1, "瘙痒": 7, "他克莫司": 3, "克": 0, "反复红斑": 300}
TEXTS = ["四肢红斑块", "", "他克莫司软膏", "痒", "反复红斑伴瘙痒3年"]
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


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of several lengths, one of them empty, with words of the lexicon that overlap."""
    return list(TEXTS)


@pytest.fixture(scope="session")
def encoder_config() -> dict:
    return dict(ENCODER)


@pytest.fixture(scope="session")
def sizes() -> dict[str, int]:
    """Small widths for `AdnerConfig`."""
    return dict(SIZES)


@pytest.fixture(scope="session")
def tokenizer() -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(WORDS, WORDS.values()))


@pytest.fixture(scope="session")
def build(tokenizer) -> Callable[..., AdnerForTokenClassification]:
    """Make a tiny model of an architecture; its weights are large enough for its outputs to differ by position."""

    def make(architecture: str = "m-dscmg", types=("Disease", "Drug"), seed: int = 0, encoder=None, **kwargs):
        torch.manual_seed(seed)
        needs_encoder = architecture != "bilstm-crf" and kwargs.get("use_encoder", True)
        model = AdnerForTokenClassification.from_scratch(
            tokenizer,
            list(types),
            architecture,
            encoder_config={**ENCODER, **(encoder or {})} if needs_encoder else None,
            **{**SIZES, **kwargs},
        )
        _enlarge(model)
        return model

    return make


@torch.no_grad()
def _enlarge(model: AdnerForTokenClassification) -> None:
    """With weights of sd 0.02 the outputs would be nearly the same at every position, and most equalities trivial."""
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower() and parameter.dim() > 1:
            parameter.normal_(std=0.4)


@pytest.fixture(scope="session")
def label_paths() -> Callable[..., list[tuple[tuple[str, ...], float]]]:
    """Every BIO label sequence of one row with its probability, by enumeration in plain Python."""
    return _label_paths


def _label_paths(head, emissions: torch.Tensor) -> list[tuple[tuple[str, ...], float]]:
    """`head` a CRF head, `emissions` (length, states) of one row without padding."""
    labels, states = head.label_states.labels, head.label_states.states
    index = {state: position for position, state in enumerate(states)}
    is_bioes = len(states) > len(labels)
    emissions = emissions.detach().double().tolist()
    begin, finish, steps = (
        table.detach().double().tolist()
        for table in (head.crf.start_transitions, head.crf.end_transitions, head.crf.transitions)
    )
    scores = {}
    for tags in _valid_tags(labels, len(emissions)):
        path = [index[state] for state in (bio_to_bioes(tags) if is_bioes else tags)]
        scores[tags] = sum(row[state] for row, state in zip(emissions, path))
        scores[tags] += sum(steps[first][second] for first, second in itertools.pairwise(path))
        scores[tags] += begin[path[0]] + finish[path[-1]] if path else 0.0
    weights = torch.tensor(list(scores.values()), dtype=torch.float64).softmax(0).tolist()
    return list(zip(scores, weights))


def _valid_tags(labels: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Label sequences in which every I- continues an entity of its type."""
    for tags in itertools.product(labels, repeat=length):
        before = ("O", *tags)
        if all(tag[0] != "I" or before[position][2:] == tag[2:] for position, tag in enumerate(tags)):
            yield tags


@pytest.fixture(params=["scaled", "log"])
def space(request, monkeypatch) -> str:
    """Run a test of the CRF with the lattice for moderate scores, and with the one for extreme scores."""
    if request.param == "log":
        monkeypatch.setattr(crf_adner, "scaled_period", lambda spread, window, dtype: 0)
    return request.param
