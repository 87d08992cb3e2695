"""The layers of M-DSCMG (Luo, Che, Ji 2025), named after the paper's terms.

The layers see text positions only (`TextPositions`): special tokens are removed and rows are left-aligned, so
`text_mask` (batch, length) is a prefix of ones in each row.
"""

import contextlib
from typing import NamedTuple

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_adner import AdnerConfig
from .lattice_adner import Covered, EdgeList, EdgeMatrix, LexiconMatches, SparseMatrix, covered_characters


class TextPositions(NamedTuple):
    """Position of the text in a batch of tokens.

    Attributes:
        index: (batch, text) token position of each text position, rows left-aligned.
        mask: (batch, text) True on text.
        before: (batch, tokens + 1) number of text positions before a token position.
    """

    index: torch.Tensor
    mask: torch.Tensor
    before: torch.Tensor

    def take(self, values: torch.Tensor) -> torch.Tensor:
        """Gather the text positions: (batch, tokens, ...) -> (batch, text, ...)."""
        index = self.index.view(*self.index.shape, *[1] * (values.dim() - 2))
        return values.gather(1, index.expand(-1, -1, *values.shape[2:]))

    def put(self, values: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
        """Write values (batch, text, ...) over a background (batch, tokens, ...)."""
        shape = (*self.index.shape, *[1] * (values.dim() - 2))
        values = torch.where(self.mask.view(shape), values, self.take(background))
        return background.scatter(1, self.index.view(shape).expand_as(values), values)


def locate_text(attention_mask: torch.Tensor) -> TextPositions:
    """Locate the text: all attended positions except the first and the last (the special tokens).

    Args:
        attention_mask: (batch, tokens), padding on either side.
    """
    attended = attention_mask.bool()
    rank = attended.cumsum(1)
    text = attended & (rank > 1) & (rank < rank[:, -1:])
    length = max(attended.shape[1] - 2, 1)
    index = torch.argsort((~text).to(torch.int8), dim=1, stable=True)[:, :length]
    before = nn.functional.pad(text.cumsum(1), (1, 0))
    return TextPositions(index, text.gather(1, index), before)


def count_positions(attention_mask: torch.Tensor, first: int) -> torch.Tensor:
    """Number the attended tokens from `first`: position ids (batch, tokens); padding may be on either side."""
    return attention_mask.bool().cumsum(1).clamp(min=1) + (first - 1)


def attention_bias(text_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive mask over the keys, (batch, 1, 1, length): 0 on text, half the dtype's minimum elsewhere.

    Half, because float16 would turn the sum of the whole minimum and a negative score into -inf.
    """
    bias = torch.zeros(text_mask.shape, dtype=dtype, device=text_mask.device)
    return bias.masked_fill(~text_mask, torch.finfo(dtype).min / 2)[:, None, None, :]


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **_):
    """Compute scaled dot-product attention (eqs. 5, 8); also returns its weights (batch, heads, length, length)."""
    scores = query @ key.transpose(-1, -2) * scaling + attention_mask
    weights = nn.functional.softmax(scores, dim=-1)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class MultiHeadAttention(nn.Module):
    """Multi-head scaled dot-product attention (eqs. 5–6 across streams, eqs. 8–11 within one), residual + LayerNorm."""

    def __init__(self, config: AdnerConfig, size: int):
        super().__init__()
        self.config = config
        self.heads = config.num_stream_heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.is_causal = False

    def forward(
        self, states: torch.Tensor, memory: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend from `states` (batch, length, size) to `memory` of that shape; also return the weights if eager."""
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        query = self._heads(self.query(states))
        attended, weights = attend(
            self,
            query,
            self._heads(self.key(memory)),
            self._heads(self.value(memory)),
            bias,
            scaling=query.shape[-1] ** -0.5,
            dropout=self.dropout.p if self.training else 0.0,
        )
        attended = self.output(attended.flatten(2))  # (batch, length, size)
        return self.norm(states + self.dropout(attended)), weights

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, length, size / heads)


class TrainingModeLSTM(nn.LSTM):
    """One LSTM layer, always in training mode: else cuDNN computes no gradients. It has no dropout to switch off."""

    def train(self, mode: bool = True) -> "TrainingModeLSTM":
        """Stay in training mode."""
        return super().train(True)


class BidirectionalLSTM(nn.Module):
    """One BiLSTM layer over left-aligned rows; padding never influences a text position.

    The backward LSTM reads each row reversed in place; packed sequences would need the lengths on the CPU.
    """

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        if output_size % 2:
            raise ValueError(f"a BiLSTM's output size must be even, found {output_size}")
        self.forward_lstm = TrainingModeLSTM(input_size, output_size // 2, batch_first=True)
        self.backward_lstm = TrainingModeLSTM(input_size, output_size // 2, batch_first=True)

    def forward(self, states: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """(batch, length, input) -> (batch, length, output)."""
        positions = torch.arange(states.shape[1], device=states.device)
        mirrored = (text_mask.sum(1, keepdim=True) - 1 - positions).clamp(min=0)[..., None]  # (batch, length, 1)
        with self._precision(states.device.type):
            states = states.to(self.forward_lstm.weight_ih_l0.dtype) if states.device.type == "cpu" else states
            forward, _ = self.forward_lstm(states)
            backward, _ = self.backward_lstm(states.gather(1, mirrored.expand_as(states)))
        backward = backward.gather(1, mirrored.expand_as(backward))
        return torch.cat([forward, backward], dim=-1)

    @staticmethod
    def _precision(device_type: str) -> contextlib.AbstractContextManager:
        """Leave autocast out on CPUs: many have no LSTM in bfloat16, and oneDNN then fails."""
        return torch.autocast("cpu", enabled=False) if device_type == "cpu" else contextlib.nullcontext()


class SoftLexicon(nn.Module):
    """Word features per character (eq. 2; SoftLexicon, Ma et al. 2020, eqs. 9–12).

    `bmes`: four sets per character, of the words that begin there, continue (middle), end, or are that single
    character; each set is the sum of its word vectors weighted by word frequency, divided by the frequency of all four
    sets, times 4. `mean`: the average of the words that cover the character. An empty set is a learned null word.
    """

    def __init__(self, config: AdnerConfig):
        super().__init__()
        size = config.lexicon_embedding_size
        self.pooling = config.lexicon_pooling
        self.word_embeddings = nn.Embedding(max(config.lexicon_size, 1), size, padding_idx=0)
        self.null_word = nn.Parameter(torch.zeros(size))
        self.register_buffer("frequencies", torch.ones(max(config.lexicon_size, 1)))
        self.output_size = size * (4 if self.pooling == "bmes" else 1)

    def forward(self, matches: LexiconMatches, length: int) -> torch.Tensor:
        """Compute word features, (batch, length, output_size)."""
        batch, size = matches.ids.shape[0], self.word_embeddings.embedding_dim
        covered, sets = covered_characters(matches, length), self.output_size // size
        weights = self._word_weights(matches.ids).flatten()[covered.word]  # float32: float16 cannot hold all of them
        total = weights.new_zeros(batch * length).index_add(0, covered.position, weights)
        weights = weights * (sets / total[covered.position])
        targets = covered.position * sets + self._sets(covered)
        matrix = SparseMatrix.of_entries(targets, covered.word, weights, batch * length * sets)
        words = self.word_embeddings(matches.ids) if matches.vectors is None else matches.vectors
        features = matrix.times(words.flatten(0, 1))  # (batch * length * sets, size)
        features = torch.where(matrix.counts[:, None] == 0, self.null_word, features)
        return features.view(batch, length, self.output_size)

    def _word_weights(self, ids: torch.Tensor) -> torch.Tensor:
        frequencies = self.frequencies[ids].float().clamp(min=1.0)
        return frequencies if self.pooling == "bmes" else torch.ones_like(frequencies)

    def _sets(self, covered: Covered) -> torch.Tensor:
        """Return the set in which a word stands at a character, (rows,): 0 begin, 1 middle, 2 end, 3 single."""
        if self.pooling == "mean":
            return torch.zeros_like(covered.offset)
        begins, ends = covered.offset == 0, covered.remaining == 0
        return torch.where(begins, torch.where(ends, 3, 0), torch.where(ends, 2, 1))


class WordContext(nn.Module):
    """f_w of eq. 4: a projection and one bidirectional layer (BiLSTM or a transformer layer) over word features."""

    def __init__(self, config: AdnerConfig, input_size: int, size: int):
        super().__init__()
        self.project = nn.Linear(input_size, size)
        self.is_lstm = config.word_layer == "lstm"
        if self.is_lstm:
            self.lstm = BidirectionalLSTM(size, size)
        else:
            self.attention = MultiHeadAttention(config, size)
            self.feed_forward = nn.Sequential(nn.Linear(size, 2 * size), ACT2FN["gelu"], nn.Linear(2 * size, size))
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(self, features: torch.Tensor, text_mask: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(batch, length, input) -> (batch, length, size)."""
        states = self.dropout(ACT2FN["gelu"](self.project(features)))
        if self.is_lstm:
            return self.norm(self.lstm(states, text_mask))
        states, _ = self.attention(states, states, bias)
        return self.norm(states + self.dropout(self.feed_forward(states)))


class FusionGate(nn.Linear):
    """The linear map of eq. 7's gate; a separate class because its bias is initialised to 1."""


class StreamFusion(nn.Module):
    """Eq. 7: fuse both attended streams into one vector, through a gate that initially favours the characters."""

    def __init__(self, config: AdnerConfig, size: int):
        super().__init__()
        self.is_gate = config.stream_fusion == "gate"
        self.mix = (FusionGate if self.is_gate else nn.Linear)(2 * size, size)

    def forward(self, characters: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Fuse two (batch, length, size) streams into one."""
        mixed = self.mix(torch.cat([characters, words], dim=-1))
        if not self.is_gate:
            return mixed
        gate = torch.sigmoid(mixed)
        return gate * characters + (1 - gate) * words


class DualStream(nn.Module):
    """The dual-stream network with cross-stream attention (eqs. 2–7)."""

    def __init__(self, config: AdnerConfig):
        super().__init__()
        size = config.fused_size
        self.lexicon = SoftLexicon(config)
        self.character_stream = nn.Sequential(nn.Linear(config.hidden_size, size), nn.LayerNorm(size))
        self.word_stream = WordContext(config, config.hidden_size + self.lexicon.output_size, size)
        self.character_to_word = MultiHeadAttention(config, size)
        self.word_to_character = MultiHeadAttention(config, size)
        self.fusion = StreamFusion(config, size)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(
        self, hidden: torch.Tensor, matches: LexiconMatches, text_mask: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]:
        """Fuse encoder states (batch, length, hidden): (batch, length, size), and the weights of both attentions."""
        word_features = self.lexicon(matches, hidden.shape[1]).to(hidden.dtype)
        hidden = self.dropout(hidden)
        characters = self.character_stream(hidden)
        words = self.word_stream(torch.cat([hidden, word_features], dim=-1), text_mask, bias)  # eq. 3, eq. 4
        attended_characters, to_words = self.character_to_word(characters, words, bias)
        attended_words, to_characters = self.word_to_character(words, characters, bias)
        return self.fusion(attended_characters, attended_words), (to_words, to_characters)


class GatedGraphNetwork(nn.Module):
    """GGNN (eqs. 13–15): T rounds of message passing over the normalised edges with a gated update, residual."""

    def __init__(self, config: AdnerConfig, size: int):
        super().__init__()
        self.rounds = config.graph_rounds
        self.message = nn.Linear(size, size)
        self.update = nn.GRUCell(size, size)
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(self, states: torch.Tensor, edges: EdgeList | EdgeMatrix) -> torch.Tensor:
        """`states` (batch, length, size), normalised `edges` of its positions -> (batch, length, size)."""
        nodes = states
        for _ in range(self.rounds):
            messages = edges.sums(self.message(nodes))  # eq. 13
            nodes = self.update(messages.flatten(0, 1), nodes.flatten(0, 1)).view_as(states)  # eq. 14
        return self.norm(states + self.dropout(nodes))


class CharacterEmbedding(nn.Module):
    """Character embedding of architectures without a pretrained encoder."""

    def __init__(self, config: AdnerConfig):
        super().__init__()
        size, padding = config.character_vocab_size, config.pad_token_id
        if size < 1 or not 0 <= (padding or 0) < size:
            raise ValueError(
                f"character_vocab_size is {size} and pad_token_id {padding}: an architecture without an encoder needs "
                "the size of its tokenizer's vocabulary and an id below it"
            )
        self.word_embeddings = nn.Embedding(size, config.character_embedding_size, padding_idx=padding)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None) -> torch.Tensor:
        """Embed ids (batch, length), or take vectors (batch, length, size) as they are; with dropout."""
        return self.dropout(self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds)
