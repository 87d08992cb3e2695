"""Build the view maker of a training run from its training documents."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hf_adner.data.records import Document
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.boundary import SIDES, OuterUnits
from hf_adner.perturb.context import EntitySurfaces, Terms
from hf_adner.perturb.masked_lm import MaskedLanguageModel, StoredProposals
from hf_adner.perturb.similar_words import SimilarWords
from hf_adner.perturb.units import HAN, WORD
from hf_adner.perturb.views import ViewMaker, ViewMaterials

logger = logging.getLogger(__name__)


def make_view_maker(
    args: ExplanationGuidedTrainingArguments,
    documents: Sequence[Document],
    tokenizer: Any,
    embeddings: Any,
    lexicon: Lexicon | None,
) -> ViewMaker:
    """The maker of a run's views.

    Args:
        args: shares, seed and the masked language model.
        documents: the training windows, with their gold entities.
        tokenizer: the run's; the words of its lexicon are replaced by similar ones.
        embeddings: (vocabulary, size) character embeddings of the model, by which words are similar.
        lexicon: words that are edited as a whole; default: the tokenizer's.
    """
    lexicon = lexicon if lexicon is not None else getattr(tokenizer, "lexicon", None)
    lower_case = bool(getattr(tokenizer, "do_lower_case", False))
    surfaces = {entity.text for document in documents for entity in document.entities}
    terms = Terms(Lexicon.from_documents(sorted(surfaces)), lower_case) if surfaces else None
    materials = ViewMaterials(
        masked_lm=_proposals(args, documents, lexicon, terms),
        similar_words=_similar_words(tokenizer, embeddings, surfaces),
        surfaces=EntitySurfaces.from_documents(documents),
        outer_units=_outer_units(documents),
        terms=terms,
        dictionary=Terms(lexicon, lower_case) if lexicon is not None else None,
    )
    return ViewMaker(
        seed=args.seed,
        share=args.view_share,
        edited=args.edited_share,
        bottom=args.unimportant_share,
        materials=materials,
    )


def _outer_units(documents: Sequence[Document]) -> OuterUnits | None:
    """Return the neighbours of entities, or None for the built-in list if the documents have too few."""
    found = OuterUnits.from_documents(documents)
    return found if all(any(found.candidates(side, kind) for kind in (HAN, WORD)) for side in SIDES) else None


def _similar_words(tokenizer: Any, embeddings: Any, surfaces: set[str]) -> SimilarWords | None:
    if not isinstance(tokenizer, AdnerTokenizer) or tokenizer.lexicon is None:
        return None
    return SimilarWords.from_embeddings(tokenizer, embeddings, excluded=surfaces)


def _proposals(
    args: ExplanationGuidedTrainingArguments, documents: Sequence[Document], lexicon: Lexicon | None, terms: Any
) -> StoredProposals | None:
    if args.masked_lm is None:
        return None
    logger.info("asking %s what may stand in the context of %d windows", args.masked_lm, len(documents))
    source = MaskedLanguageModel.from_pretrained(args.masked_lm, terms=terms)
    source.model.to(args.device)
    return StoredProposals.from_model(source, documents, lexicon=lexicon, seed=args.seed)
