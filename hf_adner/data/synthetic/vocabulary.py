"""Terms of the synthetic corpus: groups of surfaces with one label each, and rules that join heads and modifiers.

A term file holds blocks. `[group] Label` opens one; a plain line lists terms separated by blanks, `term*5` gives a
sampling weight, `_` stands for a blank inside a term; a line `= a b - + @group` is a rule: one alternative of each part
is taken and joined, `-` is nothing and `@group` any term of another group. Lines that start with `#` are comments.

The built-in word list for lexicon features: the terms of the synthetic corpus.
"""

from __future__ import annotations

import bisect
import itertools
import random
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

LABELS = ("Disease", "Symptom", "BodySite", "Drug", "Treatment", "Test", "Scale", "Trigger")
SEEN, UNSEEN, ALL = "seen", "unseen", "all"
HELD_OUT_PERCENT = 10
CORE_WEIGHT = 3
RULE_SHARE = 0.2


class VocabularyError(ValueError):
    """A term file does not follow its format, or a group has nothing to offer."""


@dataclass
class Group:
    """The terms of one kind: `weights` maps a surface to its sampling weight, `rules` are lists of alternatives."""

    name: str
    label: str
    weights: dict[str, float] = field(default_factory=dict)
    rules: list[list[list[str]]] = field(default_factory=list)


def data_text(*parts: str) -> str:
    """Text of a packaged data file below this folder."""
    return resources.files(__package__).joinpath(*parts).read_text(encoding="utf-8")


def data_files(folder: str) -> list[str]:
    """Names of the packaged `.txt` files in `folder`, sorted."""
    return sorted(p.name for p in resources.files(__package__).joinpath(folder).iterdir() if p.name.endswith(".txt"))


def read_groups(text: str, source: str = "terms") -> dict[str, Group]:
    """Parse the text of a term file; `source` names it in errors."""
    groups: dict[str, Group] = {}
    group: Group | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            group = _open_group(line, f"{source}:{number}")
            if group.name in groups:
                raise VocabularyError(f"{source}:{number}: group {group.name!r} is opened twice")
            groups[group.name] = group
        elif group is None:
            raise VocabularyError(f"{source}:{number}: a term before the first [group]")
        elif line.startswith("="):
            group.rules.append([part.split() for part in line[1:].split(" + ")])
        else:
            group.weights.update(_read_term(word) for word in line.split())
    return groups


def _open_group(line: str, where: str) -> Group:
    name, _, label = line[1:].partition("]")
    if label.strip() not in LABELS:
        raise VocabularyError(f"{where}: label {label.strip()!r}, expected one of {', '.join(LABELS)}")
    return Group(name.strip(), label.strip())


def _read_term(word: str) -> tuple[str, float]:
    surface, star, weight = word.rpartition("*")
    return (surface.replace("_", " "), float(weight)) if star else (word.replace("_", " "), 1.0)


