"""Label sequences: BIO outside the model, BIOES states inside its CRF.

Datasets, `id2label`, `logits` and the stock pipeline use BIO. The CRF's states are BIOES, in which the start and the
end of an entity have states of their own, and so exact unigram marginals.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"
TAGGINGS = ("flat", "per-label")
"""One label sequence for all entity types, or one for each; see `AdnerConfig.tagging`."""
UNOBSERVED = -100
"""Label id of positions without a gold label (the `ignore_index` of torch's cross entropy and of the Trainer)."""

_OPENING = {"B", "S"}
_CLOSING = {"E", "S"}
_PREFIXES = {"bio": ("B", "I"), "bioes": ("B", "I", "E", "S")}


class StateConstraints(NamedTuple):
    """Which states may begin a sequence, end it, and follow one another (True = allowed).

    `starts` and `ends` have one entry per state; `transitions[i][j]` is True if j may follow i.
    """

    starts: list[bool]
    ends: list[bool]
    transitions: list[list[bool]]


def split_tag(tag: str) -> tuple[str, str]:
    """Split a tag into prefix and type: `"B-Disease"` -> `("B", "Disease")`; `"O"` -> `("O", "")`.

    Raises:
        ValueError: the tag is neither O nor one of the prefixes B, I, E, S, M with a hyphen and a type.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, entity_type = tag.partition("-")
    if not hyphen or not entity_type or prefix not in {"B", "I", "E", "S", "M"}:
        raise ValueError(f"tag {tag!r} is neither 'O' nor of the form 'B-Type' (prefixes B, I, E, S, M)")
    return prefix, entity_type


def bio_labels(types: Sequence[str]) -> list[str]:
    """Return the BIO labels of entity types: O first, then B-x, I-x per type.

    Raises:
        ValueError: a type is empty, 'O' or given twice.
    """
    types = list(types)
    repeated = sorted(name for name, count in Counter(types).items() if count > 1)
    if repeated:
        raise ValueError(f"entity types {repeated} are given more than once")
    if any(not name or name == OUTSIDE for name in types):
        raise ValueError(f"entity types must be non-empty names other than 'O', found {types!r}")
    return [OUTSIDE] + [f"{prefix}-{name}" for name in types for prefix in _PREFIXES["bio"]]


def entity_types(labels: Iterable[str]) -> list[str]:
    """Return the entity types of a BIO label list, in order of first appearance.

    Raises:
        ValueError: a label is not O, B-x or I-x.
    """
    types: dict[str, None] = {}
    for label in labels:
        prefix, name = split_tag(label)
        if prefix not in {OUTSIDE, "B", "I"}:
            raise ValueError(f"label {label!r} is not BIO; labels outside the model are O, B-x and I-x")
        if name:
            types[name] = None
    return list(types)


def state_names(types: Sequence[str], scheme: str) -> list[str]:
    """Return the names of the CRF states, O first: 1 + 4·types for `bioes`, 1 + 2·types for `bio`.

    Raises:
        ValueError: unknown scheme.
    """
    if scheme not in _PREFIXES:
        raise ValueError(f"tag_scheme {scheme!r} is unknown; expected one of {sorted(_PREFIXES)}")
    return [OUTSIDE] + [f"{prefix}-{name}" for name in types for prefix in _PREFIXES[scheme]]


def allowed_transitions(states: Sequence[str]) -> StateConstraints:
    """Return the constraints of the tag scheme: BIOES if there is an E- or S-state among `states`, else BIO."""
    parts = [split_tag(state) for state in states]
    closed_by_name = any(prefix in _CLOSING for prefix, _ in parts)

    continuing = [prefix in {"I", "E"} for prefix, _ in parts]
    new = [not continues for continues in continuing]  # what may follow any state that does not need to continue

    def followers(prefix: str, name: str) -> list[bool]:
        if prefix not in {"B", "I"}:
            return list(new)
        row = [False] * len(parts) if closed_by_name else list(new)
        for state in of_type[name]:
            row[state] = row[state] or continuing[state]
        return row

    of_type: dict[str, list[int]] = {}
    for state, (_, name) in enumerate(parts):
        of_type.setdefault(name, []).append(state)
    ends = [not (closed_by_name and prefix in {"B", "I"}) for prefix, _ in parts]
    return StateConstraints(starts=new, ends=ends, transitions=[followers(*part) for part in parts])


def repair_bio(tags: Sequence[str]) -> tuple[list[str], int]:
    """Replace every I-x that does not continue an x entity by B-x; also return the number of replacements.

    Raises:
        ValueError: a tag is not BIO.
    """
    repaired, previous, count = [], "", 0
    for tag in tags:
        prefix, name = split_tag(tag)
        if prefix not in {OUTSIDE, "B", "I"}:
            raise ValueError(f"tag {tag!r} is not BIO")
        if prefix == "I" and name != previous:
            tag, count = f"B-{name}", count + 1
        repaired.append(tag)
        previous = name
    return repaired, count


def bio_to_bioes(tags: Sequence[str]) -> list[str]:
    """Convert BIO tags, repaired first, to BIOES."""
    tags, _ = repair_bio(tags)
    converted = []
    for tag, following in zip(tags, [*tags, OUTSIDE][1:], strict=True):
        prefix, name = split_tag(tag)
        closes = prefix != OUTSIDE and following != f"I-{name}"
        converted.append(f"{'S' if prefix == 'B' else 'E'}-{name}" if closes else tag)
    return converted


def bioes_to_bio(tags: Sequence[str]) -> list[str]:
    """Convert BIOES tags to BIO: S becomes B, E and M become I."""
    bio = {"S": "B", "E": "I", "M": "I"}
    parts = [split_tag(tag) for tag in tags]
    return [f"{bio.get(prefix, prefix)}-{name}" if name else OUTSIDE for prefix, name in parts]


def tags_to_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return the entities of BIO tags as (start, end, type), end exclusive; a stray I- opens an entity."""
    tags, _ = repair_bio(tags)
    spans: list[tuple[int, int, str]] = []
    for position, tag in enumerate(tags):
        prefix, name = split_tag(tag)
        if prefix == "B":
            spans.append((position, position + 1, name))
        elif prefix == "I":
            spans[-1] = (spans[-1][0], position + 1, name)
    return spans


def spans_to_bio(spans: Iterable[tuple[int, int, str]], length: int) -> list[str]:
    """Return the BIO tags of disjoint spans (start, end, type), end exclusive.

    Raises:
        ValueError: a span is empty, not within 0..length, or overlaps another.
    """
    tags = [OUTSIDE] * length
    for start, end, name in spans:
        if not 0 <= start < end <= length:
            raise ValueError(f"span ({start}, {end}, {name}) is empty or not within 0..{length}")
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(f"span ({start}, {end}, {name}) overlaps another; a flat tagger needs disjoint spans")
        tags[start:end] = [f"B-{name}"] + [f"I-{name}"] * (end - start - 1)
    return tags


def span_states(states: Sequence[str], entity_type: str, length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the state ids of an entity of `length` positions, and the state ids that may not follow it.

    In BIOES the last state ends the entity; in BIO the entity ends only if no I-x follows.

    Raises:
        ValueError: an unknown entity type.
    """
    index = {state: position for position, state in enumerate(states)}
    if f"B-{entity_type}" not in index:
        known = sorted({split_tag(state)[1] for state in states} - {""})
        raise ValueError(f"entity type {entity_type!r} is unknown; the model has {known}")
    inside = index[f"I-{entity_type}"]
    if f"E-{entity_type}" not in index:
        return (index[f"B-{entity_type}"],) + (inside,) * (length - 1), (inside,)
    if length == 1:
        return (index[f"S-{entity_type}"],), ()
    return (index[f"B-{entity_type}"],) + (inside,) * (length - 2) + (index[f"E-{entity_type}"],), ()


def opens_entity(state: str) -> bool:
    """Return whether a state begins an entity."""
    return split_tag(state)[0] in _OPENING


def closes_entity(state: str) -> bool:
    """Return whether a BIOES state ends an entity (always False for BIO)."""
    return split_tag(state)[0] in _CLOSING
