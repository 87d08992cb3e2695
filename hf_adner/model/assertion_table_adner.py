"""The table of rules of assertion: its lines, their check, and how a cue is read."""

from __future__ import annotations

import itertools
import re
from functools import cache
from typing import NamedTuple

from .lexicon_adner import lower_by_character
from .script_adner import ScriptMap

ATTRIBUTES = ("family", "historical", "hypothetical", "negated", "uncertain")
KINDS = (*ATTRIBUTES, "none", "present", "stop", "header")
STOPPED = (*ATTRIBUTES, "present")
DIRECTIONS = ("forward", "backward", "either", "both", "inside")
REACHES = ("adjacent", "list", "clause", "sentence", "section")


class Rule(NamedTuple):
    """A line of the table.

    Attributes:
        attributes: what holds for the entities in reach, of `ATTRIBUTES`; or one of the other `KINDS`: ``none`` for an
            expression that looks like a cue and is none, ``present`` to take ``historical`` away, ``stop`` to end the
            reach of cues, ``header`` for the title of a section, which ends everything before it.
        cue: Simplified, lower-cased characters, full-width ones as ASCII; between slashes a regular expression.
        direction: of `DIRECTIONS`; of a stop, the attributes that it ends, or ``all``.
        reach: of `REACHES`; none for stops, headers and expressions that are no cue.
    """

    attributes: tuple[str, ...]
    cue: str
    direction: str = ""
    reach: str = ""


def parse_rules(table: str, name: str) -> list[Rule]:
    """Parse the lines of a table; see `AssertionRules.from_file`.

    Raises:
        ValueError: a line is no rule; the message names `name` and the line.
    """
    rules: list[Rule] = []
    seen: set[tuple[str, bool]] = set()
    for number, line in enumerate(table.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")]
        try:
            if not 2 <= len(fields) <= 4:
                raise ValueError(f"found {len(fields)} columns, expected attributes, cues, direction and reach")
            if not fields[1]:
                raise ValueError("there is no cue")
            cues = [cue for pattern in fields[1].split() for cue in _expanded(pattern)]
            line_rules = [Rule(tuple(fields[0].split(",")), cue, *fields[2:]) for cue in cues]
            for rule in line_rules:
                check_rule(rule)
                if key_of(rule) in seen:
                    raise ValueError(f"cue {rule.cue[:20]!r} is twice in the table")
                seen.add(key_of(rule))
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: {error}") from error
        rules += line_rules
    return rules


def key_of(rule: Rule) -> tuple[str, bool]:
    """Return by what a rule replaces an earlier one: a cue may both begin one reach and stop others."""
    return rule.cue, rule.attributes[0] in ("stop", "header")


def _expanded(cue: str) -> list[str]:
    """Return the cues that braces stand for: ``{已|可}{排除|除外}`` are four, ``{尚|}不除外`` two."""
    if is_pattern(cue):
        return [cue]
    parts = [part.split("|") if number % 2 else [part] for number, part in enumerate(re.split(r"[{}]", cue))]
    return list(dict.fromkeys(map("".join, itertools.product(*parts))))


def check_rule(rule: Rule) -> None:
    """Raise the `ValueError` of `AssertionRules` for a rule that is none."""
    unknown = [kind for kind in rule.attributes if kind not in KINDS]
    if unknown or (len(rule.attributes) > 1 and set(rule.attributes) - set(ATTRIBUTES)):
        found = ",".join(rule.attributes)
        raise ValueError(f"attributes are {found!r}, expected some of {ATTRIBUTES} or one of {KINDS}")
    if not rule.cue or rule.cue.split() != [rule.cue]:
        raise ValueError(f"cue is {rule.cue[:20]!r}, expected characters without white space")
    if is_pattern(rule.cue):
        try:
            re.compile(rule.cue[1:-1])
        except re.error as error:
            raise ValueError(f"{rule.cue[:20]!r} is no regular expression: {error}") from error
    elif len(rule.cue) > 1 and "/" in (rule.cue[0], rule.cue[-1]):
        cue = rule.cue[:20]
        raise ValueError(f"{cue!r} is half of a regular expression: between slashes, white space is written \\s")
    elif rule.cue != as_read(rule.cue):
        raise ValueError(f"cue is {rule.cue[:20]!r}, expected it as it is read: {as_read(rule.cue)[:20]!r}")
    _check_place(rule)


def _check_place(rule: Rule) -> None:
    kind = rule.attributes[0]
    if kind == "stop":
        ended = rule.direction.split(",")
        if rule.reach or (ended != ["all"] and set(ended) - set(STOPPED)):
            raise ValueError(f"a stop ends {rule.direction!r}, expected all or some of {STOPPED}")
    elif kind in ("none", "header"):
        if rule.direction or rule.reach:
            raise ValueError(f"a rule of kind {kind} has neither direction nor reach")
    elif rule.direction not in DIRECTIONS or (rule.reach not in REACHES and rule.direction != "inside"):
        found = f"found direction {rule.direction!r} and reach {rule.reach!r}"
        raise ValueError(f"{found}, expected one of {DIRECTIONS} and of {REACHES}")


def is_pattern(cue: str) -> bool:
    """Return whether a cue is a regular expression."""
    return len(cue) > 2 and cue[0] == cue[-1] == "/"


def as_read(text: str) -> str:
    """Return a text as the rules read it: Simplified, lower-cased, full-width characters as ASCII, of equal length."""
    return lower_by_character(_standard_map()(text))


@cache
def _standard_map() -> ScriptMap:
    return ScriptMap.standard()
