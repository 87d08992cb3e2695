"""Content of a synthetic document: the invented person it is about, and its topic.

A topic defines which groups of terms occur together, for example antifungals with tinea. A topic file has blocks
`[name] key=value ...` with the keys `weight`, `kind` (derm or general), `ages` and `sexes`, followed by lines
`slot = group*3 group`, or `$macro = word word` for plain words. Missing slots and macros come from the
block `[default]`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hf_adner.data.synthetic.vocabulary import VocabularyError

AGES = {"infant": 0.16, "child": 0.16, "teen": 0.08, "adult": 0.42, "elderly": 0.18}
SURNAMES = tuple("王李张刘陈杨赵黄周吴徐孙马朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹")
GIVEN = ("明", "红", "强", "丽", "华", "芳", "军", "敏")


Slots = dict[str, tuple[tuple[str, ...], tuple[float, ...]]]


@dataclass(frozen=True)
class Person:
    """An invented person.

    Attributes:
        stage: a key of `AGES`.
        sex: 男 or 女.
        phrases: ways to mention the person, by macro name.
    """

    stage: str
    sex: str
    phrases: dict[str, str]


def make_person(
    rng: random.Random, stages: tuple[str, ...] = tuple(AGES), sexes: tuple[str, ...] = ("男", "女")
) -> Person:
    """Draw a person of one of `stages` and `sexes`."""
    stage = rng.choices(stages, [AGES[stage] for stage in stages])[0]
    sex = rng.choice(sexes)
    age = _age(rng, stage)
    noun = _noun(rng, stage, sex, age)
    phrases = {
        "age": age,
        "sex": sex,
        "who": _who(rng, stage),
        "noun": noun,
        "name": _name(rng, stage, sex),
        "kin": _kin(rng, stage),
        "person": rng.choice(("一位", "一名", "一名", "某", "一个")) + rng.choice((f"{age}的{noun}", f"{age}{noun}")),
    }
    return Person(stage, sex, phrases)


def _age(rng: random.Random, stage: str) -> str:
    if stage == "infant":
        months = rng.randint(1, 23)
        return rng.choice((f"{months}个月", f"{months}个月大", f"{months}月", f"{rng.randint(1, 2)}岁"))
    low, high = {"child": (3, 12), "teen": (13, 17), "adult": (18, 59), "elderly": (60, 91)}[stage]
    return f"{rng.randint(low, high)}岁"


def _noun(rng: random.Random, stage: str, sex: str, age: str) -> str:
    young = stage == "adult" and int(age.rstrip("岁")) < 40
    options = {
        "infant": (f"{sex}婴", f"{sex}宝宝", "婴儿", "患儿", f"{sex}性婴儿"),
        "child": (f"{sex}童", f"{sex}孩", "儿童", "患儿", f"小{sex}孩"),
        "teen": (f"{sex}孩", f"{sex}生", "青少年", f"{sex}性患者"),
        "adult": (f"{sex}性患者", f"{sex}性", f"{sex}性", f"{'青年' if young else '中年'}{sex}性", "患者"),
        "elderly": (f"{sex}性患者", f"老年{sex}性", f"{sex}性", "老人", "老年患者"),
    }
    return rng.choice(options[stage])


def _who(rng: random.Random, stage: str) -> str:
    child = stage in ("infant", "child")
    return rng.choice(("患儿", "患儿", "患者") if child else ("患者", "患者", "病人"))


def _name(rng: random.Random, stage: str, sex: str) -> str:
    surname = rng.choice(SURNAMES)
    if stage in ("infant", "child", "teen"):
        return rng.choice((f"小{surname}", f"小{rng.choice(GIVEN)}", f"{surname}某"))
    polite = "先生" if sex == "男" else "女士"
    familiar = f"老{surname}" if stage == "elderly" else f"小{surname}"
    return rng.choice((f"{surname}{polite}", f"{surname}{polite}", familiar, f"{surname}某", f"{surname}某某"))


def _kin(rng: random.Random, stage: str) -> str:
    if stage == "infant":
        return rng.choice(("宝宝", "我家宝宝", "孩子", "小孩", "我家小孩", "小宝"))
    if stage in ("child", "teen"):
        return rng.choice(("孩子", "小孩", "我家孩子", "我儿子", "我女儿", "小朋友"))
    if stage == "elderly":
        return rng.choice(("我妈", "我爸", "家里老人", "我母亲", "我父亲", "本人", "我奶奶"))
    return rng.choice(("我", "我", "本人", "我老公", "我爱人", "我朋友"))


@dataclass
class Topic:
    """A topic; `slots` maps a slot to its groups and their weights, `words` a macro to its plain words."""

    name: str
    weight: float = 1.0
    kind: str = "derm"
    ages: tuple[str, ...] = tuple(AGES)
    sexes: tuple[str, ...] = ("男", "女")
    slots: Slots = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)


def read_topics(text: str) -> dict[str, Topic]:
    """Parse a topic file; slots and macros that a topic does not have are taken from the block `[default]`."""
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
    """Parse `name*3 name ...` to names and weights."""
    pairs = [word.partition("*") for word in words]
    return tuple(name for name, _, _ in pairs), tuple(float(weight or 1) for _, _, weight in pairs)


def choose_topic(rng: random.Random, topics: dict[str, Topic], kind: str) -> Topic:
    """Draw a topic by weight; `kind` is derm, general or any."""
    candidates = [topic for topic in topics.values() if kind in ("any", topic.kind)]
    return rng.choices(candidates, [topic.weight for topic in candidates])[0]
