"""Text positions and the layers of M-DSCMG against plain loops over their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hf_adner import AdnerConfig
from hf_adner.model.lattice_adner import LexiconMatches, lattice_edges
from hf_adner.model.layers_adner import (
    BidirectionalLSTM,
    CharacterEmbedding,
    DualStream,
    GatedGraphNetwork,
    MultiHeadAttention,
    SoftLexicon,
    StreamFusion,
    WordContext,
    attention_bias,
    count_positions,
    locate_text,
)

LENGTH = 7
SIZE = 8
ROWS = st.lists(  # per row: text length, and words as (id, start, word length)
    st.tuples(
        st.integers(0, LENGTH),
        st.lists(st.tuples(st.integers(1, 5), st.integers(0, LENGTH - 1), st.integers(1, 4)), max_size=6),
    ),
    min_size=1,
    max_size=3,
)
SOME_ROWS = [(7, [(1, 0, 2), (2, 1, 1), (3, 1, 3), (4, 3, 4), (1, 5, 2)]), (4, [(5, 0, 4), (2, 2, 1)]), (0, [])]


def configure(**kwargs) -> AdnerConfig:
    return AdnerConfig(
        **{
            "encoder_config": {"model_type": "bert", "hidden_size": 10},
            "stream_size": SIZE,
            "num_stream_heads": 2,
            "lexicon_size": 6,
            "lexicon_embedding_size": 3,
            "head_dropout": 0.0,
            "attn_implementation": "eager",
            **kwargs,
        }
    )


def inside(rows) -> list[tuple[int, list[tuple[int, int, int]]]]:
    """Rows with words as (id, start, end), without the words that leave the text."""
    spans = [(length, [(word, start, start + size) for word, start, size in words]) for length, words in rows]
    return [(length, [span for span in words if span[2] <= length]) for length, words in spans]


def matches_of(rows, padding: int = 2) -> LexiconMatches:
    """The rows' words as tensors (batch, words) with `padding` columns of word 0."""
    width = max(len(words) for _, words in rows) + padding
    lines = [[*words, *[(0, 0, 0)] * (width - len(words))] for _, words in rows]
    return LexiconMatches(*torch.tensor(lines).view(len(rows), width, 3).unbind(-1))


def mask_of(rows) -> torch.Tensor:
    return torch.tensor([[position < length for position in range(LENGTH)] for length, _ in rows])


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return module.eval()


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def soft_lexicon(**kwargs) -> SoftLexicon:
    layer = randomise(SoftLexicon(configure(**kwargs)))
    layer.frequencies.copy_(torch.tensor([0.0, 4, 1, 0, 9, 300]))
    return layer


def set_of(position: int, start: int, end: int) -> str | None:
    """The SoftLexicon set of a word at a position it covers."""
    if not start <= position < end:
        return None
    if end - start == 1:
        return "S"
    return "B" if position == start else "E" if position == end - 1 else "M"


def softlexicon_by_definition(layer: SoftLexicon, words, position: int) -> torch.Tensor:
    """Four sets, each the sum of its words' vectors times frequency, over the frequency of all sets, times four."""
    vectors, frequencies = layer.word_embeddings.weight, layer.frequencies.tolist()
    weight = {word: max(frequencies[word], 1.0) for word, _, _ in words}
    total = sum(weight[word] for word, start, end in words if set_of(position, start, end))
    features = []
    for name in "BMES":
        members = [word for word, start, end in words if set_of(position, start, end) == name]
        pooled = sum(4 * weight[word] / total * vectors[word] for word in members) if members else layer.null_word
        features.append(pooled)
    return torch.cat(features)


def mean_by_definition(layer: SoftLexicon, words, position: int) -> torch.Tensor:
    """Eq. 2: (1/m) times the sum over the m words that cover the character."""
    members = [word for word, start, end in words if set_of(position, start, end)]
    if not members:
        return layer.null_word
    return sum(layer.word_embeddings.weight[word] for word in members) / len(members)


