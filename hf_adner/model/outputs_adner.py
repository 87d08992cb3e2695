"""What the models return."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class AdnerModelOutput(ModelOutput):
    """Output of `AdnerModel`.

    Attributes:
        last_hidden_state: (batch, tokens, size), zero outside the text.
        hidden_states, attentions: those of the encoder; without one, the character embeddings and None.
        stream_attentions: with eager attention only: character→word, word→character, self-attention, each (batch,
            heads, text, text).
    """

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    stream_attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class AdnerTokenClassifierOutput(ModelOutput):
    """Output of `AdnerForTokenClassification`.

    Attributes:
        loss: scalar; the negative log-likelihood summed over the batch, divided by `num_items_in_batch` or else by the
            number of labelled tokens. Of a per-label model the sum of the negative log-likelihoods of its chains, which
            is that of all labels together: the chains are independent given the text.
        logits: (batch, tokens, labels) log posterior marginals over the BIO labels; their exponentials sum to 1.
            Differentiable, except if labels are given in training or without grad: then they are detached. Of a
            per-label model they are a flat reading: the marginals of all its chains given that no two entities overlap;
            None in training with labels, to save time.
        predictions: (batch, tokens) BIO label ids of the Viterbi path (softmax head: repaired arg max), -100 outside
            the text; None in training with labels, to save time. Of a per-label model (batch, tokens, types): the path
            of each type's chain.
        start_probs, end_probs: (batch, tokens) probability that an entity starts (ends) there, in [0, 1]; of a
            per-label model (batch, tokens, types), that one of the type does.
        emissions: (batch, text, states) left-aligned float32 inputs of the CRF (softmax head: log probabilities of the
            labels); of a per-label model those of each type's chain in turn (`AdnerConfig.states`).
        chain_log_probs: of a per-label model (batch, tokens, types, 3), log posterior marginals of O, B and I of each
            type's chain, differentiable as `logits`; else None.
        text_mask: (batch, text) 1 where a row of `emissions` is text, 0 where it is padding.
        hidden_states, attentions: those of the encoder.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    predictions: torch.LongTensor | None = None
    start_probs: torch.FloatTensor | None = None
    end_probs: torch.FloatTensor | None = None
    chain_log_probs: torch.FloatTensor | None = None
    emissions: torch.FloatTensor | None = None
    text_mask: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
