"""The `Explanation` record of one entity, with its probes and cues, and its JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Entity, EntitySpan
from hf_adner.files import write_file
from hf_adner.model.lexicon_adner import replace_surrogates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FORMAT = "hf_adner.explanation"
VERSION = 1
REDUCTIONS = ("sum", "mean", "max")

ROLES = ("left-context", "left-edge", "middle", "right-edge", "right-context")
"""Before the entity, its first character, the characters between, its last character, after the entity."""


@dataclass(frozen=True)
class Probe:
    """One entity in one perturbed text.

    Attributes:
        perturbation: name of the perturbation (`hf_adner.perturb.registry.PERTURBATIONS`).
        kind: ``label-preserving`` or ``boundary`` (an edit at the entity's edge, after which the label may not hold).
        text: the perturbed text.
        entity: the entity in the perturbed text.
        edited: ranges (start, end) of the perturbed text that were edited.
        before, after: posterior of exactly this span and label in the original and in the perturbed text, in [0, 1].

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
                raise ValueError(f"{start}-{end} is empty or outside the perturbed text of {len(self.text)} characters")
        for name in ("before", "after"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], found {value!r}")
        span = Entity(entity.start, entity.end, entity.label, self.text[entity.start : entity.end])
        object.__setattr__(self, "entity", span)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        entity = self.entity
        return {
            "perturbation": self.perturbation,
            "kind": self.kind,
            "text": self.text,
            "entity": {"start": entity.start, "end": entity.end, "label": entity.label},
            "edited": [list(characters) for characters in self.edited],
            "before": self.before,
            "after": self.after,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Probe:
        """Build a record from the values of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: `values` are malformed.
        """
        entity = values["entity"]
        span = Entity(entity["start"], entity["end"], entity["label"])
        plain = ("perturbation", "kind", "text", "before", "after")
        edited = tuple((start, end) for start, end in values["edited"])
        return cls(entity=span, edited=edited, **{name: values[name] for name in plain})


@dataclass(frozen=True)
class Cue:
    """Characters of the text that matter for the entity's type in the whole corpus.

    Attributes:
        start, end: the characters, end exclusive.
        role: their role, one of `ROLES`.
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
        """Return the record as JSON values."""
        return {"start": self.start, "end": self.end, "role": self.role, "score": self.score}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cue:
        """Build a record from the values of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: `values` are malformed.
        """
        return cls(values["start"], values["end"], values["role"], float(values["score"]))


def as_ranges(places: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Join sorted places into ranges (start, end) of neighbours."""
    ranges: list[tuple[int, int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return tuple(ranges)


def role_ranges(length: int, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return the characters (start, end) of each role, in the order of `ROLES`; they cover the text without gaps.

    Args:
        length: number of characters of the text.
        start, end: the entity, end exclusive. The only character of a one-character entity is its left edge.

    Raises:
        ValueError: an entity that is empty or outside the text.
    """
    if not 0 <= start < end <= length:
        raise ValueError(f"entity {start}-{end} is empty or outside the text of {length} characters")
    last = max(end - 1, start + 1)
    return (0, start), (start, start + 1), (start + 1, last), (last, end), (end, length)


class WordScore(NamedTuple):
    """Score of one matched word of the lexicon.

    Attributes:
        word: the matched text.
        start, end: its characters, end exclusive.
        score: in the units of the method.
    """

    word: str
    start: int
    end: int
    score: float


class SpanScore(NamedTuple):
    """Joint score of neighbouring characters."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Explanation:
    """Explanation of one entity: a score for every character of the text, by position.

    Attributes:
        text: the whole text.
        entity: the explained entity.
        scores: one finite number per character. Sign and unit depend on the method: signed methods score how much a
            character raised the target, norms and attention only how much it mattered. Characters without a token, and
            those outside the window that the model read, have 0.
        lexicon: score of each matched word of the lexicon, sorted by position; empty for models without a lexicon.
        method: name of the explainer.
        target: the explained scalar (`hf_adner.explain.targets.Target`).
        value: the target's value for this text.
        start_profile, end_profile: probability in [0, 1] that an entity of this label starts (ends) with each
            character, or None.
        stability: similarity, in [0, 1], of the scores when unimportant characters are hidden, as
            `hf_adner.explain.stability.StabilityMeter` measures it; None if not measured.
        fusion_weights: weight of each part of a fused explanation, per character; empty otherwise.
        details: further values of the method, such as `completeness_error`; of a text longer than the model, the
            `window` [start, end] that was read. Plain JSON values.
        posterior: probability in [0, 1] that exactly this span with this label is an entity, or None.
        score: the posterior calibrated, in [0, 1], of a checkpoint that was calibrated; else None.
        probes: the entity in perturbed texts (`hf_adner.explain.probes`); empty if not measured.
        cues: characters that matter in the whole corpus (`hf_adner.explain.probes`); empty without a global table.
        labels: all labels of the model, in its order, by which pages colour them; empty if unknown.

    Raises:
        ValueError: an entity outside the text, scores, profiles or weights that are not one finite number per
            character, a lexicon word or cue outside the text, or a posterior or score outside [0, 1].
    """

    viewer: ClassVar[Callable[[str], Any]]
    """Returns a module of `hf_adner.view` by name; set by `hf_adner/__init__`, as that package imports this one."""

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
    score: float | None = None
    labels: tuple[str, ...] = ()

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
        for name in ("posterior", "score"):
            if getattr(self, name) is not None:
                _freeze(self, name, _probability(getattr(self, name), name))
        _freeze(self, "probes", tuple(self.probes))
        _freeze(self, "labels", tuple(self.labels))
        _freeze(self, "cues", tuple(_checked_cue(text, cue) for cue in self.cues))
        weights = {name: _numbers(values, name, len(text)) for name, values in self.fusion_weights.items()}
        _freeze(self, "fusion_weights", weights)
        _freeze(self, "details", dict(self.details))
        words = sorted((_word(text, *word) for word in self.lexicon), key=lambda word: (word.start, word.end))
        _freeze(self, "lexicon", tuple(words))

    # ---- reading ----------------------------------------------------------------------------------------------

    @property
    def span(self) -> EntitySpan:
        """Start, end and label of the entity."""
        return self.entity.start, self.entity.end, self.entity.label

    @property
    def shares(self) -> tuple[float, ...]:
        """Absolute scores divided by their sum, in [0, 1]; all 0 if all scores are."""
        total = math.fsum(map(abs, self.scores))
        return tuple(abs(score) / total if total else 0.0 for score in self.scores)

    def aggregate(self, spans: Iterable[Sequence[int]], how: str = "sum") -> list[SpanScore]:
        """Return one score per span of characters (words, clauses, cue phrases).

        Args:
            spans: sequences that begin with start and end.
            how: `sum`, `mean`, or `max` (the score furthest from 0).

        Raises:
            ValueError: a span that is empty or outside the text, or an unknown `how`.
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
        """Return the `count` characters with scores furthest from 0, best first, ties by position."""
        places = sorted(range(len(self.text)), key=lambda place: -abs(self.scores[place]))
        return self.aggregate([(place, place + 1) for place in places[:count]])

    def by_role(self) -> dict[str, float]:
        """Return the summed scores of the characters of each of `ROLES`."""
        ranges = role_ranges(len(self.text), self.entity.start, self.entity.end)
        return {role: math.fsum(self.scores[start:end]) for role, (start, end) in zip(ROLES, ranges)}

    # ---- showing ----------------------------------------------------------------------------------------------

    def plot(self, axes: Axes | None = None, context: int | None = 20) -> Axes:
        """Draw scores and boundary profile with matplotlib; see `hf_adner.view.plot.plot_explanation`."""
        return self.viewer("plot").plot_explanation(self, axes, context)

    def show(self) -> None:
        """Display the page of `to_html` in a notebook; elsewhere, print the characters with the highest scores."""
        self.viewer("output").show_explanations([self])

    def to_html(self, path: str | Path, **options: Any) -> None:
        """Write a self-contained page; see `explanations_to_html` for many entities or texts on one page.

        Args:
            path: of the file, written atomically.
            options: as for `hf_adner.view.page.explanations_to_html`.
        """
        self.viewer("page").explanations_to_html([self], path, **options)

    # ---- files ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values, with the name and version of the format."""
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
            "score": self.score,
            "labels": list(map(_encoded, self.labels)),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Explanation:
        """Build an explanation from the values of `to_dict`.

        Raises:
            ValueError: `values` are malformed, incomplete or of a later version.
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
                score=values.get("score"),
                probes=tuple(map(Probe.from_dict, values.get("probes", ()))),
                cues=tuple(map(Cue.from_dict, values.get("cues", ()))),
                labels=tuple(map(_decoded, values.get("labels", ()))),
                **{name: values[name] for name in _PLAIN},
            )
        except KeyError as error:
            raise ValueError(f"the explanation lacks {error.args[0]!r}") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"the explanation is malformed: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write a JSON file atomically.

        Raises:
            ValueError: `details` are not JSON values.
        """
        try:
            text = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
        except TypeError as error:
            raise ValueError(f"the explanation's details are not plain JSON values: {error}") from None
        write_file(Path(path), [text, "\n"], "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read a file that `save` wrote.

        Raises:
            ValueError: the file is not an explanation; names the file and the reason.
            OSError: the file cannot be read.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:  # includes errors of JSON and of Unicode
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
        name: shown on pages.
        text: the whole text.
        explanations: of its entities, in any order; entities may be nested.
        remark: what a reader must know of how they were explained; shown above them.

    Raises:
        ValueError: an explanation of another text.
    """

    name: str
    text: str
    explanations: tuple[Explanation, ...] = ()
    remark: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "explanations", tuple(self.explanations))
        if any(explanation.text != self.text for explanation in self.explanations):
            raise ValueError(f"note {self.name[:20]!r} has an explanation of another text")


def _freeze(explanation: Explanation, name: str, value: Any) -> None:
    object.__setattr__(explanation, name, value)


def _number(value: Any, name: str) -> float:
    if isinstance(value, (str, bytes, bool)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, found {excerpt(value)}")
    return float(value)


def _probability(value: Any, name: str) -> float:
    number = _number(value, name)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be in [0, 1], found {number}")
    return number


def _checked_cue(text: str, cue: Cue) -> Cue:
    if cue.end > len(text):
        raise ValueError(f"cue {cue.start}-{cue.end} reaches outside the text of {len(text)} characters")
    return cue


def _numbers(values: Iterable[Any], name: str, length: int) -> tuple[float, ...]:
    numbers = tuple(values)
    if not (set(map(type, numbers)) <= {float} and all(map(math.isfinite, numbers))):  # fast for plain floats
        numbers = tuple(_number(value, name) for value in numbers)
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
    """Return a string, or its code points if it holds lone surrogates, which UTF-8 cannot encode."""
    return text if replace_surrogates(text) == text else list(map(ord, text))


def _decoded(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(chr, value))
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {type(value).__name__}")
    return value


def _check_format(values: Any) -> None:
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise ValueError(f"this is not an explanation (expected a JSON object with format {FORMAT!r})")
    version = values.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r} is unknown, this package reads versions 1 to {VERSION}")