@pytest.mark.parametrize(("pooling", "definition"), [("bmes", softlexicon_by_definition), ("mean", mean_by_definition)])
@given(rows=ROWS)
@settings(max_examples=25)
def test_soft_lexicon_is_its_definition(pooling, definition, rows):
    layer, rows = soft_lexicon(lexicon_pooling=pooling), inside(rows)
    features = layer(matches_of(rows), LENGTH)
    assert features.shape == (len(rows), LENGTH, layer.output_size)
    for row, (_, words) in enumerate(rows):
        expected = torch.stack([definition(layer, words, position) for position in range(LENGTH)])
        torch.testing.assert_close(features[row], expected)


@pytest.mark.parametrize("pooling", ["bmes", "mean"])
def test_soft_lexicon_without_words_is_the_null_word(pooling):
    layer = soft_lexicon(lexicon_pooling=pooling)
    none = torch.zeros(2, 0, dtype=torch.long)
    features = layer(LexiconMatches(none, none, none), LENGTH)
    assert torch.equal(features.unflatten(-1, (-1, 3)), layer.null_word.expand(2, LENGTH, features.shape[-1] // 3, 3))


def test_frequent_words_outweigh_rare_ones():
    layer = soft_lexicon()
    rows = [(LENGTH, [(2, 0, 2), (5, 0, 3)])]  # frequencies 1 and 300, both begin at 0
    begins = layer(matches_of(rows), LENGTH)[0, 0, :3]
    vectors = layer.word_embeddings.weight
    torch.testing.assert_close(begins, 4 * (vectors[2] + 300 * vectors[5]) / 301)


def test_every_word_vector_in_use_and_the_null_word_learn():
    layer = soft_lexicon()
    layer(matches_of(inside(SOME_ROWS)), LENGTH).square().sum().backward()
    used = layer.word_embeddings.weight.grad.abs().sum(1) > 0
    assert used.tolist() == [False, True, True, True, True, True]
    assert layer.null_word.grad.abs().sum() > 0


def attention_by_definition(layer: MultiHeadAttention, states, memory) -> tuple[torch.Tensor, torch.Tensor]:
    """One row: softmax(QK'/sqrt(d))V per head, heads concatenated, projected, residual, LayerNorm."""
    query, key, value = layer.query(states), layer.key(memory), layer.value(memory)
    width = SIZE // layer.heads
    outputs, weights = [], []
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        weights.append(torch.softmax(query[:, part] @ key[:, part].T / width**0.5, -1))
        outputs.append(weights[-1] @ value[:, part])
    return layer.norm(states + layer.output(torch.cat(outputs, -1))), torch.stack(weights)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_is_its_definition_and_never_reads_padding(implementation):
    layer = randomise(MultiHeadAttention(configure(attn_implementation=implementation), SIZE))
    states, memory, mask = noise(3, LENGTH, SIZE), noise(3, LENGTH, SIZE, seed=2), mask_of(SOME_ROWS)
    memory = memory.masked_fill(~mask[..., None], 1e3)
    output, weights = layer(states, memory, attention_bias(mask, states.dtype))
    assert (weights is None) == (implementation == "sdpa")
    for row, (length, _) in enumerate(SOME_ROWS[:2]):
        expected, expected_weights = attention_by_definition(layer, states[row], memory[row, :length])
        torch.testing.assert_close(output[row], expected, atol=1e-5, rtol=1e-5)
        if weights is not None:
            torch.testing.assert_close(weights[row, :, :, :length], expected_weights, atol=1e-5, rtol=1e-5)
            assert not weights[row, :, :, length:].any()
    assert output.isfinite().all()


def test_bilstm_is_the_packed_bidirectional_lstm():
    layer = randomise(BidirectionalLSTM(SIZE, 6))
    packed = nn.LSTM(SIZE, 3, batch_first=True, bidirectional=True)
    for name, parameter in layer.forward_lstm.named_parameters():
        getattr(packed, name).data.copy_(parameter)
        getattr(packed, f"{name}_reverse").data.copy_(dict(layer.backward_lstm.named_parameters())[name])
    lengths = [LENGTH, 3, 1]
    states = noise(3, LENGTH, SIZE)
    rows = nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed(rows)[0], batch_first=True)
    output = layer(states, mask_of([(length, []) for length in lengths]))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(output[row, :length], expected[row, :length])
    with pytest.raises(ValueError, match="must be even, found 5"):
        BidirectionalLSTM(SIZE, 5)


def test_graph_network_is_its_recurrence():
    layer = randomise(GatedGraphNetwork(configure(graph_rounds=3), SIZE))
    states = noise(1, LENGTH, SIZE)
    edges = lattice_edges(mask_of(SOME_ROWS[:1]), None)
    adjacency = edges.sums(torch.eye(LENGTH)[None])
    nodes = states[0]
    for _ in range(3):
        message = adjacency[0] @ (nodes @ layer.message.weight.T + layer.message.bias)
        gates_in = message @ layer.update.weight_ih.T + layer.update.bias_ih
        gates_hidden = nodes @ layer.update.weight_hh.T + layer.update.bias_hh
        reset, update = torch.sigmoid(gates_in + gates_hidden).chunk(3, -1)[:2]
        candidate = torch.tanh(gates_in.chunk(3, -1)[2] + reset * gates_hidden.chunk(3, -1)[2])
        nodes = (1 - update) * candidate + update * nodes
    torch.testing.assert_close(layer(states, edges)[0], layer.norm(states[0] + nodes))


def test_graph_reaches_as_far_as_its_rounds():
    layer = randomise(GatedGraphNetwork(configure(graph_rounds=2), SIZE))
    mask = mask_of(SOME_ROWS[:1])
    edges = lattice_edges(mask, None)
    states = noise(1, LENGTH, SIZE)
    moved = states.clone()
    moved[0, 0] += 1
    changed = (layer(states, edges) != layer(moved, edges)).any(-1)[0]
    assert changed.tolist() == [True, True, True, False, False, False, False]


def test_fusion_gate_and_concatenation():
    characters, words = noise(2, LENGTH, SIZE), noise(2, LENGTH, SIZE, seed=2)
    gate = randomise(StreamFusion(configure(), SIZE))
    share = torch.sigmoid(gate.mix(torch.cat([characters, words], -1)))
    torch.testing.assert_close(gate(characters, words), share * characters + (1 - share) * words)
    concat = randomise(StreamFusion(configure(stream_fusion="concat"), SIZE))
    torch.testing.assert_close(concat(characters, words), concat.mix(torch.cat([characters, words], -1)))


@pytest.mark.parametrize("options", [{}, {"word_layer": "transformer"}, {"lexicon_pooling": "mean"}])
def test_dual_stream_never_reads_padding(options):
    layer = randomise(DualStream(configure(**options)))
    rows = inside(SOME_ROWS)
    mask, hidden = mask_of(rows), noise(3, LENGTH, 10)
    bias = attention_bias(mask, hidden.dtype)
    fused, (to_words, to_characters) = layer(hidden, matches_of(rows), mask, bias)
    other = torch.where(mask[..., None], hidden, 50 * noise(3, LENGTH, 10, seed=3))
    again, _ = layer(other, matches_of(rows, padding=5), mask, bias)
    torch.testing.assert_close(fused[mask], again[mask], atol=1e-5, rtol=0)
    for weights in (to_words, to_characters):
        assert not (weights * ~mask[:, None, None, :])[:2].any()
    moved = hidden.clone()
    moved[0, 0] += 1
    assert (layer(moved, matches_of(rows), mask, bias)[0] - fused)[0, -1].abs().max() > 1e-4


def test_words_reach_the_fused_states():
    layer = randomise(DualStream(configure()))
    rows = inside(SOME_ROWS)
    mask, hidden = mask_of(rows), noise(3, LENGTH, 10)
    bias = attention_bias(mask, hidden.dtype)
    without = [(length, []) for length, _ in rows]
    change = layer(hidden, matches_of(rows), mask, bias)[0] - layer(hidden, matches_of(without), mask, bias)[0]
    assert (change.abs().amax(-1) > 1e-4)[mask].all() and not change[2].any()


@pytest.mark.parametrize("word_layer", ["lstm", "transformer"])
def test_word_context_reads_both_sides(word_layer):
    layer = randomise(WordContext(configure(word_layer=word_layer), 5, SIZE))
    mask = mask_of(SOME_ROWS[:1])
    bias = attention_bias(mask, torch.float32)
    features = noise(1, LENGTH, 5).requires_grad_()
    layer(features, mask, bias)[0, 3].square().sum().backward()
    assert (features.grad[0].abs().sum(-1) > 0).all()


def test_character_embedding_takes_ids_or_vectors():
    layer = CharacterEmbedding(configure(character_vocab_size=9, character_embedding_size=4)).eval()
    ids = torch.tensor([[1, 2, 0]])
    assert torch.equal(layer(ids, None), layer(None, layer.word_embeddings(ids)))
    assert not layer(ids, None)[0, 2].any()


PADDED_ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=4)


