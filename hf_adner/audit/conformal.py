"""Conformal risk control of missed entities (Angelopoulos et al. 2022, section 2.1).

A document's loss is the share of its gold entities whose posterior does not exceed a threshold: those that the
candidate set misses. It rises with the threshold. The largest threshold with (sum of losses + 1) / (documents + 1) <=
1 - coverage keeps the expected loss of a new document at most 1 - coverage, if it is exchangeable with the documents of
the fit. Only documents with a gold entity count; exchangeable documents are so among those with an entity too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_adner.reporting import share

LEAST_CANDIDATE = 1e-4
"""Smallest threshold that is fitted: below it the candidates of a text may be as many as its pairs of characters."""

MARGIN = 1e-4
"""Share that the threshold lies below the posterior that it is to let through, which is rounded otherwise next time."""


@dataclass(frozen=True)
class CandidateFit:
    """A candidate threshold and what it was fitted on.

    Attributes:
        coverage: what was asked for: 1 - the expected share of a document's gold entities that are missed.
        threshold: posterior that candidates exceed.
        documents: documents with a gold entity.
        gold: their gold entities.
        out_of_reach: gold entities of a posterior up to `LEAST_CANDIDATE`, which no candidate set has.
        covered: mean share of a document's gold entities among its candidates, on these documents.
        held_out: the same of documents that the threshold was not fitted on, by cross-validation; None for too few.
        candidates: candidates per document, on all documents.
        entities: entities of the best path per document, on all documents.
    """

    coverage: float
    threshold: float
    documents: int
    gold: int
    out_of_reach: int
    covered: float
    held_out: float | None
    candidates: float
    entities: float

    def lines(self) -> list[str]:
        """Return the fit in words, with its assumption."""
        held_out = "" if self.held_out is None else f", by cross-validation {share(self.held_out)}"
        return [
            f"Candidates: every span and label with a posterior above {self.threshold:.4g}; {self.candidates:.1f} per "
            f"document, where the best path has {self.entities:.1f} entities.",
            f"Expected share of a document's gold entities among them: at least {share(self.coverage)}, if new "
            "documents are exchangeable with these: from the same source, annotated by the same rules, drawn alike. It "
            "is a mean over documents, no promise for a single one, a label or another hospital.",
            f"On these {self.documents:,} documents with gold entities: {share(self.covered)}{held_out}; "
            f"{self.out_of_reach:,} of {self.gold:,} gold entities have a posterior of {LEAST_CANDIDATE:g} or less and "
            "are out of reach.",
        ]


def fit_candidates(
    gold: Sequence[Sequence[float]], candidates: Sequence[Sequence[float]], entities: int, coverage: float, folds: int
) -> CandidateFit:
    """Fit a candidate threshold.

    Args:
        gold: per document the posteriors of its gold entities, 0 for one that is not among `candidates`.
        candidates: per document the posteriors above `LEAST_CANDIDATE` of all spans and labels.
        entities: number of entities of all best paths.
        coverage: in (0, 1).
        folds: of the cross-validation.

    Raises:
        ValueError: the coverage cannot be met; says which one can.
    """
    annotated = [document for document in gold if document]
    threshold = candidate_threshold(annotated, coverage)
    return CandidateFit(
        coverage=coverage,
        threshold=threshold,
        documents=len(annotated),
        gold=sum(map(len, annotated)),
        out_of_reach=sum(value <= LEAST_CANDIDATE for document in annotated for value in document),
        covered=mean_covered(annotated, threshold),
        held_out=_held_out(annotated, coverage, folds),
        candidates=sum(value > threshold for document in candidates for value in document) / len(candidates),
        entities=entities / len(candidates),
    )


def check_coverage(coverage: Any) -> None:
    """Check a coverage.

    Raises:
        ValueError: it is not a number in (0, 1).
    """
    if not (isinstance(coverage, int | float) and 0 < coverage < 1):
        raise ValueError(f"coverage must be in (0, 1), found {coverage!r}")


def candidate_threshold(gold: Sequence[Sequence[float]], coverage: float) -> float:
    """Return the largest threshold that keeps the expected share of missed entities at most 1 - coverage.

    Args:
        gold: per document the posteriors of its gold entities, at least one each.
        coverage: in (0, 1).

    Raises:
        ValueError: there is none of `LEAST_CANDIDATE` or more.
    """
    check_coverage(coverage)
    posteriors = np.array([value for document in gold for value in document])
    weights = np.array([1 / len(document) for document in gold for _ in document])
    order = np.argsort(posteriors, kind="stable")
    posteriors, missed = posteriors[order], np.cumsum(weights[order]) - weights[order]  # below each, in the order
    _, first = np.unique(posteriors, return_index=True)  # of equal posteriors none is missed where one is not
    bounds = (missed[first] + 1) / (len(gold) + 1)
    allowed = posteriors[first][(bounds <= 1 - coverage + 1e-9) & (posteriors[first] > LEAST_CANDIDATE)]
    if not len(allowed):
        raise ValueError(_unmet(gold, coverage))
    return float(allowed[-1]) * (1 - MARGIN)


def _unmet(gold: Sequence[Sequence[float]], coverage: float) -> str:
    missed = sum(1 - covered(document, LEAST_CANDIDATE) for document in gold)
    best = max(0.0, 1 - (missed + 1) / (len(gold) + 1))
    text = f"coverage {coverage:g} cannot be met: on {len(gold)} documents with gold entities at most {best:.3f} can"
    if missed:
        return f"{text}, since gold entities have posteriors of {LEAST_CANDIDATE:g} or less, out of reach of the model"
    return f"{text}; {coverage:g} needs {math.ceil(1 / (1 - coverage) - 1 - 1e-9)} documents or more"


def covered(posteriors: Sequence[float], threshold: float) -> float:
    """Return the share of a document's gold entities whose posterior exceeds the threshold."""
    return sum(value > threshold for value in posteriors) / len(posteriors)


def mean_covered(gold: Sequence[Sequence[float]], threshold: float) -> float:
    """Return the mean over documents of `covered`."""
    return float(np.mean([covered(document, threshold) for document in gold]))


def _held_out(gold: Sequence[Sequence[float]], coverage: float, folds: int) -> float | None:
    """Return the mean share covered by thresholds fitted without the document's fold, None where one cannot be met."""
    number = np.random.default_rng(0).permutation(len(gold)) % min(folds, len(gold))
    shares: list[float] = []
    for fold in np.unique(number):
        try:
            threshold = candidate_threshold([one for one, own in zip(gold, number) if own != fold], coverage)
        except ValueError:
            return None
        shares += [covered(one, threshold) for one, own in zip(gold, number) if own == fold]
    return float(np.mean(shares))
