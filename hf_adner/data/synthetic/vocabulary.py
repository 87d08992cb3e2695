"""Terms of the synthetic corpus, in groups with one label each, and the built-in lexicon made of them.

A term file has blocks. `[group] Label` opens a block; a plain line lists terms separated by spaces, `term*5` sets a
sampling weight, and `_` stands for a space in a term. A line `= a b - + @group` is a rule that joins one alternative of
each part; `-` is the empty string and `@group` any term of another group. Lines that start with `#` are comments.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from operator import itemgetter

LABELS = ("Disease", "Symptom", "BodySite", "Drug", "Treatment", "Test", "Scale", "Trigger")
SEEN, UNSEEN, ALL = "seen", "unseen", "all"
HELD_OUT_PERCENT = 10
CORE_WEIGHT = 3
RULE_SHARE = 0.2
DEFAULT, NOTES = "default", "notes"
PROFILES = {DEFAULT: ("",), NOTES: ("", "notes")}
"""Profile -> folders whose terms, frames and plans it has."""
HARMLESS = ("healthy_food",)
"""Groups whose terms are entities only in some contexts."""


class VocabularyError(ValueError):
    """A data file of the synthetic corpus is invalid, or no term fits."""


@dataclass
class Group:
    """A group of terms: `weights` maps a surface to its sampling weight, `rules` are lists of alternatives."""

    name: str
    label: str
    weights: dict[str, float] = field(default_factory=dict)
    rules: list[list[list[str]]] = field(default_factory=list)


def data_text(*parts: str) -> str:
    """Read a packaged data file of this folder."""
    return resources.files(__package__).joinpath(*parts).read_text(encoding="utf-8")


def data_files(folder: str) -> list[str]:
    """Return the sorted names of the packaged `.txt` files in `folder`."""
    files = resources.files(__package__).joinpath(folder).iterdir()
    return sorted(file.name for file in files if file.name.endswith(".txt"))


def profile_files(folder: str, profile: str = DEFAULT) -> list[str]:
    """Return the packaged `.txt` files of a folder in all folders of a profile, relative to this one.

    Raises:
        ValueError: there is no such profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}, expected one of {', '.join(PROFILES)}")
    folders = [f"{part}/{folder}" if part else folder for part in PROFILES[profile]]
    return [f"{place}/{name}" for place in folders for name in data_files(place)]


@lru_cache(maxsize=4)
def regional_words(profile: str = DEFAULT) -> dict[str, tuple[str, ...]]:
    """Return the words of a profile that regions say in another way, with what they say."""
    folders = [part for part in PROFILES[profile] if part and "usage.txt" in data_files(part)]
    return {
        word: others for part in folders for word, others in read_replacements(data_text(part, "usage.txt")).items()
    }


