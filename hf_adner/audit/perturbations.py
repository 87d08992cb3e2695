"""The perturbations that an audit makes its views with, ready to use, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_adner.data.records import Document
from hf_adner.perturb.entities import EntitySurfaces
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.perturbed import LABEL_PRESERVING
from hf_adner.perturb.registry import make_perturbation, perturbation_class
from hf_adner.perturb.similar_words import SimilarWords

DEFAULT_FAMILIES = ("context-masking", "similar-words", "punctuation", "outer-neighbour")
"""P1, P3, P5 and P10: families of label-preserving edits that keep most of the text in its place."""

INSIDE_MODEL = ("p7", "p8")


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
        ValueError: an unknown name, one without materials, or one that happens inside the model and not in the text.
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
    short = perturbation_class(name).name
    if short in INSIDE_MODEL:
        raise ValueError(f"{name} happens inside the model and makes no text")
    if short == "p2":
        raise ValueError(f"{name} needs a masked language model: give the perturbation itself, by name, in a mapping")
    if short == "p3":
        if getattr(tokenizer, "lexicon", None) is None:
            raise ValueError(f"{name} needs a tokenizer with a lexicon")
        vectors = model.get_input_embeddings().weight
        return make_perturbation(name, source=SimilarWords.from_embeddings(tokenizer, vectors))
    if short == "p4":
        if not training:
            raise ValueError(f"{name} needs training documents to take entities from")
        return make_perturbation(name, surfaces=EntitySurfaces.from_documents(training))
    return make_perturbation(name)
