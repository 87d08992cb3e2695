"""What the labels of a model mean: definitions for the package's own annotation rules, counts for any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

DEFINITIONS: dict[str, str] = {
    "Disease": "a diagnosis or named disorder (特应性皮炎, 手部湿疹), suspected, negated and past ones too; age, "
    "course, site and type that belong to the name stay inside, severity outside",
    "Symptom": "a complaint or finding on the skin or elsewhere (瘙痒, 红斑, 发热); intensity and colour stay outside",
    "BodySite": "a part of the body (面部, 四肢屈侧), apart from the finding on it unless that cannot do "
    "without it (关节痛)",
    "Drug": "a medicine or class of medicines (他克莫司软膏, 抗组胺药) with its form; strength and dose stay outside",
    "Treatment": "what is done that is no drug (保湿润肤, 窄谱UVB, 手术)",
    "Test": "an examination or measured quantity (血常规, 总IgE); its result stays outside",
    "Scale": "a score of severity or quality of life by name (SCORAD, EASI, DLQI); its value stays outside",
    "Trigger": "what sets off or worsens the disease (尘螨, 海鲜, 搔抓); also a drug or food to which someone is "
    "allergic",
}
"""The labels of `ad-synthetic`, each in a line."""


class Label(NamedTuple):
    """One row of the label guide.

    Attributes:
        name: the label.
        definition: what it means, None where the rules of the annotation are not known.
        entities: entities in the training documents, None where that was not counted.
        surfaces: different texts of these entities, likewise.
    """

    name: str
    definition: str | None
    entities: int | None
    surfaces: int | None


def label_guide(labels: Sequence[str], statistics: Mapping[str, Any] | None = None) -> list[Label]:
    """A row per label, in the order given.

    The definitions are given only if every label is one of the package's: under other annotation rules a name such as
    Drug may mean something else.

    Args:
        labels: entity types of the model.
        statistics: `CorpusStatistics.to_dict()` with a split `train`.
    """
    train = ((statistics or {}).get("splits") or {}).get("train") or {}
    known = all(label in DEFINITIONS for label in labels)
    return [
        Label(
            label,
            DEFINITIONS[label] if known else None,
            _count(train.get("labels"), label),
            _count(train.get("surfaces"), label),
        )
        for label in labels
    ]


def _count(counts: Mapping[str, int] | None, label: str) -> int | None:
    return None if counts is None else counts.get(label, 0)