def padded_masks(rows) -> torch.Tensor:
    """An attention mask (batch, tokens) of texts with two special tokens each, padded left or right."""
    width = max(length for length, _ in rows) + 3
    lines = []
    for length, is_left in rows:
        attended, padding = [1] * (length + 2), [0] * (width - length - 2)
        lines.append(padding + attended if is_left else attended + padding)
    return torch.tensor(lines)


def text_tokens(row: list[int]) -> list[int]:
    """Positions of the text's tokens: all attended tokens except the first and the last."""
    return [position for position, attended in enumerate(row) if attended][1:-1]


@given(PADDED_ROWS)
def test_text_is_found_and_left_aligned(rows):
    mask = padded_masks(rows)
    positions = locate_text(mask)
    for row, line in enumerate(mask.tolist()):
        text = text_tokens(line)
        assert positions.mask[row].tolist() == [index < len(text) for index in range(mask.shape[1] - 2)]
        assert positions.index[row, : len(text)].tolist() == text
        assert positions.before[row].tolist() == [sum(token < edge for token in text) for edge in range(len(line) + 1)]


@given(PADDED_ROWS)
def test_put_writes_text_over_the_background_and_nothing_else(rows):
    mask = padded_masks(rows)
    positions = locate_text(mask)
    values = torch.arange(mask.numel() * 2.0).view(*mask.shape, 2)  # (batch, tokens, 2)
    spread = positions.put(positions.take(values) + 1000, -values)
    for row, line in enumerate(mask.tolist()):
        text = text_tokens(line)
        for token in range(len(line)):
            expected = values[row, token] + 1000 if token in text else -values[row, token]
            assert torch.equal(spread[row, token], expected)
    flat = positions.put(positions.take(values[..., 0]), torch.zeros(mask.shape))
    assert torch.equal(flat, values[..., 0] * (spread[..., 1] > 1000))


def test_a_gap_in_the_attention_is_not_text():
    positions = locate_text(torch.tensor([[1, 1, 0, 1, 1]]))
    assert positions.index[0, :2].tolist() == [1, 3] and positions.mask[0].tolist() == [True, True, False]


def test_sequences_without_room_for_text():
    for width in (1, 2, 3):
        positions = locate_text(torch.zeros(2, width, dtype=torch.long))
        assert not positions.mask.any()
        assert not locate_text(torch.ones(2, min(width, 2), dtype=torch.long)).mask.any()


@given(PADDED_ROWS, st.integers(0, 2))
def test_positions_count_from_the_first_attended_token(rows, first):
    mask = padded_masks(rows)
    ids = count_positions(mask, first)
    for line, numbers in zip(mask.tolist(), ids.tolist()):
        attended = [number for number, is_attended in zip(numbers, line) if is_attended]
        assert attended == list(range(first, first + len(attended)))
        assert min(numbers) >= first and max(numbers) < first + len(attended)
