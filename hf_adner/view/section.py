"""The part of a page that explains one entity: texts, tables and charts, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hf_adner.data.assertion import ASSERTION
from hf_adner.data.records import Entity
from hf_adner.explain.explanation import Explanation, Probe
from hf_adner.highlighting import line_class
from hf_adner.reporting import visible
from hf_adner.view.charts import (
    CharacterChart,
    encode_levels,
    grouped_chart,
    heat_levels,
    heat_runs,
    shortened,
    stacked_chart,
)

TOP_CHARACTERS = 10
RIVALS = 3
"""Largest number of alternative boundaries that are named."""
RIVAL_REACH = 8
"""Distance from the entity in which they are searched."""
RIVAL = 0.05
"""Least probability of an alternative boundary."""
SURFACE = 40
"""Largest length of an entity's text."""
PROBE_CONTEXT = 14
"""Characters of a probe shown on both sides of the entity."""
MAX_WORDS = 12
WEAK = 0.02
"""Least score of a listed word, as a share of the largest."""
_DETAIL = 200
CUES = "assertion_cues"
_ASSERTION = (ASSERTION, CUES)
"""Keys of `Explanation.details` that have a place of their own on the page."""

METHODS = {
    "grad-x-input": "how strongly the decision reacts to each character (gradient × input)",
    "integrated-gradients": "how much each character added on the way from an empty text (integrated gradients)",
    "occlusion": "how much the decision weakens when a character is hidden (occlusion)",
    "lime": "a linear model of the decision over texts with hidden characters (LIME)",
    "kernel-shap": "each character's fair share over texts with hidden characters (KernelSHAP)",
    "attention": "attention weighted with its gradient",
    "global": "what the model usually goes by for this label, over a whole corpus",
    "fused": "this text's own explanation joined with what the model usually goes by",
    "fused-fast": "this text's own explanation joined with what the model usually goes by",
}
TARGETS = {
    "label": "why these characters are labelled {label}",
    "start": "why the entity begins here",
    "end": "why the entity ends here",
    "span": "why exactly this span is labelled {label}",
    "posterior": "what the probability of exactly this span and {label} depends on",
}
ROLES = {
    "left-context": "before it",
    "left-edge": "its first character",
    "middle": "its middle",
    "right-edge": "its last character",
    "right-context": "behind it",
}
PERTURBATIONS = {
    "context-masking": "some characters of the context hidden",
    "punctuation": "signs and spaces written differently",
    "clause-shuffle": "clauses in another order",
    "confusions": "characters mistyped in the context",
    "outer-neighbour": "the character beside the entity changed",
    "start-edit": "its first character hidden",
    "end-edit": "its last character hidden",
    "interior-edit": "a character in its middle hidden",
}
SERIES = {"local": "this text", "global": "the corpus"}
STABILITY = "when unimportant characters are hidden; of whether the entity is right it says nothing"


def method_in_words(name: str) -> str:
    """Describe a method; an unknown one is described by its name."""
    return METHODS.get(name, name)


def target_in_words(name: str, label: str) -> str:
    """Describe a target as a question; an unknown one is described by its name."""
    return TARGETS.get(name, name).format(label=label) if name in TARGETS else name


def perturbation_in_words(name: str) -> str:
    """Describe a perturbation; an unknown one is described by its name."""
    return PERTURBATIONS.get(name, name)


class StyledText(NamedTuple):
    """Characters with their CSS classes."""

    text: str
    style: str


class Score(NamedTuple):
    """Characters with a score; the bar shows `share`, the score divided by the largest magnitude, in [-1, 1]."""

    text: str
    place: str
    value: str
    share: float
    note: str = ""


class Asserted(NamedTuple):
    """An attribute that holds for an entity, and the characters that say so."""

    attribute: str
    text: str
    place: str


class RoleShare(NamedTuple):
    """Share of the weight of one role, in percent."""

    role: str
    name: str
    percent: float
    offset: float


class ProbeRow(NamedTuple):
    """A perturbed text around the entity, and the posterior before and after."""

    name: str
    pieces: list[StyledText]
    before: float
    after: float
    is_boundary: bool

    @property
    def has_fallen(self) -> bool:
        """Whether the posterior has fallen below 0.5."""
        return self.after < 0.5 <= self.before


