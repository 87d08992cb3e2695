"""The record of one entity's explanation, and its file.

What stands beside an entity's scores: how it fares in changed texts, and what a whole corpus says of its text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Entity
from hf_adner.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Probe:
    """One entity in one changed text.

    Attributes:
        perturbation: readable name of what changed the text (`hf_adner.perturb.registry.PERTURBATIONS`).
        kind: ``label-preserving`` or ``boundary`` (an edit at the entity's edge: its label need not hold).
        text: the changed text.
        entity: where the entity stands in it.
        edited: ranges (start, end) of the changed text that are not as they were.
        before, after: posterior of exactly this span and label in the original and in the changed text, in [0, 1].

    Raises:
        ValueError: an entity or a range outside the text, or a number outside [0, 1].
    """

    perturbation: str
    kind: str
    text: str
    entity: Entity
    edited: tuple[tuple[int, int], ...]
    before: float
    after: float

    def __post_init__(self) -> None:
        entity = self.entity
        object.__setattr__(self, "edited", tuple((start, end) for start, end in self.edited))
        for start, end in ((entity.start, entity.end), *self.edited):
            if not 0 <= start < end <= len(self.text):
                raise ValueError(f"{start}-{end} is empty or outside the changed text of {len(self.text)} characters")
        for name in ("before", "after"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in [0, 1], found {value!r}")
        span = Entity(entity.start, entity.end, entity.label, self.text[entity.start : entity.end])
        object.__setattr__(self, "entity", span)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        entity = self.entity
        return {
            "perturbation": self.perturbation,
            "kind": self.kind,
            "text": self.text,
            "entity": {"start": entity.start, "end": entity.end, "label": entity.label},
            "edited": [list(one) for one in self.edited],
            "before": self.before,
            "after": self.after,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Probe:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        entity = values["entity"]
        span = Entity(entity["start"], entity["end"], entity["label"])
        plain = ("perturbation", "kind", "text", "before", "after")
        edited = tuple((start, end) for start, end in values["edited"])
        return cls(entity=span, edited=edited, **{name: values[name] for name in plain})


@dataclass(frozen=True)
class Cue:
    """Characters of the text that a corpus knows as a sign of the entity's type.

    Attributes:
        start, end: the characters, end exclusive.
        role: where they stand, one of `hf_adner.explain.unit_statistics.ROLES`.
        score: mean log attribution in the corpus; above 0 means more than an average character of its text.

    Raises:
        ValueError: an empty range, or a score that is not finite.
    """

    start: int
    end: int
    role: str
    score: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or not math.isfinite(self.score):
            raise ValueError(f"a cue needs 0 <= start < end and a finite score, found {self.start}-{self.end}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"start": self.start, "end": self.end, "role": self.role, "score": self.score}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cue:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(values["start"], values["end"], values["role"], float(values["score"]))


def as_ranges(places: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Sorted places as ranges (start, end) of neighbours."""
    ranges: list[tuple[int, int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return tuple(ranges)


FORMAT = "hf_adner.explanation"
VERSION = 1
REDUCTIONS = ("sum", "mean", "max")


class WordScore(NamedTuple):
    """What one matched word of the lexicon contributed.

    Attributes:
        word: the characters of the text where it matched.
        start, end: those characters, end exclusive.
        score: in the units of the method.
    """

    word: str
    start: int
    end: int
    score: float


class SpanScore(NamedTuple):
    """What some neighbouring characters contributed together."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a model labelled one entity: a score for every character of the text, by position.

    Attributes:
        text: the whole text.
        entity: start, end and label of what is explained.
        scores: one finite number per character. Sign and unit are those of the method: signed methods say by how much a
            character raised the target, norms and attention only how much it mattered. Characters that no token covers,
            and those outside the window that the model read, have 0.
        lexicon: what each matched word of the lexicon contributed, sorted by place; empty for models without a lexicon.
        method: name of the explainer.
        target: what was explained (`hf_adner.explain.targets.Target`).
        value: the target's value for this text.
        start_profile, end_profile: probability in [0, 1] that an entity of this label starts (ends) with each
            character, or None.
        stability: at most 1, how little the scores move when unimportant characters change, or None if not measured.
        fusion_weights: of a fused explanation the weight of each part, per character; empty otherwise.
        details: what else the method tells, such as `completeness_error`, and of a text longer than the model the
            `window` [start, end] that it read; plain JSON values.
        posterior: probability in [0, 1] that exactly this span with this label is an entity, or None.
        probes: how the entity fares in changed texts (`hf_adner.explain.probes`); empty if not tried.
        cues: what a corpus knows of this text's characters (`hf_adner.explain.probes`); empty without a global table.

    Raises:
        ValueError: an entity outside the text, scores, profiles or weights that are not one finite number per
            character, a lexicon word or cue outside the text, or a posterior outside [0, 1].
    """

    viewer: ClassVar[Callable[[str], Any]]
    """Name of a module of `hf_adner.view` -> the module. That room is above this one: `hf_adner/__init__` sets this."""

    text: str
    entity: Entity
    scores: tuple[float, ...]
    method: str
    target: str
    value: float
    lexicon: tuple[WordScore, ...] = ()
    start_profile: tuple[float, ...] | None = None
    end_profile: tuple[float, ...] | None = None
    stability: float | None = None
    fusion_weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    posterior: float | None = None
    probes: tuple[Probe, ...] = ()
    cues: tuple[Cue, ...] = ()

    def __post_init__(self) -> None:
        text, entity = self.text, self.entity
        if entity.end > len(text):
            raise ValueError(f"entity {entity.start}-{entity.end} reaches outside the text of {len(text)} characters")
        _freeze(self, "entity", Entity(entity.start, entity.end, entity.label, text[entity.start : entity.end]))
        _freeze(self, "scores", _numbers(self.scores, "scores", len(text)))
        for name in ("start_profile", "end_profile"):
            if getattr(self, name) is not None:
                _freeze(self, name, _numbers(getattr(self, name), name, len(text)))
        _freeze(self, "value", _number(self.value, "value"))
        if self.stability is not None:
            _freeze(self, "stability", _number(self.stability, "stability"))
        if self.posterior is not None:
            _freeze(self, "posterior", _probability(self.posterior, "posterior"))
        _freeze(self, "probes", tuple(self.probes))
        _freeze(self, "cues", tuple(_inside(text, cue) for cue in self.cues))
        weights = {name: _numbers(values, name, len(text)) for name, values in self.fusion_weights.items()}
        _freeze(self, "fusion_weights", weights)
        _freeze(self, "details", dict(self.details))
        _freeze(self, "lexicon", tuple(sorted((_word(text, *word) for word in self.lexicon), key=lambda one: one[1:3])))

    # ---- reading ----------------------------------------------------------------------------------------------

    @property
    def shares(self) -> tuple[float, ...]:
        """Absolute scores over their sum, in [0, 1]; all 0 where every score is."""
        total = math.fsum(map(abs, self.scores))
        return tuple(abs(score) / total if total else 0.0 for score in self.scores)

    def aggregate(self, spans: Iterable[Sequence[int]], how: str = "sum") -> list[SpanScore]:
        """One score per span of characters (words, clauses, cue phrases).

        Args:
            spans: sequences that begin with start and end.
            how: `sum`, `mean`, or `max` (the score that is furthest from 0).

        Raises:
            ValueError: a span that is empty or leaves the text, or another `how`.
        """
        if how not in REDUCTIONS:
            raise ValueError(f"how must be one of {REDUCTIONS}, found {how!r}")
        return [self._span(start, end, how) for start, end, *_ in spans]

    def _span(self, start: int, end: int, how: str) -> SpanScore:
        if not 0 <= start < end <= len(self.text):
            raise ValueError(f"span {start}-{end} is empty or outside the text of {len(self.text)} characters")
        scores = self.scores[start:end]
        score = max(scores, key=abs) if how == "max" else math.fsum(scores) / (1 if how == "sum" else end - start)
        return SpanScore(self.text[start:end], start, end, score)

    def top(self, count: int) -> list[SpanScore]:
        """The `count` characters whose scores are furthest from 0, best first, earlier first among equals."""
        places = sorted(range(len(self.text)), key=lambda place: -abs(self.scores[place]))
        return self.aggregate([(place, place + 1) for place in places[:count]])

    def by_role(self) -> dict[str, float]:
        """Summed scores of the left context, the first, middle and last characters of the entity, the right context.

        Of an entity of one character, that is its left edge.
        """
        start, end = self.entity.start, self.entity.end
        last = max(end - 1, start + 1)
        cuts = {
            "left-context": (0, start),
            "left-edge": (start, start + 1),
            "middle": (start + 1, last),
            "right-edge": (last, end),
            "right-context": (end, len(self.text)),
        }
        return {role: math.fsum(self.scores[first:after]) for role, (first, after) in cuts.items()}

    # ---- showing ----------------------------------------------------------------------------------------------

    def plot(self, axes: Axes | None = None, context: int | None = 20) -> Axes:
        """Draw scores and boundary profile with matplotlib; see `hf_adner.view.plot.plot_explanation`."""
        return self.viewer("plot").plot_explanation(self, axes, context)

    def show(self) -> None:
        """Display the page of `to_html` in a notebook; elsewhere print the strongest characters."""
        self.viewer("output").show_explanations([self])

    def to_html(self, path: str | Path, **options: Any) -> None:
        """Write a self-contained page; `explanations_to_html` shows all entities of a note, or many notes, in one.

        Args:
            path: of the file; it appears whole or not at all.
            options: as for `hf_adner.view.page.explanations_to_html`.
        """
        self.viewer("page").explanations_to_html([self], path, **options)

    # ---- files ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values, with the format's name and version."""
        entity = self.entity
        return {
            "format": FORMAT,
            "version": VERSION,
            "text": _encoded(self.text),
            "entity": {"start": entity.start, "end": entity.end, "label": _encoded(entity.label)},
            "method": self.method,
            "target": self.target,
            "value": self.value,
            "scores": list(self.scores),
            "lexicon": [{"start": word.start, "end": word.end, "score": word.score} for word in self.lexicon],
            "start_profile": _as_list(self.start_profile),
            "end_profile": _as_list(self.end_profile),
            "stability": self.stability,
            "fusion_weights": {name: list(values) for name, values in self.fusion_weights.items()},
            "details": dict(self.details),
            "posterior": self.posterior,
            "probes": [probe.to_dict() for probe in self.probes],
            "cues": [cue.to_dict() for cue in self.cues],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Explanation:
        """What `to_dict` gave.

        Raises:
            ValueError: it is something else, of a later version, or incomplete.
        """
        _check_format(values)
        try:
            text, entity = _decoded(values["text"]), values["entity"]
            words = [(text[w["start"] : w["end"]], w["start"], w["end"], w["score"]) for w in values["lexicon"]]
            return cls(
                text=text,
                entity=Entity(entity["start"], entity["end"], _decoded(entity["label"])),
                lexicon=tuple(WordScore(*word) for word in words),
                posterior=values.get("posterior"),
                probes=tuple(map(Probe.from_dict, values.get("probes", ()))),
                cues=tuple(map(Cue.from_dict, values.get("cues", ()))),
                **{name: values[name] for name in _PLAIN},
            )
        except KeyError as error:
            raise ValueError(f"the explanation lacks {error.args[0]!r}") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"the explanation is malformed: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write a JSON file; it appears whole or not at all.

        Raises:
            ValueError: `details` hold what JSON cannot.
        """
        try:
            text = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
        except TypeError as error:
            raise ValueError(f"the explanation's details are no plain JSON values: {error}") from None
        write_file(Path(path), [text, "\n"], "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is no explanation; says which file and why.
            OSError: there is no such file.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:  # json's and unicode's errors are of this kind
            reason = f"not UTF-8 at byte {error.start}" if isinstance(error, UnicodeDecodeError) else error
            raise ValueError(f"{path}: {reason}") from None


_PLAIN = (
    "method",
    "target",
    "value",
    "scores",
    "start_profile",
    "end_profile",
    "stability",
    "fusion_weights",
    "details",
)


@dataclass(frozen=True)
class ExplainedNote:
    """A text with the explanations of its entities.

    Attributes:
        name: how the page calls it.
        text: all of it.
        explanations: of its entities, in any order; entities may lie in one another.

    Raises:
        ValueError: an explanation of another text.
    """

    name: str
    text: str
    explanations: tuple[Explanation, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "explanations", tuple(self.explanations))
        if any(one.text != self.text for one in self.explanations):
            raise ValueError(f"note {self.name[:20]!r} has the explanation of another text")


def _freeze(explanation: Explanation, name: str, value: Any) -> None:
    object.__setattr__(explanation, name, value)


def _number(value: Any, name: str) -> float:
    if isinstance(value, (str, bytes, bool)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found {excerpt(value)}")
    return float(value)


def _probability(value: Any, name: str) -> float:
    number = _number(value, name)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must lie in [0, 1], found {number}")
    return number


def _inside(text: str, cue: Cue) -> Cue:
    if cue.end > len(text):
        raise ValueError(f"cue {cue.start}-{cue.end} reaches outside the text of {len(text)} characters")
    return cue


def _numbers(values: Iterable[Any], name: str, length: int) -> tuple[float, ...]:
    numbers = tuple(_number(value, name) for value in values)
    if len(numbers) != length:
        raise ValueError(f"{name} has {len(numbers)} numbers, the text {length} characters")
    return numbers


def _word(text: str, word: str, start: int, end: int, score: float) -> WordScore:
    if not 0 <= start < end <= len(text):
        raise ValueError(f"lexicon word {start}-{end} is empty or outside the text of {len(text)} characters")
    return WordScore(text[start:end], start, end, _number(score, "the score of a lexicon word"))


def _as_list(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)


def _encoded(text: str) -> str | list[int]:
    """A string, or its code points where it holds halves of surrogate pairs, which UTF-8 has no place for."""
    return list(map(ord, text)) if any("\ud800" <= one <= "\udfff" for one in text) else text


def _decoded(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(chr, value))
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {type(value).__name__}")
    return value


def _check_format(values: Any) -> None:
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise ValueError(f"this is no explanation (expected a JSON object with format {FORMAT!r})")
    version = values.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r} is unknown, this package reads versions 1 to {VERSION}")
