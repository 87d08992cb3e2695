"""Time the making of lexicon features against a plain walk through a trie of dictionaries.

    python scripts/benchmarks/lexicon.py [LEXICON] [TEXTS] [--repeats 7] [--characters 300000]

LEXICON is a word list (word, or word<TAB>frequency), TEXTS has one text a line; where they are left out, 117,767 words
and texts are made up. Timed is, per text, what its features cost beyond tokenising: finding every word and making the
three lists of word ids, first tokens and tokens after the last. Both sides run in turns in one process, after their
lists were found equal; figures are medians over the turns of characters per second of CPU time on one core. The time to
build the automaton or the trie is not in them and is given above the table. Then the tokenizer is timed from texts to
lists of ids, without and with the lexicon. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core, and before the library reads it

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.lexicon_rows_adner import rows_in_window
from hf_adner.model.tokenization_adner import AdnerTokenizer, match_columns

GOAL_RATIO, GOAL_SPEED = 3.0, 1_000_000
WORD = ""  # key of a trie node under which the word's id stands

Rows = tuple[list[int], list[int], list[int]]


class Trie:
    """The plain version: nested dictionaries, walked from every position of the text."""

    def __init__(self, words: Iterable[str]) -> None:
        self.root: dict = {}
        for word_id, word in enumerate(words, 1):
            node = self.root
            for character in word:
                node = node.setdefault(character, {})
            node[WORD] = word_id

    def rows(self, text: str) -> Rows:
        """Word ids, first tokens and tokens after the last, for a text whose first character is token 1."""
        ids, starts, ends = [], [], []
        for start in range(len(text)):
            node = self.root
            for end in range(start, len(text)):
                node = node.get(text[end])
                if node is None:
                    break
                if WORD in node:
                    ids.append(node[WORD])
                    starts.append(start + 1)
                    ends.append(end + 2)
        return ids, starts, ends


def automaton_rows(lexicon: Lexicon, text: str) -> Rows:
    """The same as the tokenizer makes it."""
    return rows_in_window(match_columns(lexicon, text, lower_case=False), 0, len(text), 1)


def made_up_words(count: int, generator: random.Random) -> list[str]:
    """Words of 2 to 12 characters, frequent characters more often, as in a medical word list."""
    characters = [chr(0x4E00 + 7 * index) for index in range(2500)]
    weights = [1 / (rank + 20) for rank in range(len(characters))]
    words: dict[str, None] = {}
    while len(words) < count:
        length = min(12, 2 + int(generator.expovariate(0.28)))
        words["".join(generator.choices(characters, weights, k=length))] = None
    return list(words)


def made_up_texts(words: list[str], characters: int, generator: random.Random) -> list[str]:
    """Texts of 20 to 200 characters: words of the list, single characters of them, punctuation."""
    texts, total = [], 0
    while total < characters:
        parts, length = [], generator.randint(20, 200)
        while sum(map(len, parts)) < length:
            word = generator.choice(words)
            parts.append(word if generator.random() < 0.15 else generator.choice(word))
            parts.append(generator.choice(["", "", "，"]))
        texts.append("".join(parts)[:length])
        total += length
    return texts


def read_texts(path: Path, characters: int, longest: int = 510) -> list[str]:
    """The first lines that have so many characters together, cut into pieces the model can take."""
    texts, total = [], 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            texts += [line[start : start + longest] for start in range(0, len(line), longest)]
            total += len(line)
            if total >= characters:
                break
    return texts


def seconds(action: Callable[[], object]) -> float:
    """CPU time of this process, so that a busy machine does not count."""
    begin = time.process_time()
    action()
    return time.process_time() - begin


def timed(build: Callable[[], object]) -> tuple[object, float]:
    """A result, and the CPU seconds it took."""
    begin = time.process_time()
    result = build()
    return result, time.process_time() - begin


def compare(lexicon: Lexicon, texts: list[str], repeats: int) -> tuple[float, float, float]:
    """Print how long building takes; characters a second of the trie and of ours, and the median ratio."""
    trie, trie_build = timed(lambda: Trie(lexicon.words))
    _, our_build = timed(lambda: lexicon.match(""))
    rows = [trie.rows(text) for text in texts]
    if rows != [automaton_rows(lexicon, text) for text in texts]:
        raise SystemExit("the two sides find different words: nothing to compare")
    print(f"Building: trie {trie_build:.2f} s, automaton {our_build:.2f} s. Equal lists for {len(texts):,} texts.\n")
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(seconds(lambda: [trie.rows(text) for text in texts]))
        ours.append(seconds(lambda: [automaton_rows(lexicon, text) for text in texts]))
    characters = sum(map(len, texts))
    ratio = statistics.median(t / o for t, o in zip(theirs, ours))
    return characters / statistics.median(theirs), characters / statistics.median(ours), ratio


def tokenizer_speeds(lexicon: Lexicon, texts: list[str], repeats: int) -> list[float]:
    """Characters a second from texts to lists, in batches of 64, without and with the lexicon.

    A first turn, in which what is kept is built, does not count.
    """
    plain = AdnerTokenizer.from_texts(texts, do_lower_case=False)
    full = AdnerTokenizer.from_texts(texts, do_lower_case=False, lexicon=lexicon)
    taken: dict[AdnerTokenizer, list[float]] = {plain: [], full: []}
    for _ in range(repeats + 1):
        for tokenizer, times in taken.items():
            batches = [texts[start : start + 64] for start in range(0, len(texts), 64)]
            times.append(seconds(lambda t=tokenizer, b=batches: [t(batch) for batch in b]))
    return [sum(map(len, texts)) / statistics.median(times[1:]) for times in taken.values()]


def main() -> None:
    """Read the arguments, run both parts, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lexicon", nargs="?", type=Path)
    parser.add_argument("texts", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--characters", type=int, default=300_000)
    args = parser.parse_args()
    generator = random.Random(0)
    lexicon = Lexicon.from_file(args.lexicon) if args.lexicon else Lexicon(made_up_words(117_767, generator))
    if args.texts:
        texts = read_texts(args.texts, args.characters)
    else:
        texts = made_up_texts(list(lexicon.words), args.characters, generator)
    print(f"{len(lexicon):,} words, {sum(map(len, texts)):,} characters, {args.repeats} turns.")
    plain, ours, ratio = compare(lexicon, texts, args.repeats)
    print("| lexicon features | characters/s | goal |\n|---|---|---|")
    print(f"| trie walk in Python | {plain:,.0f} | |")
    print(f"| hf_adner | {ours:,.0f} | {GOAL_SPEED:,}: {'met' if ours >= GOAL_SPEED else 'MISSED'} |")
    print(f"| ratio | {ratio:.2f}x | {GOAL_RATIO:.0f}x: {'met' if ratio >= GOAL_RATIO else 'MISSED'} |\n")
    without, full = tokenizer_speeds(lexicon, texts, args.repeats)
    print("| tokenizer, end to end | characters/s |\n|---|---|")
    print(f"| without lexicon | {without:,.0f} |\n| with lexicon | {full:,.0f} |")


if __name__ == "__main__":
    main()
