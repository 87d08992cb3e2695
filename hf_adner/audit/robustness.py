"""Robustness: F1 on perturbed texts, and recall of entities that training did not contain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tqdm.auto import tqdm

from hf_adner.audit.predict_files import blocks
from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.tagger import Tagger
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.metrics.robustness import robustness, seen_unseen_recall
from hf_adner.model.lexicon_adner import as_read
from hf_adner.perturb.context import EntitySurfaces
from hf_adner.perturb.perturbation import LABEL_PRESERVING, Perturbation, Perturbed
from hf_adner.perturb.registry import HELD_OUT, make_perturbation
from hf_adner.perturb.similar_words import SimilarWords
from hf_adner.reporting import markdown_table, plain

DEFAULT_FAMILIES = ("context-masking", "similar-words", "punctuation", "outer-neighbour")
"""Families of label-preserving edits that move little of the text."""

BATCHES_AT_ONCE = 8
"""Batches between two moves of the bar; within them texts are sorted by length."""

Spans = list[EntitySpan]


def make_families(
    families: Sequence[str] | Mapping[str, Perturbation] | None,
    model: Any,
    tokenizer: Any,
    training: Sequence[Document] = (),
) -> dict[str, Perturbation]:
    """Make perturbations by name, with the data they need.

    Similar words come from the tokenizer's lexicon and the model's embeddings, entities to swap from `training`. With
    None, the `DEFAULT_FAMILIES` that the tokenizer allows are made.

    Raises:
        ValueError: an unknown name, or one whose data is missing.
    """
    if isinstance(families, Mapping):
        return dict(families)
    if families is None:
        families = _available(DEFAULT_FAMILIES, tokenizer)
    return {name: _make(name, model, tokenizer, training) for name in families}


def _available(names: Sequence[str], tokenizer: Any) -> list[str]:
    """Leave out similar words for a tokenizer without a lexicon."""
    has_lexicon = getattr(tokenizer, "lexicon", None) is not None
    return [name for name in names if has_lexicon or name != "similar-words"]


def check_label_preserving(families: Mapping[str, Perturbation]) -> None:
    """Check that there are families and that all of them preserve labels.

    Raises:
        ValueError: they do not.
    """
    wrong = [name for name, perturbation in families.items() if perturbation.kind != LABEL_PRESERVING]
    if wrong or not families:
        raise ValueError(f"views need label-preserving perturbations, at least one, found {wrong or 'none'}")


def _make(name: str, model: Any, tokenizer: Any, training: Sequence[Document]) -> Perturbation:
    if name == "masked-lm":
        raise ValueError(f"{name} needs a masked language model: pass a mapping from its name to the perturbation")
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


@dataclass(frozen=True)
class RobustnessReport:
    """Strict entity F1 on perturbed documents, and on the same documents unperturbed.

    Attributes:
        documents: number of documents.
        f1: on all documents, unperturbed, in [0, 1].
        families: name -> ``f1``, ``clean_f1``, ``degradation`` (`metrics.robustness`), ``kind``, ``documents`` and
            ``coverage`` (share of the documents that the family can edit), ``views``, ``gold``.
        mean_degradation, worst_family, worst_degradation, worst_f1: over families, see `metrics.robustness`.
        recall: `metrics.robustness.seen_unseen_recall`: gold entities count as seen if training contained their text
            (as the tokenizer reads it) with their label; None without training documents.
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
        """Return the report as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(asdict(self))

    def to_markdown(self) -> str:
        """Return a row per family, and the recall of seen and unseen entities, as Markdown."""
        names = ("f1", "clean_f1", "degradation", "views", "documents", "coverage")
        rows = [(family, *(scores[name] for name in names)) for family, scores in self.families.items()]
        parts = [
            f"Strict F1 {self.f1:.4f} on {self.documents:,} documents. Each family beside the same documents "
            "unperturbed.",
            markdown_table(("perturbed", "F1", "clean F1", "relative loss", "views", "documents", "coverage"), rows),
            *filter(None, [_boundary_note(self.families)]),
        ]
        if self.recall is not None:
            rows = [
                ("text seen in training", self.recall["seen_recall"], self.recall["seen"]),
                ("not seen", self.recall["unseen_recall"], self.recall["unseen"]),
            ]
            parts.append(markdown_table(("gold entities", "recall", "entities"), rows))
        return "\n\n".join(parts) + "\n"


def _boundary_note(families: Mapping[str, Mapping[str, Any]]) -> str:
    named = ", ".join(name for name, scores in families.items() if scores["kind"] != LABEL_PRESERVING)
    return f"Labels need not hold after {named}." if named else ""


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
    """Evaluate a model on perturbed documents.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels.
        tokenizer: its fast tokenizer.
        documents: with gold entities.
        families: names of perturbations (``entity-swap`` needs `training`), or name -> perturbation; None:
            `HELD_OUT`.
        training: documents the model was trained on; adds the recall of seen and unseen entities.
        views: perturbed versions of each document per family; they depend on the seed, the family and the document's
            id.
        seed: of the views.
        batch_size: windows per forward pass.
        progress: show a progress bar on standard error.

    Raises:
        ValueError: an unknown family, or one whose data is missing.
    """
    documents, training = list(documents), list(training)
    perturbations = make_families(HELD_OUT if families is None else families, model, tokenizer, training)
    total = len(documents) * (1 + views * len(perturbations))
    with tqdm(total=total, desc="robustness", unit="text", disable=not progress) as bar:
        predict = partial(_predict, Tagger(model, tokenizer), batch_size=batch_size, bar=bar)
        clean = predict(documents)
        rows = {}
        for name, perturbation in perturbations.items():
            changed = list(_views(documents, name, perturbation, views, seed))
            bar.total -= len(documents) * views - len(changed)  # what a perturbation leaves as it is
            rows[name] = _family(predict, documents, clean, perturbation, changed)
    scored = {name: row for name, row in rows.items() if row["views"]}
    figures = robustness(
        {name: row["f1"] for name, row in scored.items()}, {name: row["clean_f1"] for name, row in scored.items()}
    )
    per_family = figures.pop("families")
    return RobustnessReport(
        documents=len(documents),
        f1=_f1(clean, documents),
        families={name: {"degradation": float("nan"), **row, **per_family.get(name, {})} for name, row in rows.items()},
        recall=_recall(documents, clean, training, _reading(tokenizer)) if training else None,
        **figures,
    )


def _family(
    predict: Callable[[Sequence[Document]], list[Spans]],
    documents: Sequence[Document],
    clean: Sequence[Spans],
    perturbation: Perturbation,
    perturbed_views: Sequence[tuple[int, Perturbed]],
) -> dict[str, Any]:
    """Return F1 on the views of one family, and on their unperturbed documents, each counted once per view."""
    changed = [perturbed.document for _, perturbed in perturbed_views]
    predicted = predict(changed)
    numbers = [number for number, _ in perturbed_views]
    return {
        "f1": _f1(predicted, changed),
        "clean_f1": _f1([clean[number] for number in numbers], [documents[number] for number in numbers]),
        "kind": perturbation.kind,
        "views": len(perturbed_views),
        "documents": len(set(numbers)),
        "coverage": len(set(numbers)) / len(documents) if documents else float("nan"),
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


def _predict(tagger: Tagger, documents: Sequence[Document], batch_size: int, bar: tqdm) -> list[Spans]:
    spans: list[Spans] = []
    for block in blocks(documents, BATCHES_AT_ONCE * batch_size):
        found = tagger.predict([document.text for document in block], batch_size)
        spans += [[prediction.span for prediction in entities] for entities in found]
        bar.update(len(block))
    return spans


def _f1(predicted: Sequence[Spans], documents: Sequence[Document]) -> float:
    return entity_f1(predicted, [document.spans for document in documents])["f1"]


def _reading(tokenizer: Any) -> Callable[[str], str]:
    """Return how a tokenizer reads a text: one of another package as it is written."""
    script_map = getattr(tokenizer, "script_map", None)
    return partial(as_read, lower_case=bool(getattr(tokenizer, "do_lower_case", False)), script_map=script_map)


def _recall(
    documents: Sequence[Document],
    predicted: Sequence[Spans],
    training: Sequence[Document],
    read: Callable[[str], str],
) -> dict:
    surfaces = {(read(entity.text), entity.label) for document in training for entity in document.entities}
    recalled, seen = [], []
    for document, spans in zip(documents, map(set, predicted)):
        recalled += [span in spans for span in document.spans]
        seen += [(read(entity.text), entity.label) in surfaces for entity in document.entities]
    return seen_unseen_recall(recalled, seen)
