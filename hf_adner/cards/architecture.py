"""The networks in a sentence each."""

from __future__ import annotations

from hf_adner.model.configuration_adner import ARCHITECTURES

_M_DSCMG = (
    "M-DSCMG: characters and dictionary words in two streams, cross-stream attention, multi-head attention, a gated "
    "graph network and a CRF (Luo, Che and Ji 2025)"
)

DESCRIPTIONS: dict[str, str] = {
    "m-dscmg": _M_DSCMG,
    "m-dscmg-no-dual-stream": f"{_M_DSCMG}, here without the word stream",
    "m-dscmg-no-attention": f"{_M_DSCMG}, here without the multi-head attention",
    "m-dscmg-no-graph": f"{_M_DSCMG}, here without the graph network",
    "bert-crf": "an encoder with a CRF",
    "bert-bilstm-crf": "an encoder with a BiLSTM and a CRF",
    "bert-att-crf": "an encoder with multi-head attention and a CRF",
    "bert-softmax": "an encoder with a softmax over the labels of each character",
    "bilstm-crf": "a BiLSTM over character embeddings with a CRF, without a pretrained encoder",
}


def describe(architecture: str) -> str:
    """What the network is made of; for a foreign architecture that it is one."""
    return DESCRIPTIONS.get(architecture, "a token classifier that is no network of hf_adner's")


def is_ours(architecture: str) -> bool:
    """Whether the package's pipeline takes it."""
    return architecture in ARCHITECTURES
