"""M-DSCMG (Luo, Che, Ji 2025), its baselines and its ablations as Hugging Face models."""

import inspect
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_adner import ARCHITECTURES, AdnerConfig
from .crf_adner import AdnerCRF
from .encoders_adner import build_encoder, encoder_first_position, limit_tokenizer, load_encoder, position_limit
from .heads_adner import CrfHead, LabelStates, SoftmaxHead
from .inputs_adner import batch_shape, check_labels, check_length, check_matches, check_shapes, check_values
from .labels_adner import UNOBSERVED, bio_labels
from .lattice_adner import EdgeList, EdgeMatrix, LexiconMatches, lattice_edges, normalise_adjacency
from .layers_adner import (
    BidirectionalLSTM,
    CharacterEmbedding,
    DualStream,
    FusionGate,
    GatedGraphNetwork,
    MultiHeadAttention,
    SoftLexicon,
    TextPositions,
    attention_bias,
    count_positions,
    locate_text,
)
from .loading_adner import CheckedModel
from .outputs_adner import AdnerModelOutput, AdnerTokenClassifierOutput
from .per_label_adner import ChainLabels, PerLabelHead
from .word_table_adner import AddedWords, add_words, fill_word_table

logger = logging.getLogger(__name__)


class AdnerPreTrainedModel(CheckedModel):
    """Weights, initialisation and loading shared by the Adner models."""

    config: AdnerConfig
    base_model_prefix = "adner"
    accepts_loss_kwargs = True
    _supports_sdpa = True
    _no_split_modules: list[str] = []

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AdnerCRF):
            for parameter in module.parameters(recurse=False):
                init.uniform_(parameter, -0.1, 0.1)
            module.fill_constraints()
        elif isinstance(module, LabelStates | ChainLabels):
            module.fill()
        elif isinstance(module, nn.GRUCell):
            for name, parameter in module.named_parameters():
                init.xavier_uniform_(parameter) if "weight" in name else init.zeros_(parameter)
        elif isinstance(module, SoftLexicon):
            init.zeros_(module.null_word)
            init.ones_(module.frequencies)
        elif isinstance(module, FusionGate):
            init.constant_(module.bias, 1.0)


