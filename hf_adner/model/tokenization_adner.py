"""A tokenizer with one token per character that also matches the words of a lexicon.

Chinese NER labels characters, so every character of a text, white space, control characters and emoji included, is one
token whose offsets are ``(i, i + 1)``. The vocabulary may come from any BERT or MacBERT repository.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Encoding, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BatchEncoding, TokenizersBackend
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy, to_py_obj

from .assertion_adner import RULES_FILE, AssertionRules
from .codes_adner import CODES_FILE, CodeTable
from .encoders_adner import NO_LIMIT, hub_options_of, limit_of_checkpoint
from .lexicon_adner import Lexicon, replace_surrogates
from .lexicon_rows_adner import (
    LEXICON_KEYS,
    MatchColumns,
    MatchRows,
    as_arrays,
    as_features,
    match_columns,
    pad_features,
    rows_in_window,
)
from .loading_adner import RESTORE, CheckpointError, check_tokenizer_files, named_errors
from .remote_code_adner import save_code
from .script_adner import SCRIPT_FILE, ScriptMap
from .text_batches_adner import is_batched, map_texts, samples

SPACE = "\u2581"  # the vocabulary entry of white space and other invisible characters
UNUSED = "[unused1]"  # the entry of BERT vocabularies that becomes SPACE if they lack it
LEXICON_FILE = "lexicon.json"
UNSAVED = "unsaved"  # of a tokenizer that is made, not loaded from a checkpoint
REFUSE = "error"  # truncation strategy: raise an error instead of truncating
INVISIBLE = r"[\p{Z}\p{Cc}\p{Cf}]"  # separators, control and format characters (zero-width ones too)

ENCODING = threading.RLock()
"""Held while a fast tokenizer encodes: its backend keeps padding and truncation of a call, which all threads see."""
if hasattr(os, "register_at_fork"):  # a process that is forked meanwhile must not wait for a thread that it lacks
    os.register_at_fork(before=ENCODING.acquire, after_in_parent=ENCODING.release, after_in_child=ENCODING.release)


class AdnerTokenizer(TokenizersBackend):
    """One token per character, with exact offsets for any string, and the lexicon words of the text.

    Outputs ``input_ids``, ``token_type_ids`` and ``attention_mask`` and, if there is a lexicon, ``lexicon_ids``,
    ``lexicon_starts`` and ``lexicon_ends``: one row per matched word that is wholly inside the text (or its window).
    Positions are those of tokens in the returned sequence, special tokens and padding included, end exclusive. Rows
    are sorted by start and end and padded with zeros; there is always at least one row, so that tensors and Arrow
    columns have an integer type even if nothing matched.

    White space, control and format characters share one vocabulary entry (``SPACE``; in BERT vocabularies it replaces
    ``[unused1]``; ``[UNK]`` if there is neither). A literal ``[SEP]`` in a text is five characters. A lone surrogate,
    which cannot be encoded, is read as U+FFFD.

    Traditional, variant and full-width characters are read as the Simplified, ordinary ones (`script_map`), one for
    one, so that a text in either script has the same inputs; offsets are those of the text as written. A character
    stays if the vocabulary has it, but not its ordinary form. Tokenizers saved without a map have none.

    Decoding puts no spaces between characters; it returns the vocabulary's form: lower-cased letters with
    `do_lower_case`, a space for any invisible character, ``[UNK]``. The original text is ``text[start:end]`` of the
    offsets.

    In addition to the truncation strategies of the base class, ``truncation="error"`` refuses a text longer than
    `max_length` (by default ``model_max_length``). With ``is_split_into_words`` the lexicon is matched against the
    concatenated words.

    Args:
        vocab: token -> id, or the path of a ``vocab.txt``.
        lexicon: the words to match; None for a tokenizer without lexicon inputs, or to load the saved lexicon.
        script_map: the characters to read as others; None reads every character as it is; by default that of the saved
            tokenizer, or for a new one `ScriptMap.standard()` as far as the vocabulary has its characters.
        do_lower_case: lower-case text and lexicon words character by character.
        lexicon_file: path of the saved lexicon; set by ``from_pretrained``.
        lexicon_hash: hash that the saved lexicon must have; set by ``from_pretrained``.
        script_file, script_hash: the same for the script map.
        assertion_rules: the rules by which a pipeline tells what is denied, suspected, past, conditional or someone
            else's; by default those saved with the tokenizer (a table that may be edited), or the standard ones.
        code_table: the codes of words that a pipeline gives to entities; by default those saved with the tokenizer, or
            none.
        assertion_file, codes_file: paths of the saved rules and codes; set by ``from_pretrained``.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens; all but the mask token must be in
            the vocabulary.

    Raises:
        ValueError: no vocabulary, a special token that it lacks, or a saved lexicon that is missing or has changed.
    """

    vocab_files_names = {
        "vocab_file": "vocab.txt",
        "tokenizer_file": "tokenizer.json",
        "lexicon_file": LEXICON_FILE,
        "script_file": SCRIPT_FILE,
        "assertion_file": RULES_FILE,
        "codes_file": CODES_FILE,
    }
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    model = WordPiece

    def __init__(
        self,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        lexicon: Lexicon | None = None,
        do_lower_case: bool = True,
        lexicon_file: str | None = None,
        lexicon_hash: str | None = UNSAVED,
        script_map: ScriptMap | str | None = UNSAVED,
        script_file: str | None = None,
        script_hash: str | None = UNSAVED,
        assertion_rules: AssertionRules | None = None,
        assertion_file: str | None = None,
        code_table: CodeTable | None = None,
        codes_file: str | None = None,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str | None = "[MASK]",
        **kwargs: Any,
    ) -> None:
        for key in ("tokenizer_file", "vocab_file", "post_processor", "tokenizer_padding", "tokenizer_truncation"):
            kwargs.pop(key, None)  # the backend is always built here, not read from the repository
        vocab = _read_vocab(vocab)
        added = {str(token): int(number) for number, token in (kwargs.get("added_tokens_decoder") or {}).items()}
        known = vocab.keys() | added
        _check_special_tokens(vocab, unk_token)
        _check_special_tokens(known, sep_token, pad_token, cls_token)
        self.do_lower_case = do_lower_case
        self._lexicon: Lexicon | None = None
        if script_map == UNSAVED and script_hash == lexicon_hash == UNSAVED:
            script_map = ScriptMap.standard().for_vocabulary(vocab, do_lower_case)
        elif script_map == UNSAVED:  # a checkpoint from before there were maps has a lexicon_hash only
            script_map = None if script_hash in (None, UNSAVED) else ScriptMap.load_saved(script_file, script_hash)
        self.script_map: ScriptMap | None = script_map
        if assertion_rules is None and assertion_file is not None:
            assertion_rules = AssertionRules.load_saved(assertion_file)
        self.assertion_rules: AssertionRules = assertion_rules or AssertionRules.standard()
        if code_table is None and codes_file is not None:
            code_table = CodeTable.load_saved(codes_file)
        self.code_table: CodeTable | None = code_table
        self._tokenizer = _build_backend(vocab, str(unk_token), do_lower_case)
        kwargs["split_special_tokens"] = True
        super().__init__(
            do_lower_case=do_lower_case,
            lexicon_hash=None if lexicon_hash == UNSAVED else lexicon_hash,
            script_hash=self.script_hash,
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token if str(mask_token) in known else None,
            **kwargs,
        )
        moved = [token for token, number in added.items() if self._tokenizer.token_to_id(token) != number]
        if moved:
            raise ValueError(f"the vocabulary has the added tokens {moved[:3]} at other ids, or not at all")
        self._tokenizer.post_processor = processors.BertProcessing(
            (self.sep_token, self.sep_token_id), (self.cls_token, self.cls_token_id)
        )
        self._should_update_post_processor = False
        self.lexicon = _load_lexicon(lexicon_file, self.init_kwargs["lexicon_hash"]) if lexicon is None else lexicon

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        min_count: int = 1,
        lexicon: Lexicon | None = None,
        do_lower_case: bool = True,
        script_map: ScriptMap | str | None = UNSAVED,
        **kwargs: Any,
    ) -> AdnerTokenizer:
        """Create a tokenizer whose vocabulary is the characters of `texts`, for models without a pretrained encoder.

        Args:
            texts: the training texts.
            min_count: rarer characters become ``[UNK]``.
            lexicon, do_lower_case, script_map, kwargs: as for the class.
        """
        vocab = {token: index for index, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", SPACE))}
        normalize = _build_backend(vocab, "[UNK]", do_lower_case).normalizer.normalize_str
        read = (ScriptMap.standard() if script_map == UNSAVED else script_map) or str
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(normalize(replace_surrogates(read(text))))
        for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            if count >= min_count:
                vocab.setdefault(character, len(vocab))
        return cls(vocab, lexicon=lexicon, do_lower_case=do_lower_case, script_map=script_map, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Load like the base class; a `model_max_length` that is not stated is that of the model beside the files.

        Raises:
            OSError, CheckpointError: files are missing, damaged, or do not belong together.
        """
        place = os.path.join(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        check_tokenizer_files(Path(place))
        with named_errors(f"{place}: the tokenizer (tokenizer_config.json, tokenizer.json or vocab.txt)"):
            tokenizer = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
            if tokenizer.model_max_length >= NO_LIMIT:
                limit = limit_of_checkpoint(pretrained_model_name_or_path, **hub_options_of(kwargs))
                tokenizer.model_max_length = limit or tokenizer.model_max_length
            if tokenizer.model_max_length <= tokenizer.num_special_tokens_to_add():
                raise ValueError(f"model_max_length is {tokenizer.model_max_length}, too little for a text")
        return tokenizer

    # ---- lexicon ----------------------------------------------------------------------------------------------

    @property
    def lexicon(self) -> Lexicon | None:
        """The words to match. Assigning a lexicon turns the lexicon inputs on, assigning None turns them off."""
        return self._lexicon

    @lexicon.setter
    def lexicon(self, lexicon: Lexicon | None) -> None:
        if lexicon is not None and not hasattr(lexicon, "match"):  # the class exists twice under remote code
            raise TypeError(f"lexicon is {type(lexicon).__name__}, expected Lexicon or None")
        self._lexicon = lexicon
        names = [name for name in self.model_input_names if name not in LEXICON_KEYS]
        self.model_input_names = names if lexicon is None else [*names, *LEXICON_KEYS]

    @property
    def lexicon_hash(self) -> str | None:
        """Hash of the lexicon, saved in the tokenizer's configuration; None without lexicon."""
        return None if self._lexicon is None else self._lexicon.hash

    @property
    def script_hash(self) -> str | None:
        """Hash of the script map, saved in the tokenizer's configuration; None without one."""
        return None if self.script_map is None else self.script_map.hash

    # ---- encoding ---------------------------------------------------------------------------------------------

    def _add_tokens(self, new_tokens: list[Any], special_tokens: bool = False) -> int:
        for token in new_tokens:
            if len(str(token)) != 1 and not (special_tokens or getattr(token, "special", False)):
                raise ValueError(f"cannot add {str(token)[:8]!r}: a token that is not special must be one character")
        return super()._add_tokens(new_tokens, special_tokens=special_tokens)

    def _get_padding_truncation_strategies(
        self, padding: Any = False, truncation: Any = None, max_length: int | None = None, **kwargs: Any
    ) -> tuple[PaddingStrategy, Any, int | None, dict[str, Any]]:
        if truncation != REFUSE:
            return super()._get_padding_truncation_strategies(padding, truncation, max_length, **kwargs)
        max_length = self.model_max_length if max_length is None else max_length
        padding_strategy, _, _, kwargs = super()._get_padding_truncation_strategies(
            padding, False, max_length, **{**kwargs, "verbose": False}
        )
        return padding_strategy, REFUSE, max_length, kwargs

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        is_split_into_words: bool = False,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        return_tensors: str | None = None,
        split_special_tokens: bool | None = None,
        truncation_strategy: Any = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        if split_special_tokens is False:
            raise ValueError("split_special_tokens=False is not supported: a special token in a text is characters")
        if is_split_into_words and isinstance(text, str):
            raise ValueError("is_split_into_words=True: found a string, expected a list of words or lists of words")
        is_single = not is_batched(text, is_split_into_words)
        if is_single:
            text, text_pair = [text], [text_pair] if text_pair else None
        options = {
            "is_split_into_words": is_split_into_words,
            "padding_strategy": padding_strategy,
            "truncation_strategy": (
                TruncationStrategy.DO_NOT_TRUNCATE if truncation_strategy == REFUSE else truncation_strategy
            ),
            "max_length": max_length,
            **kwargs,
        }
        batch, text, text_pair = self._encode_batch(text, text_pair, options)
        if truncation_strategy == REFUSE:
            _refuse_longer(batch.encodings, max_length)
        data = dict(batch)
        if self._lexicon is not None:
            sources = batch.get("overflow_to_sample_mapping", range(len(batch.encodings)))
            sequences = samples(text, text_pair, is_split_into_words)
            rows = self._lexicon_rows(sequences, batch.encodings, sources, is_split_into_words)
            data.update(as_features(rows, return_tensors or padding_strategy != PaddingStrategy.DO_NOT_PAD))
        if is_single and return_tensors is None and not kwargs.get("return_overflowing_tokens"):
            data = {key: value[0] if isinstance(value[0], list) else value for key, value in data.items()}
        data = data if return_tensors is None else as_arrays(data)
        return BatchEncoding(data, batch.encodings, tensor_type=return_tensors)

    def _encode_batch(self, text: Any, text_pair: Any, options: dict[str, Any]) -> tuple[BatchEncoding, Any, Any]:
        """Encode a batch and return it with its texts as they were read: mapped, and without lone surrogates."""
        if self.script_map is not None:
            text, text_pair = map_texts(self.script_map, text), map_texts(self.script_map, text_pair)
        with ENCODING:
            try:
                return super()._encode_plus(text, text_pair, **options), text, text_pair
            except (TypeError, UnicodeEncodeError):
                text, text_pair = map_texts(replace_surrogates, text), map_texts(replace_surrogates, text_pair)
                return super()._encode_plus(text, text_pair, **options), text, text_pair

    def _lexicon_rows(
        self,
        samples: list[tuple[Any, ...]],
        encodings: list[Encoding],
        sources: Sequence[int],
        is_split_into_words: bool,
    ) -> list[MatchRows]:
        """Return the matched words of each encoding; each sample is matched once for all its windows."""
        cache: dict[tuple[int, int], _SequenceMatches] = {}
        batch_rows = []
        for encoding, source in zip(encodings, sources):
            sequence_ids, rows = encoding.sequence_ids, ([], [], [])
            for number, sequence in enumerate(samples[source]):
                if number not in sequence_ids:
                    continue
                matches = cache.get((source, number))
                if matches is None:
                    matches = cache[source, number] = self._match(sequence, is_split_into_words)
                first, length = sequence_ids.index(number), sequence_ids.count(number)
                start = encoding.token_to_chars(first)[0]
                if is_split_into_words:
                    start += matches.word_starts[encoding.token_to_word(first)]
                for column, values in zip(rows, rows_in_window(matches.columns, start, start + length, first)):
                    column.extend(values)
            batch_rows.append(rows)
        return batch_rows

    def _match(self, sequence: Any, is_split_into_words: bool) -> _SequenceMatches:
        if not is_split_into_words:
            return _SequenceMatches(match_columns(self._lexicon, sequence, self.do_lower_case, self.script_map), [])
        columns = match_columns(self._lexicon, "".join(sequence), self.do_lower_case, self.script_map)
        return _SequenceMatches(columns, list(accumulate(map(len, sequence), initial=0)))

    # ---- padding ----------------------------------------------------------------------------------------------

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad like the base class, lexicon rows included; left padding shifts their positions."""
        if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
            encoded_inputs = {key: [example[key] for example in encoded_inputs] for key in encoded_inputs[0].keys()}
        return_tensors = return_tensors or _tensor_type(encoded_inputs.get(self.model_input_names[0]))
        encoded = {key: to_py_obj(value) for key, value in encoded_inputs.items()}
        features = {key: encoded.pop(key) for key in LEXICON_KEYS if key in encoded}
        before = encoded.get("input_ids")
        data = dict(
            super().pad(
                encoded, padding, max_length, pad_to_multiple_of, padding_side, return_attention_mask, verbose=verbose
            )
        )
        if features:
            pads = return_tensors or padding not in (False, PaddingStrategy.DO_NOT_PAD)
            left = (padding_side or self.padding_side) == "left"
            data.update(pad_features(features, before, data["input_ids"], left, pads))
        return BatchEncoding(data, tensor_type=return_tensors)

    # ---- saving -----------------------------------------------------------------------------------------------

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, push_to_hub: bool = False, **kwargs: Any
    ) -> tuple[str, ...]:
        """Save like the base class, with lexicon and code; `push_to_hub=True` has the checks of `push_to_hub`."""
        allow = kwargs.pop("allow_document_lexicon", False)
        if push_to_hub and self._lexicon is not None:
            self._lexicon.check_shareable(allow)
        return super().save_pretrained(save_directory, *args, push_to_hub=push_to_hub, **kwargs)

    def push_to_hub(self, repo_id: str, *, allow_document_lexicon: bool = False, **kwargs: Any) -> Any:
        """Push like the base class; refuse a lexicon that was made from (possibly private) documents.

        Args:
            repo_id, kwargs: as for the base class.
            allow_document_lexicon: push such a lexicon nevertheless.

        Raises:
            ValueError: the lexicon's origin is not ``"list"``.
        """
        if self._lexicon is not None:
            self._lexicon.check_shareable(allow_document_lexicon)
        return super().push_to_hub(repo_id, **kwargs)

    def _save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        file_names: tuple[str, ...],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
    ) -> tuple[str, ...]:
        saved = super()._save_pretrained(save_directory, file_names, legacy_format, filename_prefix)
        saved = (*saved, *save_code(save_directory))
        parts = {LEXICON_FILE: self._lexicon, SCRIPT_FILE: self.script_map}
        parts |= {RULES_FILE: self.assertion_rules, CODES_FILE: self.code_table}
        for name, part in parts.items():
            path = Path(save_directory, (f"{filename_prefix}-" if filename_prefix else "") + name)
            if part is not None:
                part.save(path)
                saved = (*saved, str(path))
            else:
                path.unlink(missing_ok=True)  # from a tokenizer saved here before
        return saved


class _SequenceMatches(NamedTuple):
    """Matches in one sequence, and the position of each of its words if it was split into words."""

    columns: MatchColumns
    word_starts: list[int]


def _read_vocab(vocab: str | os.PathLike[str] | Mapping[str, int] | None) -> dict[str, int]:
    """Return the vocabulary as a dictionary, with SPACE in the place of UNUSED if it lacks SPACE."""
    if vocab is None:
        raise ValueError("no vocabulary: expected a mapping, a vocab.txt or a tokenizer.json")
    if isinstance(vocab, Mapping):
        vocab = dict(vocab)
    else:
        with open(vocab, encoding="utf-8") as file:
            vocab = {line.rstrip("\n"): index for index, line in enumerate(file)}
    if SPACE not in vocab and UNUSED in vocab:
        vocab[SPACE] = vocab.pop(UNUSED)
    return vocab


def _check_special_tokens(known: Iterable[str], *tokens: Any) -> None:
    missing = [str(token) for token in tokens if str(token) not in known]
    if missing:
        raise ValueError(f"the vocabulary lacks the special tokens {missing}, expected one like that of BERT")


def _build_backend(vocab: dict[str, int], unk_token: str, do_lower_case: bool) -> Tokenizer:
    # WordPiece, not WordLevel: the stock pipeline asks the model for its continuing_subword_prefix
    backend = Tokenizer(WordPiece(vocab, unk_token=unk_token))
    steps = [normalizers.Replace(Regex(INVISIBLE), SPACE)]
    if do_lower_case:
        steps += [normalizers.Replace("\u0130", "i"), normalizers.Lowercase()]  # U+0130 would become two characters
    backend.normalizer = normalizers.Sequence(steps)
    backend.pre_tokenizer = pre_tokenizers.FixedLength(1)
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse()])
    return backend


def _load_lexicon(path: str | None, expected_hash: str | None) -> Lexicon | None:
    """Load the saved lexicon, None if there is no hash. Raises no OSError, whose message the base class would hide."""
    if expected_hash is None:
        return None
    if path is None or not os.path.isfile(path):
        raise CheckpointError(f"the tokenizer was saved with a lexicon, but {LEXICON_FILE} is missing; {RESTORE}")
    lexicon = Lexicon.load(path)
    if lexicon.has_hash(expected_hash):
        return lexicon
    raise CheckpointError(
        f"{path}: lexicon has hash {lexicon.hash[:12]}, lexicon_hash of tokenizer_config.json is {expected_hash[:12]}"
    )


def _refuse_longer(encodings: list[Encoding], limit: int) -> None:
    for index, encoding in enumerate(encodings):
        length = sum(encoding.attention_mask)
        if length > limit:
            raise ValueError(f"text {index} has {length} tokens, expected at most {limit} (truncation='error')")


def _tensor_type(values: Any) -> str | None:
    first = values[0] if isinstance(values, (list, tuple)) and values else values
    if isinstance(first, torch.Tensor):
        return "pt"
    return "np" if type(first).__module__ == "numpy" else None


AdnerTokenizer.register_for_auto_class()
