"""Robustness: what is left of the F1 on perturbed texts, and of the recall on entities that training never held.

The perturbations that an audit makes its views with, ready to use, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tqdm.auto import tqdm

from hf_adner.audit.prediction import scored_spans
from hf_adner.data.records import Document
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.metrics.robustness import robustness, seen_unseen_recall
from hf_adner.perturb.context import EntitySurfaces, SimilarWords
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.perturbed import LABEL_PRESERVING, Perturbed
from hf_adner.perturb.registry import make_perturbation
from hf_adner.reporting import plain, report_table

DEFAULT_FAMILIES = ("context-masking", "similar-words", "punctuation", "outer-neighbour")
"""Families of label-preserving edits that keep most of the text in its place."""


def make_families(
    families: Sequence[str] | Mapping[str, Perturbation] | None,
    model: Any,
    tokenizer: Any,
    training: Sequence[Document] = (),
) -> dict[str, Perturbation]:
    """Perturbations by name, with their materials.

    Similar words come from the tokenizer's lexicon and the model's embeddings, entities to swap from `training`. Of
    `DEFAULT_FAMILIES` (for None) those are left out that have no materials; of named ones none is.

    Raises:
        ValueError: an unknown name, or one without materials.
    """
    if isinstance(families, Mapping):
        return dict(families)
    lacks_words = getattr(tokenizer, "lexicon", None) is None
    if families is None:
        families = [name for name in DEFAULT_FAMILIES if not (lacks_words and name == "similar-words")]
    return {name: _make(name, model, tokenizer, training) for name in families}


def label_preserving(families: Mapping[str, Perturbation]) -> None:
    """Refuse families after which labels need not hold.

    Raises:
        ValueError: there is one.
    """
    wrong = [name for name, one in families.items() if one.kind != LABEL_PRESERVING]
    if wrong or not families:
        raise ValueError(f"views need label-preserving perturbations, at least one, found {wrong or 'none'}")


def _make(name: str, model: Any, tokenizer: Any, training: Sequence[Document]) -> Perturbation:
    if name == "masked-lm":
        raise ValueError(f"{name} needs a masked language model: give the perturbation itself, by name, in a mapping")
    if name == "similar-words":
        if getattr(tokenizer, "lexicon", None) is None:
            raise ValueError(f"{name} needs a tokenizer with a lexicon")
        vectors = model.get_input_embeddings().weight
        return make_perturbation(name, source=SimilarWords.from_embeddings(tokenizer, vectors))
    if name == "entity-swap":
        if not training:
            raise ValueError(f"{name} needs training documents to take entities from")
        return make_perturbation(name, surfaces=EntitySurfaces.from_documents(training))
    return make_perturbation(name)


HELD_OUT = ("similar-words", "clause-shuffle", "confusions", "virtual-boundary")
"""Families that models should not be trained on, so that they can test them."""

Spans = list[tuple[int, int, str]]


@dataclass(frozen=True)
class RobustnessReport:
    """Strict entity F1 on perturbed documents beside the F1 on the same documents as they are.

    Attributes:
        documents: number of documents.
        f1: on all of them, unperturbed, in [0, 1].
        families: name -> ``f1``, ``clean_f1``, ``degradation`` (`metrics.robustness`), ``kind``, ``documents`` and
            ``coverage`` (the share of the documents that the family could edit), ``views``, ``gold``.
        mean_degradation, worst_family, worst_degradation, worst_f1: over families, see `metrics.robustness`.
        recall: `metrics.robustness.seen_unseen_recall` of gold entities whose text, with its label, training held or
            not; None without training documents.
    """

    documents: int
    f1: float
    families: Mapping[str, Mapping[str, Any]]
    mean_degradation: float
    worst_family: str | None
    worst_degradation: float
    worst_f1: float
    recall: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(asdict(self))

    def to_markdown(self) -> str:
        """A row per family, and the recall of seen and unseen entities."""
        names = ("f1", "clean_f1", "degradation", "views", "documents", "coverage")
        rows = [(family, *(of[name] for name in names)) for family, of in self.families.items()]
        parts = [
            f"Strict F1 {self.f1:.4f} on {self.documents:,} documents. Each family beside the same documents "
            "unperturbed; after a virtual boundary labels need not hold.",
            report_table(("perturbed", "F1", "clean F1", "relative loss", "views", "documents", "coverage"), rows),
        ]
        if self.recall is not None:
            of = self.recall
            rows = [
                ("text seen in training", of["seen_recall"], of["seen"]),
                ("not seen", of["unseen_recall"], of["unseen"]),
            ]
            parts.append(report_table(("gold entities", "recall", "entities"), rows))
        return "\n\n".join(parts) + "\n"


def robustness_report(
    model: Any,
    tokenizer: Any,
    documents: Iterable[Document],
    *,
    families: Sequence[str] | Mapping[str, Perturbation] | None = None,
    training: Iterable[Document] = (),
    views: int = 1,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> RobustnessReport:
    """Score a model on perturbed documents.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels.
        tokenizer: its fast tokenizer.
        documents: with gold entities.
        families: names of perturbations (``entity-swap`` needs `training`), or name -> perturbation; None takes those
            of `HELD_OUT` that the tokenizer's lexicon allows.
        training: the documents the model was trained on: adds the recall of seen and unseen entities.
        views: perturbed forms of each document per family; they depend on the seed, the family and the document's id.
        seed: of the views.
        batch_size: windows per forward pass.
        progress: show a progress bar on standard error.

    Raises:
        ValueError: an unknown family, or one without materials.
    """
    documents, training = list(documents), list(training)
    if families is None:
        lacks_words = getattr(tokenizer, "lexicon", None) is None
        families = [name for name in HELD_OUT if not (lacks_words and name == "similar-words")]
    made = make_families(families, model, tokenizer, training)
    clean = _predict(model, tokenizer, documents, batch_size)
    rows = {
        name: _family(model, tokenizer, documents, clean, name, one, views, seed, batch_size)
        for name, one in tqdm(made.items(), desc="perturbing", unit="family", disable=not progress)
    }
    scored = {name: row for name, row in rows.items() if row["views"]}
    found = robustness(
        {name: row["f1"] for name, row in scored.items()}, {name: row["clean_f1"] for name, row in scored.items()}
    )
    table_of = found.pop("families")
    return RobustnessReport(
        documents=len(documents),
        f1=_f1(clean, documents),
        families={name: {"degradation": float("nan"), **row, **table_of.get(name, {})} for name, row in rows.items()},
        recall=_recall(documents, clean, training) if training else None,
        **found,
    )


def _family(
    model: Any,
    tokenizer: Any,
    documents: Sequence[Document],
    clean: Sequence[Spans],
    name: str,
    perturbation: Perturbation,
    views: int,
    seed: int,
    batch_size: int,
) -> dict[str, Any]:
    """F1 of one family and of the documents it could edit, each as often as it was."""
    made = list(_views(documents, name, perturbation, views, seed))
    changed = [perturbed.document for _, perturbed in made]
    found = _predict(model, tokenizer, changed, batch_size)
    owners = [number for number, _ in made]
    return {
        "f1": _f1(found, changed),
        "clean_f1": _f1([clean[number] for number in owners], [documents[number] for number in owners]),
        "kind": perturbation.kind,
        "views": len(made),
        "documents": len(set(owners)),
        "coverage": len(set(owners)) / len(documents) if documents else float("nan"),
        "gold": sum(len(document.entities) for document in changed),
    }


def _views(
    documents: Sequence[Document], name: str, perturbation: Perturbation, views: int, seed: int
) -> Iterable[tuple[int, Perturbed]]:
    for number, document in enumerate(documents):
        for view in range(views):
            perturbed = perturbation(document, f"robustness {seed} {name} {view} {document.id}")
            if perturbed is not None and not perturbed.is_unchanged:
                yield number, perturbed


def _predict(model: Any, tokenizer: Any, documents: Sequence[Document], batch_size: int) -> list[Spans]:
    found = scored_spans(model, tokenizer, [document.text for document in documents], batch_size)
    return [[one.span for one in ones] for ones in found]


def _f1(predicted: Sequence[Spans], documents: Sequence[Document]) -> float:
    return entity_f1(predicted, [document.spans for document in documents])["f1"]


def _recall(documents: Sequence[Document], predicted: Sequence[Spans], training: Sequence[Document]) -> dict:
    known = {(entity.text, entity.label) for document in training for entity in document.entities}
    found, seen = [], []
    for document, spans in zip(documents, predicted):
        there = set(spans)
        found += [span in there for span in document.spans]
        seen += [(entity.text, entity.label) in known for entity in document.entities]
    return seen_unseen_recall(found, seen)