class AdnerModel(AdnerPreTrainedModel):
    """The network without its classifier (eqs. 1–15)."""

    weights_of_heads = ("head.",)

    def __init__(self, config: AdnerConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        config.check()
        self.encoder = self._set_up_encoder(encoder) if config.use_encoder else CharacterEmbedding(config)
        self.dual_stream = DualStream(config) if config.use_dual_stream else None
        self.bilstm = BidirectionalLSTM(config.fused_size, config.bilstm_size) if config.use_bilstm else None
        size = config.output_size
        self.self_attention = MultiHeadAttention(config, size) if config.use_self_attention else None
        self.graph = GatedGraphNetwork(config, size) if config.use_graph else None
        self.dropout = nn.Dropout(config.head_dropout)
        self._position_limit = position_limit(self)
        self.supports_gradient_checkpointing = getattr(self.encoder, "supports_gradient_checkpointing", False)
        self._keep_in_fp32_modules_strict = ["frequencies"] if config.use_dual_stream else []
        self.post_init()

    def _set_up_encoder(self, encoder: PreTrainedModel | None) -> PreTrainedModel:
        if encoder is None:
            encoder = build_encoder(self.config.encoder_config)
        self.config.encoder_config._attn_implementation = encoder.config._attn_implementation
        encoder.config = self.config.encoder_config
        self._no_split_modules = list(encoder._no_split_modules or [])
        accepted = inspect.signature(encoder.forward).parameters
        self._encoder_inputs = {name for name in ("token_type_ids", "position_ids") if name in accepted}
        self._first_position = encoder_first_position(encoder)
        return encoder

    def get_input_embeddings(self) -> nn.Module:
        """The character embedding."""
        return self.encoder.get_input_embeddings() if self.config.use_encoder else self.encoder.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the character embedding."""
        if self.config.use_encoder:
            self.encoder.set_input_embeddings(value)
        else:
            self.encoder.word_embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        lexicon_ids: torch.LongTensor | None = None,
        lexicon_starts: torch.LongTensor | None = None,
        lexicon_ends: torch.LongTensor | None = None,
        lexicon_embeds: torch.FloatTensor | None = None,
        adjacency: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> AdnerModelOutput:
        """Compute the representation of each text position.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: (batch, tokens), as for the encoder.
            inputs_embeds: (batch, tokens, hidden) instead of `input_ids`.
            lexicon_ids, lexicon_starts, lexicon_ends: (batch, words) matched words in token positions, end exclusive,
                id 0 = padding (`AdnerTokenizer` makes them).
            lexicon_embeds: (batch, words, size) word vectors instead of those of `lexicon_ids`.
            adjacency: (batch, tokens, tokens) edges of the graph instead of neighbours and lexicon lattice.

        Raises:
            ValueError: not exactly one of ids and embeddings, no row, more tokens than positions, tensors of other
                shapes, no matches although there is a lexicon, or (checked on the CPU only) ids or positions out of
                range.
        """
        tokens = batch_shape(input_ids, inputs_embeds)
        if attention_mask is None:
            attention_mask = torch.ones(tokens, dtype=torch.long, device=self.device)
        optional = {"token_type_ids": token_type_ids, "position_ids": position_ids}
        check_shapes(tokens, attention_mask=attention_mask, **optional)
        check_values("input_ids", input_ids, self.config.vocab_size, "the model has no embedding for more")
        check_length(tokens[1], self._position_limit)
        positions = locate_text(attention_mask)
        matches = self._matches(positions, lexicon_ids, lexicon_starts, lexicon_ends, lexicon_embeds)
        encoded = self._encode(input_ids, attention_mask, inputs_embeds, optional, kwargs)
        hidden = positions.take(encoded.last_hidden_state) * positions.mask[..., None]
        states, attentions = self._head(hidden, matches, positions, adjacency)
        background = states.new_zeros(*tokens, states.shape[-1])
        return AdnerModelOutput(
            last_hidden_state=positions.put(states, background),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
            stream_attentions=attentions or None,
        )

    def _encode(self, input_ids, attention_mask, inputs_embeds, optional, kwargs) -> Any:
        if not self.config.use_encoder:
            embedded = self.encoder(input_ids, inputs_embeds)
            shown = kwargs.get("output_hidden_states", self.config.output_hidden_states)
            return AdnerModelOutput(last_hidden_state=embedded, hidden_states=(embedded,) if shown else None)
        if optional["position_ids"] is None and self._first_position is not None:
            optional["position_ids"] = count_positions(attention_mask, self._first_position)
        optional = {name: value for name, value in optional.items() if name in self._encoder_inputs}
        ids = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
        shown = ("output_hidden_states", "output_attentions")
        options = {**{name: True for name in shown if getattr(self.config, name)}, **kwargs, "return_dict": True}
        return self.encoder(attention_mask=attention_mask, **ids, **optional, **options)

    def _matches(self, positions: TextPositions, ids, starts, ends, vectors) -> LexiconMatches | None:
        if not self.config.needs_lexicon:
            return None
        if ids is None and self.config.lexicon_size > 1:
            raise ValueError(
                f"this {self.config.architecture} model was built with a lexicon of {self.config.lexicon_size - 1} "
                "words, but lexicon_ids is missing; use its AdnerTokenizer (or pass tensors of shape (batch, 0) if no "
                "word matches)"
            )
        if ids is None:
            ids = starts = ends = positions.index.new_zeros(len(positions.index), 0)
        tokens = torch.Size((len(positions.before), positions.before.shape[1] - 1))
        matches = {"lexicon_ids": ids, "lexicon_starts": starts, "lexicon_ends": ends}
        check_matches(tokens, max(self.config.lexicon_size, 1), matches)
        return LexiconMatches(ids, positions.before.gather(1, starts), positions.before.gather(1, ends), vectors)

    def _head(self, hidden, matches, positions: TextPositions, adjacency) -> tuple[torch.Tensor, tuple]:
        mask, attentions = positions.mask, ()
        bias = attention_bias(mask, hidden.dtype)
        if self.dual_stream is not None:
            hidden, attentions = self.dual_stream(hidden, matches, mask, bias)
        if self.bilstm is not None:
            hidden = self.bilstm(self.dropout(hidden), mask)
        if self.self_attention is not None:
            hidden, weights = self.self_attention(hidden, hidden, bias)
            attentions = (*attentions, weights)
        if self.graph is not None:
            hidden = self.graph(hidden, self._edges(matches, positions, adjacency))
        return hidden, tuple(weights for weights in attentions if weights is not None)

    def _edges(self, matches, positions: TextPositions, adjacency: torch.Tensor | None) -> EdgeList | EdgeMatrix:
        if adjacency is None:
            return lattice_edges(positions.mask, matches if self.config.use_lexicon_edges else None)
        columns = positions.take(positions.take(adjacency.float()).transpose(1, 2))
        return EdgeMatrix(normalise_adjacency(columns.transpose(1, 2), positions.mask))  # (batch, text, text)


class AdnerForTokenClassification(AdnerPreTrainedModel):
    """Any architecture of `ARCHITECTURES`, with its linear-chain CRF (eqs. 16–19) or softmax head.

    A calibration (`adner calibrate`) was fitted for the weights as they were. Once a calibrated model is trained on (a
    forward pass in training mode with gradients), `config.calibration` becomes None, with a warning.
    """

    def __init__(self, config: AdnerConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        self.adner = AdnerModel(config, encoder=encoder)
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = _build_head(config)
        self._no_split_modules = self.adner._no_split_modules
        self.supports_gradient_checkpointing = self.adner.supports_gradient_checkpointing
        self._keep_in_fp32_modules_strict = ["crf"] if config.use_crf else []
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The character embedding."""
        return self.adner.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the character embedding."""
        self.adner.set_input_embeddings(value)

    @classmethod
    def from_encoder_pretrained(
        cls,
        name_or_path: str,
        tokenizer: Any = None,
        labels: Sequence[str] = (),
        architecture: str = "m-dscmg",
        *,
        word_vectors: torch.Tensor | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        **config_kwargs: Any,
    ) -> "AdnerForTokenClassification":
        """Create a tagger on a pretrained encoder (a Hub name such as `hfl/chinese-macbert-base`, or a folder).

        Args:
            tokenizer: an `AdnerTokenizer`; word list, frequencies and initial word vectors are those of its lexicon.
                Its `model_max_length` is lowered to what the encoder takes.
            labels: entity types.
            word_vectors: (lexicon size, lexicon_embedding_size), in place of the mean character vectors.
            encoder_kwargs: passed to `AutoModel.from_pretrained`.
            config_kwargs: other fields of `AdnerConfig`.

        Raises:
            ValueError: the architecture has no encoder, the tokenizer has more characters than the encoder, or
                `word_vectors` has another shape.
        """
        if not {**ARCHITECTURES.get(architecture, {}), **config_kwargs}.get("use_encoder", True):
            raise ValueError(f"architecture {architecture!r} has no encoder; build it with from_scratch()")
        encoder = load_encoder(name_or_path, encoder_kwargs)
        encoder_config = encoder.config.to_dict()
        encoder_config.pop("_name_or_path", None)
        model = cls._assemble(tokenizer, labels, architecture, encoder_config, config_kwargs, encoder)
        if tokenizer is not None:
            limit_tokenizer(tokenizer, model)
        return model._initialise(tokenizer, word_vectors)

    @classmethod
    def from_scratch(
        cls,
        tokenizer: Any,
        labels: Sequence[str],
        architecture: str = "bilstm-crf",
        *,
        encoder_config: dict[str, Any] | None = None,
        word_vectors: torch.Tensor | None = None,
        **config_kwargs: Any,
    ) -> "AdnerForTokenClassification":
        """Create a tagger with random weights; `encoder_config` as for `AutoConfig`, vocabulary of the tokenizer."""
        if encoder_config is not None:
            encoder_config = {**encoder_config, "vocab_size": len(tokenizer)}
        config_kwargs = {"character_vocab_size": len(tokenizer), **config_kwargs}
        model = cls._assemble(tokenizer, labels, architecture, encoder_config, config_kwargs, None)
        return model._initialise(tokenizer, word_vectors)

    @classmethod
    def _assemble(cls, tokenizer, labels, architecture, encoder_config, config_kwargs, encoder):
        names = bio_labels(labels)
        config_kwargs = {"script_hash": getattr(tokenizer, "script_hash", None), **config_kwargs}
        lexicon = getattr(tokenizer, "lexicon", None)
        if lexicon is not None:
            config_kwargs = {"lexicon_size": lexicon.size, "lexicon_hash": lexicon.hash, **config_kwargs}
        config = cls.config_class(
            architecture=architecture,
            encoder_config=encoder_config,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            **config_kwargs,
        )
        if not config.needs_lexicon:
            config.lexicon_size, config.lexicon_hash = 0, None
        return cls(config, encoder=encoder)

    def _initialise(self, tokenizer: Any, word_vectors: torch.Tensor | None) -> "AdnerForTokenClassification":
        if tokenizer is not None:
            self._check_vocabulary(tokenizer)
        lexicon = getattr(tokenizer, "lexicon", None)
        if lexicon is not None and self.config.use_dual_stream:
            fill_word_table(self, tokenizer, word_vectors)
        return self.eval()

    def _check_vocabulary(self, tokenizer: Any) -> None:
        size = max(tokenizer.get_vocab().values(), default=-1) + 1
        if size > self.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {size} characters, the model's embedding only {self.config.vocab_size}; "
                "use the vocabulary that the model (or its encoder) was trained with, or resize_token_embeddings"
            )

    def add_words(
        self, tokenizer: Any, words: Sequence[str], frequencies: Sequence[int] | None = None, origin: str = "list"
    ) -> AddedWords:
        """Add words to the lexicon of this model and of its tokenizer, in place; save both then.

        Nothing changes for texts without the new words, whose vectors are as at the start of training. A calibration
        is kept; calibrate again if many texts have new words.

        Args:
            tokenizer: the model's own.
            words, frequencies, origin: as for `Lexicon`; frequencies of the corpus that the lexicon's are counted on.

        Raises:
            ValueError: the model reads no lexicon, the tokenizer is not its own, or as `Lexicon`.
        """
        return add_words(self, tokenizer, words, frequencies, origin)

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Check that a tokenizer has no more characters than the model, and its word list and script map.

        Raises:
            ValueError: the vocabulary is too large, or lexicon or script map are missing or their hash differs.
        """
        self._check_vocabulary(tokenizer)
        script_hash = getattr(tokenizer, "script_hash", None)
        if self.config.script_hash not in (None, script_hash):
            raise ValueError(
                f"the tokenizer's script map ({str(script_hash)[:12]}) is not the one the model was trained with "
                f"({self.config.script_hash[:12]}; script_hash in config.json and tokenizer_config.json)"
            )
        lexicon = getattr(tokenizer, "lexicon", None)
        if self.config.lexicon_hash is None:
            return
        if lexicon is None:
            raise ValueError(
                "the model was trained with a lexicon, but its tokenizer has none (lexicon_hash in "
                "tokenizer_config.json, and lexicon.json)"
            )
        if not lexicon.has_hash(self.config.lexicon_hash):
            raise ValueError(
                f"the tokenizer's lexicon ({len(lexicon)} words, hash {lexicon.hash[:12]}) is not the one the model "
                f"was trained with ({self.config.lexicon_size - 1} words, hash {self.config.lexicon_hash[:12]}; "
                "lexicon_hash in config.json)"
            )

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        lexicon_ids: torch.LongTensor | None = None,
        lexicon_starts: torch.LongTensor | None = None,
        lexicon_ends: torch.LongTensor | None = None,
        lexicon_embeds: torch.FloatTensor | None = None,
        adjacency: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Any,
    ) -> AdnerTokenClassifierOutput:
        """Tag a batch; inputs as in `AdnerModel.forward`.

        Args:
            labels: (batch, tokens) BIO label ids, -100 on special tokens and padding. A -100 inside the text is
                unobserved: the likelihood sums over its possible labels. Of a per-label model (batch, tokens, types):
                column j has the ids of O, B-x and I-x of entity type number j, x.
            num_items_in_batch: divisor of the summed loss (the Trainer passes the number of labels other than -100 of
                the whole step; of a per-label model it is divided by the number of types).

        Raises:
            ValueError: as `AdnerModel.forward`, a label that does not exist, or emissions that are nan or infinite.
        """
        self._drop_stale_calibration()
        tokens = batch_shape(input_ids, inputs_embeds)
        check_labels(tokens, labels, len(self.config.entity_types) if self.config.is_per_label else None)
        if attention_mask is None:
            attention_mask = torch.ones(tokens, dtype=torch.long, device=self.device)
        outputs = self.adner(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            lexicon_ids=lexicon_ids,
            lexicon_starts=lexicon_starts,
            lexicon_ends=lexicon_ends,
            lexicon_embeds=lexicon_embeds,
            adjacency=adjacency,
            return_dict=True,
            **kwargs,
        )
        positions = locate_text(attention_mask)
        hidden = self.dropout(positions.take(outputs.last_hidden_state))
        gold = None if labels is None else _gold_in_text(labels, positions)
        if gold is not None:
            self.head.check(gold)
        tagged = self.head(hidden, positions.mask, gold)
        by_token = tagged.at_tokens(positions, tokens[1])
        return AdnerTokenClassifierOutput(
            loss=None if labels is None else _mean_loss(tagged.likelihood, gold, num_items_in_batch),
            **by_token,
            emissions=tagged.emissions,
            text_mask=positions.mask.long(),  # transformers subtracts outputs, which booleans do not allow
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _drop_stale_calibration(self) -> None:
        # here rather than in a Trainer: every way of training comes by, whoever wrote its loop
        if self.config.calibration is not None and self.training and torch.is_grad_enabled():
            self.config.calibration = None
            logger.warning(
                "the model was calibrated and is trained on: its calibration (scores, review and candidate thresholds) "
                "was fitted for other weights and is dropped; run `adner calibrate` on the new checkpoint"
            )

    def entity_log_posteriors(
        self,
        emissions: torch.Tensor,
        text_mask: torch.Tensor,
        entities: Sequence[tuple[int, int, int, str]],
    ) -> torch.Tensor:
        """Return log p(entity | x) of exactly these spans and types, (entities,).

        CRF: exact span posterior (per-label: in the chain of the type). Softmax: sum of the log probabilities of the
        tokens' labels.

        Args:
            emissions, text_mask: from the output of `forward`.
            entities: (row, start, end, type) in text positions, end exclusive.

        Raises:
            ValueError: a span outside its row's text, or an unknown type.
        """
        lengths = text_mask.sum(1).tolist()
        for row, start, end, entity_type in entities:
            if not 0 <= row < len(lengths) or not 0 <= start < end <= lengths[row]:
                raise ValueError(f"entity ({row}, {start}, {end}, {entity_type}) is outside the text of its row")
        return self.head.entity_log_posteriors(emissions, text_mask.bool(), entities)


def _build_head(config: AdnerConfig) -> nn.Module:
    if config.is_per_label:
        return PerLabelHead(config)
    return CrfHead(config) if config.use_crf else SoftmaxHead(config)


def _gold_in_text(labels: torch.Tensor, positions: TextPositions) -> torch.Tensor:
    """Return label ids in text positions, (batch, text, ...), -100 behind the text."""
    mask = positions.mask.view(*positions.mask.shape, *[1] * (labels.dim() - 2))
    return positions.take(labels).masked_fill(~mask, UNOBSERVED)


def _mean_loss(likelihood: torch.Tensor, gold: torch.Tensor, num_items_in_batch: torch.Tensor | int | None):
    """Return the negative log-likelihood (batch,) per labelled token; 0 if no token is labelled.

    A token of a per-label model has a label in each column of `gold` (batch, text, types); all of them count as one.
    """
    if num_items_in_batch is None:
        num_items_in_batch = (gold != UNOBSERVED).sum()
    columns = gold.shape[2] if gold.dim() == 3 else 1
    items = torch.as_tensor(num_items_in_batch, device=likelihood.device).clamp(min=1)
    return -likelihood.sum() / items if columns == 1 else -likelihood.sum() * columns / items
