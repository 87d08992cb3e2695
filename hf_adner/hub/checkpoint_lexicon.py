"""The lexicon of a checkpoint's folder: its words, their matches in a text, and words added to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hf_adner.data.errors import excerpt
from hf_adner.files import check_folder_to_replace, check_output_folder, replace_folder, write_folder
from hf_adner.hub.checkpoint_files import is_published
from hf_adner.hub.reachable import check_checkpoint_name
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.model.word_table_adner import AddedWords
from hf_adner.reporting import code_points

KEPT = ("README.md", "LICENSE", "metrics.json", "global_table/*")
"""Patterns of files that another folder gets beside model and tokenizer."""
SHOWN = 20
"""Words of each kind that a report shows."""
LONGEST = 30
"""Characters of a word that a report shows."""


class WordMatch(NamedTuple):
    """A word of the lexicon in a text: characters `start` to `end` (exclusive), and its frequency."""

    word: str
    start: int
    end: int
    frequency: int


def lexicon_of(checkpoint: str | os.PathLike[str], revision: str | None = None) -> AdnerTokenizer:
    """Return the tokenizer of a checkpoint, with its lexicon.

    Args:
        checkpoint: folder or Hub name.
        revision: of the Hub.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the checkpoint has no lexicon.
    """
    check_checkpoint_name(str(checkpoint))
    tokenizer = AdnerTokenizer.from_pretrained(checkpoint, revision=revision or "main")
    if tokenizer.lexicon is None:
        raise ValueError(f"{checkpoint} has no lexicon; train a model that reads one, such as m-dscmg, with --lexicon")
    return tokenizer


def word_matches(tokenizer: AdnerTokenizer, text: str) -> list[WordMatch]:
    """Return the words of a tokenizer's lexicon in a text, as the model reads it, sorted by start and end."""
    lexicon = tokenizer.lexicon
    found = lexicon.match(text, lower_case=tokenizer.do_lower_case, script_map=tokenizer.script_map)
    return [
        WordMatch(lexicon.words[number - 1], start, end, lexicon.frequencies[number - 1])
        for number, start, end in found
    ]


def add_words_to_checkpoint(
    checkpoint: str | os.PathLike[str],
    words: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    origin: str = "list",
) -> AddedWords:
    """Add the words of a file to a checkpoint's lexicon: to the model's vectors, its configuration and its tokenizer.

    The result is there as a whole or not at all. Another folder gets model, tokenizer and code, the global table, card,
    licence and scores; neither the state of training nor `private/`.

    Args:
        checkpoint: a folder, or with `output` a Hub name.
        words: one word per line, or ``word<TAB>frequency``, as `Lexicon.from_file` reads them.
        output: new or empty folder to write; None: the checkpoint's own, in which all other files stay.
        revision: of a Hub name.
        origin: of the words, see `Lexicon`.

    Raises:
        FileExistsError: `output` is not an empty folder.
        FileNotFoundError: there is no such checkpoint or file.
        OSError: the checkpoint, or a file of it, may not be written.
        ValueError: a line that is no word (names file and line), or a model that reads no lexicon.
    """
    check_checkpoint_name(str(checkpoint))
    if output is not None:
        check_output_folder(output)
    elif not Path(checkpoint).is_dir():
        raise ValueError(f"{checkpoint} is a name of the Hub; name a folder for the result with --output")
    else:
        check_folder_to_replace(checkpoint)
    offered = Lexicon.from_file(words, origin=origin)
    place = {"revision": revision or "main"}
    model = AdnerForTokenClassification.from_pretrained(checkpoint, **place)
    tokenizer = AdnerTokenizer.from_pretrained(checkpoint, **place)
    result = model.add_words(tokenizer, offered.words, offered.frequencies, origin)
    if output is None and not result.added:
        return result
    source, whole = Path(checkpoint), output is None

    def fill(folder: Path) -> None:
        for name in _other_files(source, whole):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    replace_folder(source, fill) if whole else write_folder(Path(output), fill)
    return result


def _other_files(folder: Path, whole: bool) -> Iterator[str]:
    """Yield the files of a checkpoint beside model and tokenizer, relative to its folder: all, or those of `KEPT`."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        name = path.relative_to(folder)
        is_kept = any(name.match(pattern) for pattern in KEPT)
        if path.is_file() and (is_kept or (whole and not is_published(name.as_posix()))):
            yield name.as_posix()


def report_lines(
    checkpoint: str,
    add: str | None = None,
    output: str | None = None,
    text: str | None = None,
    revision: str | None = None,
    origin: str = "list",
) -> Iterator[str]:
    """Yield what `adner lexicon` prints: what the lexicon of a checkpoint has, or what became of words added to it.

    Args:
        checkpoint: folder or Hub name.
        add, output, revision, origin: as for `add_words_to_checkpoint`; `add` is the file of words.
        text: whose words of the lexicon are shown, after the words were added.

    Raises:
        ValueError: an output without words to add; and what `add_words_to_checkpoint` and `lexicon_of` raise.
    """
    if output and not add:
        raise ValueError("--output is the folder for a checkpoint with added words; give --add FILE")
    if add:
        result = add_words_to_checkpoint(checkpoint, add, output, revision=revision, origin=origin)
        tokenizer = lexicon_of(output) if output else lexicon_of(checkpoint, revision)
        yield from addition_lines(result, tokenizer.lexicon)
    else:
        tokenizer = lexicon_of(checkpoint, revision)
        yield from lexicon_lines(tokenizer.lexicon)
    if text is not None:
        yield from match_lines(word_matches(tokenizer, text))
    if output:
        yield output


def addition_lines(result: AddedWords, lexicon: Lexicon) -> Iterator[str]:
    """Yield what became of the words, and the first of each kind."""
    yield (
        f"{len(result.added)} words added, {len(result.present)} there already, {len(result.refused)} refused; "
        f"the lexicon has {len(lexicon):,} words"
    )
    refused = [f"{excerpt(word, LONGEST)} ({reason})" for word, reason in result.refused.items()]
    added, present = ([excerpt(word, LONGEST) for word in words] for words in result[:2])
    for name, words in (("added", added), ("there already", present), ("refused", refused)):
        if words:
            rest = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
            yield f"{name}: {', '.join(words[:SHOWN])}{rest}"


def lexicon_lines(lexicon: Lexicon) -> Iterator[str]:
    """Yield number, origin and lengths of the words."""
    lengths = [len(word) for word in lexicon.words] or [0]
    counted = sum(count > 0 for count in lexicon.frequencies)
    yield f"{len(lexicon):,} words of {min(lengths)} to {max(lengths)} characters, {counted:,} with a frequency"
    yield f"origin {lexicon.origin}, hash {lexicon.hash[:12]}"


def match_lines(matches: list[WordMatch]) -> Iterator[str]:
    """Yield a line for each match: its characters, the word and its frequency."""
    for match in matches:
        yield f"{match.start}-{match.end}\t{code_points(match.word)}\t{match.frequency}"