@dataclass(frozen=True)
class Section:
    """The part of a page about one entity; texts are results of `visible`, not escaped."""

    key: str
    explanation: Explanation
    surface: str
    checks: list[str]
    pieces: list[StyledText]
    levels: str
    largest: float
    is_signed: bool
    top: list[Score]
    roles: list[RoleShare]
    boundary: CharacterChart | None
    rivals: list[str]
    words: list[Score]
    hidden_words: int
    cues: list[Score]
    fusion: CharacterChart | None
    fusion_shares: list[tuple[str, float]]
    probes: list[ProbeRow]
    details: list[tuple[str, str]]
    assertion: list[Asserted] | None = None

    @property
    def entity(self) -> Entity:
        """The explained entity."""
        return self.explanation.entity

    @property
    def confidence(self) -> float | None:
        """How sure the model is: the calibrated score if there is one, else the posterior, which may be None too."""
        return confidence(self.explanation)

    @property
    def label(self) -> str:
        """Label as shown on the page."""
        return visible(self.entity.label)

    @property
    def line(self) -> str:
        """Style class that keeps the entity on one line of the note, unless it is long."""
        return line_class(visible(self.entity.text or ""), self.label)

    @property
    def method(self) -> str:
        """Description of the method, and of the local explainer of a fused one."""
        local = self.explanation.details.get("local")
        words = method_in_words(self.explanation.method)
        return f"{words}; its own: {METHODS[local]}" if local in METHODS else words

    @property
    def question(self) -> str:
        """Description of the target."""
        return target_in_words(self.explanation.target, self.label)


def confidence(explanation: Explanation) -> float | None:
    """Return the calibrated score of an entity if it has one, else its posterior or None."""
    return explanation.posterior if explanation.score is None else explanation.score


def make_section(key: str, explanation: Explanation, review_threshold: float) -> Section:
    """Create the section of one entity.

    Args:
        key: id of the section, unique on the page.
        explanation: of the entity.
        review_threshold: score below which the page asks for a check.
    """
    levels, shares = heat_levels(explanation.scores), explanation.shares
    span = (explanation.entity.start, explanation.entity.end)
    words = _words(explanation)
    strong = [word for word in words if abs(word.share) >= WEAK][:MAX_WORDS]
    return Section(
        key=key,
        explanation=explanation,
        surface=shortened(visible(explanation.entity.text or ""), SURFACE),
        checks=checks(explanation, review_threshold),
        pieces=_heat(explanation.text, levels, span),
        levels=encode_levels(levels),
        largest=max(map(abs, explanation.scores), default=0.0),
        is_signed=min(explanation.scores, default=0.0) < 0,
        top=_top(explanation, shares),
        roles=_roles(explanation, shares),
        boundary=_boundary(explanation),
        rivals=_rivals(explanation),
        words=strong,
        hidden_words=len(words) - len(strong),
        cues=_cues(explanation),
        fusion=_fusion(explanation),
        fusion_shares=_fusion_shares(explanation, shares),
        probes=[_probe(probe) for probe in explanation.probes],
        details=_details(explanation),
        assertion=_assertion(explanation),
    )


def checks(explanation: Explanation, review_threshold: float) -> list[str]:
    """Return the reasons why a person should check this entity.

    The stability of an explanation is none: it does not tell wrong entities from right ones.
    """
    sure = confidence(explanation)
    return [] if sure is None or sure >= review_threshold else [f"the model is not sure ({sure:.0%})"]


def number(value: float) -> str:
    """Format a number with three significant digits and a true minus sign."""
    return f"{value:.3g}".replace("-", "\u2212")


def percent(share: float) -> str:
    """Format a share in percent; 0% and 100% only for exactly 0 and 1."""
    if 0 < share < 0.005:
        return "< 1%"
    return "> 99%" if 0.995 <= share < 1 else f"{share:.0%}"


def place(start: int, end: int) -> str:
    """Format a range of characters, counted from 0, end exclusive."""
    return str(start) if end == start + 1 else f"{start}–{end}"


def _assertion(explanation: Explanation) -> list[Asserted] | None:
    """Return the attributes that hold, None if the explanation does not say."""
    if ASSERTION not in explanation.details:
        return None
    shown = visible(explanation.text)
    cues = {cue["attribute"]: (cue["start"], cue["end"]) for cue in explanation.details.get(CUES, ())}
    places = {name: cues.get(name, (0, 0)) for name in explanation.details[ASSERTION]}
    return [Asserted(name, shown[slice(*span)], place(*span) if any(span) else "") for name, span in places.items()]


def _heat(text: str, levels: Sequence[int], entity: tuple[int, int]) -> list[StyledText]:
    shown = visible(text)
    pieces = []
    for run in heat_runs(levels, entity):
        style = "gap" if run.is_gap else f"p{run.level}" if run.level > 0 else f"n{-run.level}" if run.level else ""
        own = " own" if run.is_entity else ""
        content = f"{run.end - run.start}" if run.is_gap else shown[run.start : run.end]
        pieces.append(StyledText(content, f"{style}{own}".strip()))
    return pieces


def _top(explanation: Explanation, shares: Sequence[float]) -> list[Score]:
    spans = [span for span in explanation.top(TOP_CHARACTERS) if span.score]
    return _scores(
        [(span.start, span.end, span.score, f"{shares[span.start]:.0%}") for span in spans], explanation.text
    )


def _words(explanation: Explanation) -> list[Score]:
    words = sorted(explanation.lexicon, key=lambda word: -abs(word.score))
    return _scores([(word.start, word.end, word.score, "") for word in words], explanation.text)