def read_replacements(text: str) -> dict[str, tuple[str, ...]]:
    """Parse lines `word = other other`; lines that begin with `#` are comments."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {word.strip(): tuple(others.split()) for word, _, others in lines}


def in_regional_words(text: str, profile: str, choose: Callable[[tuple[str, ...]], str]) -> str:
    """Return a text with all its words said as regions do; `choose` takes one of several ways."""
    words = regional_words(profile)
    return re.sub(regional_expression(profile), lambda match: choose(words[match[0]]), text) if words else text


@lru_cache(maxsize=4)
def regional_expression(profile: str) -> re.Pattern[str]:
    """Return the expression that finds the words of `regional_words`, the longest at each place."""
    return re.compile("|".join(map(re.escape, sorted(regional_words(profile), key=len, reverse=True))))


def read_groups(text: str, source: str = "terms") -> dict[str, Group]:
    """Parse the text of a term file; `source` is its name in errors."""
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
    """All groups, with a fixed division of the terms into seen and held-out terms.

    The division depends on a hash of the surface and not on a seed, so that a model trained on any corpus can be tested
    on the `test_unseen` split of any other. Frequent terms (above `CORE_WEIGHT`) and parts of seen terms are never held
    out.
    """

    def __init__(self, groups: dict[str, Group]):
        self.groups = groups
        self._held_out = self._choose_held_out()
        self._tables: dict[tuple[str, str], tuple[list[str], list[float]]] = {}

    @classmethod
    @lru_cache(maxsize=4)
    def default(cls, profile: str = DEFAULT) -> Vocabulary:
        """Return the packaged vocabulary of a profile."""
        groups: dict[str, Group] = {}
        for name in profile_files("terms", profile):
            file_groups = read_groups(data_text(name), name)
            duplicates = groups.keys() & file_groups.keys()
            if duplicates:
                raise VocabularyError(f"{name}: group {sorted(duplicates)[0]!r} is opened in two files")
            groups.update(file_groups)
        return cls(groups)

    def label(self, group: str) -> str:
        """Return the label of a group."""
        return self._group(group).label

    def terms(self, without: tuple[str, ...] = ()) -> dict[str, str]:
        """Return the label of each listed surface (of the first group that has it), except of the groups `without`."""
        labels: dict[str, str] = {}
        for group in self.groups.values():
            for surface in group.weights if group.name not in without else ():
                labels.setdefault(surface, group.label)
        return labels

    def expanded(self, limit: int = 400, without: tuple[str, ...] = ()) -> dict[str, str]:
        """Return `terms` and up to `limit` surfaces of each rule."""
        labels = self.terms(without)
        for group in self.groups.values():
            for rule in group.rules:
                parts = [self._alternatives(part) for part in rule]
                for words in itertools.islice(itertools.product(*parts), limit):
                    labels.setdefault("".join(words), group.label)
        return labels

    def is_held_out(self, surface: str) -> bool:
        """Return whether a listed surface is reserved for `test_unseen`."""
        return surface in self._held_out

    def sample(self, rng: random.Random, group: str, pool: str = ALL) -> str:
        """Draw a surface of `group` from seen, unseen or all terms; raise VocabularyError if there is none."""
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
        candidates = {
            surface
            for surface, weight in weights.items()
            if weight <= CORE_WEIGHT and len(surface) > 1 and _bucket(surface) < HELD_OUT_PERCENT
        }
        seen_text = "\n".join(surface for surface in weights if surface not in candidates)
        return frozenset(surface for surface in candidates if surface not in seen_text)

    def _table(self, group: str, pool: str) -> tuple[list[str], list[float]]:
        key = (group, pool)
        if key not in self._tables:
            weights = self._group(group).weights
            surfaces = [
                surface for surface in weights if pool == ALL or (surface in self._held_out) == (pool == UNSEEN)
            ]
            self._tables[key] = (surfaces, list(itertools.accumulate(weights[surface] for surface in surfaces)))
        return self._tables[key]

    def _alternatives(self, part: list[str]) -> list[str]:
        words: list[str] = []
        for word in part:
            words.extend(self._group(word[1:]).weights if word.startswith("@") else [word if word != "-" else ""])
        return words

    def _compose(self, rng: random.Random, rule: list[list[str]], pool: str) -> str | None:
        for _ in range(40):
            words = [self._alternative(rng, rng.choice(part)) for part in rule]
            surface = "".join(words)
            is_held_out = _bucket(surface) < HELD_OUT_PERCENT or any(word in self._held_out for word in words)
            if pool == ALL or is_held_out == (pool == UNSEEN):
                return surface
        return None

    def _alternative(self, rng: random.Random, word: str) -> str:
        if word.startswith("@"):
            surfaces, cumulative = self._table(word[1:], ALL)
            return surfaces[bisect.bisect(cumulative, rng.random() * cumulative[-1])]
        return "" if word == "-" else word


def _bucket(surface: str) -> int:
    return zlib.crc32(surface.encode("utf-8")) % 100


def ad_lexicon(*, held_out: bool = True, rules: bool = False, profile: str = DEFAULT) -> dict[str, str]:
    """Return the label of each term of at least two characters, sorted; iterates over the words for a `Lexicon`.

    Args:
        held_out: include the terms that are reserved for the split `test_unseen`.
        rules: include the terms that rules produce.
        profile: a name of `PROFILES`.

    Raises:
        ValueError: there is no such profile.
    """
    vocabulary = Vocabulary.default(profile)
    words = vocabulary.expanded(without=HARMLESS) if rules else vocabulary.terms(HARMLESS)
    words = {word: label for word, label in words.items() if held_out or not vocabulary.is_held_out(word)}
    for choose in (itemgetter(0), itemgetter(-1)):
        words = {in_regional_words(word, profile, choose): label for word, label in words.items()} | words
    return {word: words[word] for word in sorted(words) if len(word) > 1}