class Vocabulary:
    """All groups, with the terms divided once and for all into seen ones and held-out ones.

    A term is held out by a hash of its surface, never by a seed: a model trained on any corpus can be tested on the
    `test_unseen` split of any other. Frequent terms (above `CORE_WEIGHT`) and parts of seen terms are always seen.
    """

    def __init__(self, groups: dict[str, Group]):
        self.groups = groups
        self._held_out = self._choose_held_out()
        self._tables: dict[tuple[str, str], tuple[list[str], list[float]]] = {}

    @classmethod
    @lru_cache(maxsize=1)
    def default(cls) -> Vocabulary:
        """The packaged vocabulary."""
        groups: dict[str, Group] = {}
        for name in data_files("terms"):
            found = read_groups(data_text("terms", name), name)
            twice = groups.keys() & found.keys()
            if twice:
                raise VocabularyError(f"{name}: group {sorted(twice)[0]!r} is opened in two files")
            groups.update(found)
        return cls(groups)

    def label(self, group: str) -> str:
        """Label of a group."""
        return self._group(group).label

    def terms(self, without: tuple[str, ...] = ()) -> dict[str, str]:
        """Every listed surface with its label (the first group wins), rules not expanded, some groups left out."""
        found: dict[str, str] = {}
        for group in self.groups.values():
            for surface in group.weights if group.name not in without else ():
                found.setdefault(surface, group.label)
        return found

    def expanded(self, limit: int = 400, without: tuple[str, ...] = ()) -> dict[str, str]:
        """`terms` and up to `limit` surfaces of every rule."""
        found = self.terms(without)
        for group in self.groups.values():
            for rule in group.rules:
                parts = [self._alternatives(part) for part in rule]
                for words in itertools.islice(itertools.product(*parts), limit):
                    found.setdefault("".join(words), group.label)
        return found

    def is_held_out(self, surface: str) -> bool:
        """Whether a listed surface is kept for `test_unseen`."""
        return surface in self._held_out

    def sample(self, rng: random.Random, group: str, pool: str = ALL) -> str:
        """One surface of `group` from the seen, the unseen or all terms; VocabularyError when the pool is empty."""
        rules = self._group(group).rules
        if rules and rng.random() < RULE_SHARE:
            composed = self._compose(rng, rng.choice(rules), pool)
            if composed:
                return composed
        surfaces, cumulative = self._table(group, pool)
        if not surfaces:
            raise VocabularyError(f"group {group!r} has no {pool} term")
        return surfaces[bisect.bisect(cumulative, rng.random() * cumulative[-1])]

    def _group(self, name: str) -> Group:
        if name not in self.groups:
            raise VocabularyError(f"no group {name!r}")
        return self.groups[name]

    def _choose_held_out(self) -> frozenset[str]:
        weights: dict[str, float] = {}
        for group in self.groups.values():
            for surface, weight in group.weights.items():
                weights[surface] = max(weight, weights.get(surface, 0.0))
        chosen = {s for s, w in weights.items() if w <= CORE_WEIGHT and len(s) > 1 and _bucket(s) < HELD_OUT_PERCENT}
        seen_text = "\n".join(s for s in weights if s not in chosen)
        return frozenset(s for s in chosen if s not in seen_text)

    def _table(self, group: str, pool: str) -> tuple[list[str], list[float]]:
        key = (group, pool)
        if key not in self._tables:
            weights = self._group(group).weights
            keep = [s for s in weights if pool == ALL or (s in self._held_out) == (pool == UNSEEN)]
            self._tables[key] = (keep, list(itertools.accumulate(weights[s] for s in keep)))
        return self._tables[key]

    def _alternatives(self, part: list[str]) -> list[str]:
        words: list[str] = []
        for word in part:
            words.extend(self._group(word[1:]).weights if word.startswith("@") else [word if word != "-" else ""])
        return words

    def _compose(self, rng: random.Random, rule: list[list[str]], pool: str) -> str | None:
        for _ in range(40):
            words = [self._part(rng, rng.choice(part)) for part in rule]
            surface = "".join(words)
            fresh = _bucket(surface) < HELD_OUT_PERCENT or any(word in self._held_out for word in words)
            if pool == ALL or fresh == (pool == UNSEEN):
                return surface
        return None

    def _part(self, rng: random.Random, word: str) -> str:
        if word.startswith("@"):
            surfaces, cumulative = self._table(word[1:], ALL)
            return surfaces[bisect.bisect(cumulative, rng.random() * cumulative[-1])]
        return "" if word == "-" else word


def _bucket(surface: str) -> int:
    return zlib.crc32(surface.encode("utf-8")) % 100


HARMLESS = ("healthy_food",)
"""Groups whose terms are entities only where the context makes them so."""


def ad_lexicon(*, held_out: bool = True, rules: bool = False) -> dict[str, str]:
    """Words of at least two characters with their label, sorted; iterating gives the words a `Lexicon` takes.

    Args:
        held_out: also the terms kept for the split `test_unseen`.
        rules: also what the head and modifier rules produce.
    """
    vocabulary = Vocabulary.default()
    words = vocabulary.expanded(without=HARMLESS) if rules else vocabulary.terms(HARMLESS)
    return {w: words[w] for w in sorted(words) if len(w) > 1 and (held_out or not vocabulary.is_held_out(w))}
