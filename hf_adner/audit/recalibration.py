"""Calibration of a checkpoint's scores on development documents: `adner calibrate`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from hf_adner.audit.conformal import LEAST_CANDIDATE, CandidateFit, check_coverage, fit_candidates
from hf_adner.audit.prediction import watched_texts
from hf_adner.audit.review import budget_threshold, check_budget
from hf_adner.audit.score_maps import (
    AS_IT_IS,
    FOLDS,
    LEAST_ENTITIES,
    LEAST_OF_EACH,
    METHODS,
    FittedMaps,
    Outcome,
    Outcomes,
    choose_maps,
    cross_validated_scores,
    log_losses,
)
from hf_adner.data.errors import excerpt
from hf_adner.data.records import Document
from hf_adner.metrics.calibration import calibration
from hf_adner.model.calibration_adner import ScoreMap
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.reporting import code_points, escape_markdown, markdown_table, plain, share

LEAST_DOCUMENTS = 10
"""Documents with predicted entities that a calibration needs: one for each fold of its cross-validation."""
SCORES = ("score", "start_score", "end_score")
BOUNDARY_METHODS = ("temperature", "Platt")
CHANCE_DRAWS = 100


class Measured(NamedTuple):
    """Calibration of the same entities before (posteriors) and after, each figure the lower the better.

    Attributes:
        entities: number.
        right: how many of them are right.
        ece, brier, log_loss: (before, after); `log_loss` in natural logarithm, with scores held 1e-7 from 0 and 1.
        ece_by_chance: mean ECE of as many entities whose scores were exact, a floor that no calibration beats.
    """

    entities: int
    right: int
    ece: tuple[float, float]
    brier: tuple[float, float]
    log_loss: tuple[float, float]
    ece_by_chance: float


class ReviewBudget(NamedTuple):
    """A review threshold and what it does on the development documents.

    Attributes:
        budget: share of entities to look at.
        threshold: score below which an entity is flagged.
        flagged: share of entities that it flags.
        wrong_among_flagged: share of the flagged entities that are wrong, None if none is flagged.
        wrong_found: share of the wrong entities that are flagged, None if none is wrong.
    """

    budget: float
    threshold: float
    flagged: float
    wrong_among_flagged: float | None
    wrong_found: float | None


@dataclass(frozen=True)
class CalibrationFit:
    """Maps, thresholds and measured effect of a calibration.

    Attributes:
        documents: number of development documents.
        entities, gold: their predicted and gold entities.
        score, start, end: maps of the posterior and of the marginals of the boundaries.
        measured: "score", "start_score", "end_score" -> effect, by cross-validation.
        labels: the same of the score per label.
        review: budget, None if none was asked for.
        candidates: conformal candidate set, None if none was asked for.
    """

    documents: int
    entities: int
    gold: int
    score: FittedMaps
    start: FittedMaps
    end: FittedMaps
    measured: Mapping[str, Measured]
    labels: Mapping[str, Measured]
    review: ReviewBudget | None = None
    candidates: CandidateFit | None = None

    def config(self) -> dict[str, Any]:
        """Return the field `calibration` of a configuration, plain JSON values; see `Calibration.from_config`."""
        fitted = {
            "method": self.score.method,
            "score": _parameters(self.score.shared),
            "labels": {label: _parameters(own) for label, own in self.score.labels.items()},
            "start": _parameters(self.start.shared),
            "end": _parameters(self.end.shared),
        }
        if self.review is not None:
            fitted |= {"review_threshold": self.review.threshold, "review_budget": self.review.budget}
        if self.candidates is not None:
            fitted |= {"candidate_threshold": self.candidates.threshold, "coverage": self.candidates.coverage}
        return {**fitted, "report": self.to_dict()}

    def to_dict(self) -> dict[str, Any]:
        """Return what was measured as plain dictionaries and numbers, ready for JSON."""
        return plain(
            {
                "documents": self.documents,
                "entities": self.entities,
                "gold": self.gold,
                "methods": {"score": self.score.method, "start_score": self.start.method, "end_score": self.end.method},
                "measured": {name: one._asdict() for name, one in self.measured.items()},
                "labels": {name: one._asdict() for name, one in self.labels.items()},
                "own_maps": sorted(self.score.labels),
                "review": None if self.review is None else self.review._asdict(),
                "candidates": None if self.candidates is None else asdict(self.candidates),
            }
        )

    def to_markdown(self) -> str:
        """Return maps, effect per score and label, budget and candidates as Markdown."""
        return report_markdown(self.to_dict())


def calibrate(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    *,
    coverage: float | None = None,
    review_budget: float | None = None,
    batch_size: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> CalibrationFit:
    """Fit the scores of a checkpoint to development documents, which the model must not have been trained on.

    Args:
        pipe: the checkpoint; a calibration that it has is ignored.
        documents: with their gold entities, read once.
        coverage: also fit a candidate threshold, see `hf_adner.audit.conformal`; in (0, 1).
        review_budget: also fit a review threshold: the share of entities to look at, in [0, 1].
        batch_size: windows per forward pass.
        seed: of the folds.
        progress: show a progress bar.

    Raises:
        ValueError: no gold entity, a gold label that the model does not have, too few documents with predicted
            entities, a number out of range, or a coverage that cannot be met.
    """
    if review_budget is not None:
        check_budget(review_budget)
    if coverage is not None:
        check_coverage(coverage)
    least = None if coverage is None else LEAST_CANDIDATE
    found = predict_found(pipe, documents, batch_size, least, progress)
    _check(found)
    rows = {"score": found.score, "start_score": found.start, "end_score": found.end}
    outcomes = {name: Outcomes.of(side) for name, side in rows.items()}
    methods = {"score": tuple(METHODS), "start_score": BOUNDARY_METHODS, "end_score": BOUNDARY_METHODS}
    maps = {name: choose_maps(side, methods[name], seed) for name, side in outcomes.items()}
    held_out = {name: cross_validated_scores(side, methods[name], seed) for name, side in outcomes.items()}
    candidates = None
    if coverage is not None:
        candidates = fit_candidates(found.gold, found.candidates, len(found.score), coverage, FOLDS)
    return CalibrationFit(
        documents=len(found.gold),
        entities=len(found.score),
        gold=sum(map(len, found.gold)),
        score=maps["score"],
        start=maps["start_score"],
        end=maps["end_score"],
        measured={name: measure(side, held_out[name]) for name, side in outcomes.items()},
        labels=_by_label(outcomes["score"], held_out["score"]),
        review=None if review_budget is None else _review(outcomes["score"], maps["score"], review_budget),
        candidates=candidates,
    )


class Found(NamedTuple):
    """Development documents as the model sees them, without calibration.

    Attributes:
        score, start, end: outcomes of the predicted entities: right as a whole, in their start, in their end.
        gold: per document the posteriors of its gold entities, 0 if they are too low to be listed.
        candidates: per document the posteriors of all spans and labels above `LEAST_CANDIDATE`; of those on the best
            path alone, and so in `gold`, if no coverage is asked for.
    """

    score: list[Outcome]
    start: list[Outcome]
    end: list[Outcome]
    gold: list[list[float]]
    candidates: list[list[float]]


def predict_found(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    batch_size: int = 16,
    least: float | None = None,
    progress: bool = True,
) -> Found:
    """Tag development documents without calibration and compare with their gold entities.

    Args:
        pipe, documents, batch_size, progress: as for `calibrate`.
        least: posterior that candidates exceed; None: none but the best path's entities.

    Raises:
        ValueError: a gold label that the model does not have.
    """
    found, pending = Found([], [], [], [], []), deque()
    total = len(documents) if isinstance(documents, Sized) else None
    labels = set(pipe.model.config.entity_types)
    predictions = pipe(watched_texts(documents, pending), batch_size=batch_size, calibrated=False, candidates=least)
    bar = tqdm(predictions, total=total, desc="calibrating", unit="document", disable=None if progress else True)
    for number, entities in enumerate(bar):
        document = pending.popleft()
        if unknown := sorted({entity.label for entity in document.entities} - labels):
            raise ValueError(
                f"document {excerpt(document.id, 40)} has entities of the labels {list(map(code_points, unknown))}, "
                f"which the model does not have; its labels are {sorted(labels)}"
            )
        _add(found, number, entities, document.spans)
    return found


def _add(found: Found, number: int, entities: Sequence[Mapping[str, Any]], gold: Sequence[tuple[int, int, str]]):
    starts, ends, spans = ({one[0] for one in gold}, {one[1] for one in gold}, set(gold))
    posteriors = {(one["start"], one["end"], one["entity_group"]): one["score"] for one in entities}
    for one in entities:
        if one.get("on_path", True):
            span = (one["start"], one["end"], one["entity_group"])
            found.score.append(Outcome(number, span[2], one["score"], span in spans))
            found.start.append(Outcome(number, "", one["start_score"], span[0] in starts))
            found.end.append(Outcome(number, "", one["end_score"], span[1] in ends))
    found.gold.append([posteriors.get(span, 0.0) for span in spans])
    found.candidates.append(sorted(posteriors.values()))


def _check(found: Found) -> None:
    if not any(found.gold):
        raise ValueError(
            f"none of the {len(found.gold)} documents has a gold entity: calibration compares predicted entities with "
            "gold ones"
        )
    documents = len({one.document for one in found.score})
    if documents < LEAST_DOCUMENTS or len(found.score) < LEAST_ENTITIES:
        raise ValueError(
            f"the model finds {len(found.score)} entities in {documents} of the {len(found.gold)} documents; "
            f"calibration needs {LEAST_ENTITIES} in {LEAST_DOCUMENTS} documents or more"
        )


def measure(outcomes: Outcomes, scores: np.ndarray) -> Measured:
    """Compare the calibration of posteriors and of scores of the same entities, (entities,)."""
    before, after = (calibration(values, outcomes.correct) for values in (outcomes.posteriors, scores))
    losses = [float(log_losses(values, outcomes).mean()) for values in (outcomes.posteriors, scores)]
    return Measured(
        entities=len(scores),
        right=int(outcomes.correct.sum()),
        ece=(before["ece"], after["ece"]),
        brier=(before["brier"], after["brier"]),
        log_loss=(losses[0], losses[1]),
        ece_by_chance=ece_by_chance(scores),
    )


def ece_by_chance(scores: np.ndarray, draws: int = CHANCE_DRAWS, seed: int = 0) -> float:
    """Return the mean ECE of entities that are right exactly as often as their scores say, (entities,)."""
    rng = np.random.default_rng(seed)
    return float(np.mean([calibration(scores, rng.random(len(scores)) < scores)["ece"] for _ in range(draws)]))


def _by_label(outcomes: Outcomes, scores: np.ndarray) -> dict[str, Measured]:
    chosen = {label: outcomes.labels == label for label in np.unique(outcomes.labels).tolist()}
    return {label: measure(outcomes.where(own), scores[own]) for label, own in chosen.items()}


def _review(outcomes: Outcomes, maps: FittedMaps, budget: float) -> ReviewBudget:
    scores, wrong = maps.scores(outcomes), ~outcomes.correct
    threshold = budget_threshold(scores.tolist(), budget)
    flagged = scores < threshold
    return ReviewBudget(
        budget=budget,
        threshold=threshold,
        flagged=float(flagged.mean()),
        wrong_among_flagged=float(wrong[flagged].mean()) if flagged.any() else None,
        wrong_found=float(flagged[wrong].mean()) if wrong.any() else None,
    )


def _parameters(found: ScoreMap) -> dict[str, float]:
    return {"slope": found.slope, "intercept": found.intercept}


_TITLES = ("n", "ECE before", "after", "by chance", "Brier before", "after", "log loss before", "after")


def report_markdown(report: Mapping[str, Any]) -> str:
    """Return a report of `CalibrationFit.to_dict`, which the configuration keeps, as Markdown."""
    methods, labels = report["methods"], report["labels"]
    sides = [name for name in SCORES if name in methods]  # a configuration is saved with its keys sorted
    named = ", ".join(f"`{name}` {methods[name]}" for name in sides)
    parts = [
        f"{report['entities']:,} predicted and {report['gold']:,} gold entities of {report['documents']:,} development "
        f"documents. Maps chosen by cross-validated log loss: {named}.",
        markdown_table(("score", *_TITLES), _rows({name: report["measured"][name] for name in sides})),
        f"*After*: by {FOLDS}-fold cross-validation over documents; maps are chosen and fitted without the documents "
        "that they are measured on. *By chance*: what exact scores of so many entities would have.",
        markdown_table(("label", *_TITLES), _rows({escape_markdown(name): one for name, one in labels.items()})),
        _own_maps_line(report["own_maps"]),
    ]
    if never := [f"{escape_markdown(name)} ({one['entities']:,})" for name, one in labels.items() if not one["right"]]:
        parts.append(
            f"None of the predicted entities is right of {', '.join(never)}. If these documents are not annotated with "
            "such a label, its entities count as wrong all the same, and scores come out too low."
        )
    if report["review"] is not None:
        parts.append(_review_line(report["review"]))
    if report["candidates"] is not None:
        parts.append("\n".join(CandidateFit(**report["candidates"]).lines()))
    return "\n\n".join(parts) + "\n"


def changes_scores(report: Mapping[str, Any]) -> bool:
    """Return whether the calibration of a report changed any score: posteriors that are good enough stay."""
    return set(report["methods"].values()) != {AS_IT_IS}


def _rows(measured: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (name, one["entities"], *one["ece"], one["ece_by_chance"], *one["brier"], *one["log_loss"])
        for name, one in measured.items()
    ]


def _own_maps_line(labels: Sequence[str]) -> str:
    """Say which labels have maps of their own, and the rule."""
    rule = f"{LEAST_ENTITIES} predicted entities, {LEAST_OF_EACH} of them right and {LEAST_OF_EACH} wrong"
    rule = f"A label needs {rule}, to get its own where that lowers the log loss."
    if labels:
        return (
            f"Labels with a map of their own: {', '.join(map(escape_markdown, labels))}; the others share one. {rule}"
        )
    return f"All labels share one map. {rule}"


def _review_line(review: Mapping[str, Any]) -> str:
    """Say what a review budget does."""
    wrong, found = review["wrong_among_flagged"], review["wrong_found"]
    facts = "" if wrong is None else f"; {share(wrong)} of them are wrong"
    facts += "" if found is None else f", {share(found)} of all wrong entities"
    return (
        f"Review budget {share(review['budget'])}: `needs_review` below the score {review['threshold']:.4f}. On these "
        f"documents, which it was set on, it flags {share(review['flagged'])} of the entities{facts}."
    )