def _cues(explanation: Explanation) -> list[Score]:
    rows = [(cue.start, cue.end, cue.score, ROLES.get(cue.role, cue.role)) for cue in explanation.cues]
    return _scores(rows, explanation.text)


def _scores(rows: Sequence[tuple[int, int, float, str]], text: str) -> list[Score]:
    largest = max((abs(value) for _, _, value, _ in rows), default=0.0) or 1.0
    shown = visible(text)
    return [
        Score(_marked_space(shown[start:end]), place(start, end), number(value), value / largest, note)
        for start, end, value, note in rows
    ]


def _marked_space(text: str) -> str:
    return text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣").replace("\u200c", "↵")


def _roles(explanation: Explanation, shares: Sequence[float]) -> list[RoleShare]:
    if not any(shares):
        return []
    roles, offset = [], 0.0
    for role, share in replace(explanation, scores=tuple(shares), probes=(), lexicon=()).by_role().items():
        roles.append(RoleShare(role, ROLES[role], 100 * share, offset))
        offset += 100 * share
    return roles


def _boundary(explanation: Explanation) -> CharacterChart | None:
    if explanation.start_profile is None or explanation.end_profile is None:
        return None
    series = {"begins": explanation.start_profile, "ends": explanation.end_profile}
    return grouped_chart(explanation.text, (explanation.entity.start, explanation.entity.end), series)


def _rivals(explanation: Explanation) -> list[str]:
    """Describe probable alternative boundaries of this entity, without those of neighbours."""
    entity, text = explanation.entity, visible(explanation.text)
    begins = explanation.start_profile or (0.0,) * len(text)
    ends = explanation.end_profile or (0.0,) * len(text)
    # an entity that begins further left must not end before this one: a lower bound by the union bound
    rivals = [
        (begins[at] - sum(ends[at : entity.start]), at, "begin at")
        for at in range(max(entity.start - RIVAL_REACH, 0), entity.end)
        if at != entity.start
    ]
    rivals += [
        (ends[at] - sum(begins[entity.end : at + 1]), at, "end with")
        for at in range(entity.start, min(entity.end + RIVAL_REACH, len(text)))
        if at != entity.end - 1
    ]
    best = sorted((rival for rival in rivals if rival[0] >= RIVAL), reverse=True)[:RIVALS]
    return [f"{verb} {_marked_space(text[at])} ({at}): {value:.0%}" for value, at, verb in best]


def _fusion(explanation: Explanation) -> CharacterChart | None:
    if not explanation.fusion_weights:
        return None
    series = {SERIES.get(name, name): values for name, values in explanation.fusion_weights.items()}
    return stacked_chart(explanation.text, (explanation.entity.start, explanation.entity.end), series)


def _fusion_shares(explanation: Explanation, shares: Sequence[float]) -> list[tuple[str, float]]:
    """Return the weight of each part over the text, characters weighted by their share of the explanation."""
    weights = {
        name: math.fsum(abs(weight) * share for weight, share in zip(values, shares))
        for name, values in explanation.fusion_weights.items()
    }
    total = math.fsum(weights.values())
    return [(SERIES.get(name, name), weight / total) for name, weight in weights.items()] if total else []


def _probe(probe: Probe) -> ProbeRow:
    name = perturbation_in_words(probe.perturbation)
    return ProbeRow(name, _probe_pieces(probe), probe.before, probe.after, probe.kind == "boundary")


def _probe_pieces(probe: Probe) -> list[StyledText]:
    """Return the perturbed text around the entity, with styles for edits and entity and ellipses at cuts."""
    entity, text = probe.entity, visible(probe.text)
    first, after = max(entity.start - PROBE_CONTEXT, 0), min(entity.end + PROBE_CONTEXT, len(text))
    edited = {at for start, end in probe.edited for at in range(start, end)}
    pieces = [StyledText("…", "cut")] if first else []
    for at in range(first, after):
        style = " ".join(["edit"] * (at in edited) + ["own"] * (entity.start <= at < entity.end))
        if pieces and pieces[-1].style == style:
            pieces[-1] = StyledText(pieces[-1].text + text[at], style)
        else:
            pieces.append(StyledText(text[at], style))
    return [*pieces, StyledText("…", "cut")] if after < len(text) else pieces


def _details(explanation: Explanation) -> list[tuple[str, str]]:
    rows = [(visible(name), _detail(value)) for name, value in explanation.details.items() if name not in _ASSERTION]
    if explanation.stability is not None:
        rows.append(("stability of the scores", f"{explanation.stability:.2f} of 1, {STABILITY}"))
    return rows


def _detail(value: Any) -> str:
    text = number(value) if isinstance(value, float) else _plain(value)
    return shortened(visible(text), _DETAIL)


def _plain(value: Any) -> str:
    if value is True:
        return "yes"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
