"""Topics: which groups of terms go together, so that a document about tinea speaks of antifungals.

A topic file holds blocks `[name] key=value ...` with the keys `weight`, `kind` (derm or general), `ages` and `sexes`,
followed by lines `slot = group*3 group`, or `$macro = word word` for plain words. What a topic leaves out comes from
the block `[default]`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hf_adner.data.synthetic.person import AGES
from hf_adner.data.synthetic.vocabulary import VocabularyError

Slots = dict[str, tuple[tuple[str, ...], tuple[float, ...]]]


@dataclass
class Topic:
    """`slots` maps a slot to the groups it draws from and their weights, `words` a macro to its plain words."""

    name: str
    weight: float = 1.0
    kind: str = "derm"
    ages: tuple[str, ...] = tuple(AGES)
    sexes: tuple[str, ...] = ("男", "女")
    slots: Slots = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)


def read_topics(text: str) -> dict[str, Topic]:
    """Parse a topic file; every topic gets the default block's slots where it has none of its own."""
    topics: dict[str, Topic] = {}
    topic: Topic | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            topic = _open_topic(line)
            topics[topic.name] = topic
        elif topic is None or "=" not in line:
            raise VocabularyError(f"topics:{number}: expected 'slot = groups' inside a [topic]")
        else:
            slot, _, groups = line.partition("=")
            if slot.startswith("$"):
                topic.words[slot[1:].strip()] = groups.split()
            else:
                topic.slots[slot.strip()] = weighted_names(groups.split())
    default = topics.pop("default", Topic("default"))
    for topic in topics.values():
        topic.slots = default.slots | topic.slots
        topic.words = default.words | topic.words
    return topics


def _open_topic(line: str) -> Topic:
    name, _, rest = line[1:].partition("]")
    topic = Topic(name.strip())
    for pair in rest.split():
        key, _, value = pair.partition("=")
        if key == "weight":
            topic.weight = float(value)
        elif key == "kind":
            topic.kind = value
        elif key in ("ages", "sexes"):
            setattr(topic, key, tuple(value.split(",")))
        else:
            raise VocabularyError(f"topic {topic.name!r}: unknown key {key!r}")
    return topic


def weighted_names(words: list[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names and weights of `name*3 name ...`."""
    pairs = [word.partition("*") for word in words]
    return tuple(p[0] for p in pairs), tuple(float(p[2] or 1) for p in pairs)


def choose_topic(rng: random.Random, topics: dict[str, Topic], kind: str) -> Topic:
    """A topic by weight; `kind` is derm, general or any."""
    fitting = [t for t in topics.values() if kind in ("any", t.kind)]
    return rng.choices(fitting, [t.weight for t in fitting])[0]
