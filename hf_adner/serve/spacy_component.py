"""The spaCy component `adner`: `nlp.add_pipe("adner", config={"model": path_or_repo})`.

spaCy finds it through the package's entry point if the extra `spacy` is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from spacy.language import Language
from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans, minibatch

from hf_adner.model.assertion_table_adner import ATTRIBUTES
from hf_adner.model.constraints_adner import as_constraints
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import AdnerTokenizer

SCORES = ("score", "start_score", "end_score")
OPTIONAL = (
    *("posterior", "needs_review", "on_path", "forced"),
    *("assertion", "assertion_cues", "code", "code_match", "code_alternatives"),
)
SPANS_KEY = "adner"
CANDIDATES_KEY = "adner_candidates"
ALIGNMENT_MODES = ("strict", "contract", "expand")


class MisalignedEntityWarning(UserWarning):
    """An entity begins or ends inside a spaCy token."""


class AdnerComponent:
    """Add the entities of an `AdnerPipeline` to a `Doc`.

    `doc.ents` gets every entity whose boundaries are token boundaries; of those of a per-label model that overlap, the
    longest, because spaCy allows no others. `doc.spans["adner"]` gets all entities; one that begins or ends inside a
    token is aligned by `alignment_mode`, with a warning. `span._.adner` has its `score`,
    `start_score`, `end_score`, of a calibrated checkpoint `posterior`, and the exact characters `start`, `end`. With
    single-character tokens, as of `spacy.blank("zh")`, every entity is aligned. With `assertion` the attributes of an
    entity are `span._.is_negated`, `is_uncertain`, `is_historical`, `is_hypothetical` and `is_family`, the names of
    medspaCy's ConText, and their cues are in `span._.adner`; without it they are False. spaCy keeps one such
    attribute for all labels of the same characters: it is True if it is for one of them. With `codes` the code of an
    entity is in `span._.adner` and `span.kb_id_`. With `needs_review` that flag is in `span._.adner`; with `candidates`
    those off the best path are in `doc.spans["adner_candidates"]`, and all of them in `span._.adner` alone.

    Args:
        pipe: the pipeline that finds the entities.
        alignment_mode: as in `Doc.char_span`: `expand` (all tokens that the entity touches), `contract` (tokens wholly
            inside it) or `strict` (no alignment); an entity that would be lost by the last two is expanded.
        overwrite: replace existing `doc.ents`; otherwise only entities that do not overlap them are added.
        batch_size: windows of full length per forward pass.
        threshold: drop entities with a lower score, in [0, 1].
        needs_review, candidates, assertion, constraints, codes: as for `AdnerPipeline`.

    Raises:
        ValueError: unknown alignment mode.
    """

    def __init__(
        self,
        pipe: AdnerPipeline,
        *,
        alignment_mode: str = "expand",
        overwrite: bool = True,
        batch_size: int = 16,
        threshold: float = 0.0,
        needs_review: bool = False,
        candidates: bool | float = False,
        assertion: Any = None,
        constraints: Any = None,
        codes: Any = None,
    ):
        if alignment_mode not in ALIGNMENT_MODES:
            raise ValueError(f"alignment_mode must be one of {ALIGNMENT_MODES}, found {alignment_mode!r}")
        if not Span.has_extension("adner"):
            Span.set_extension("adner", getter=_scores)
        for attribute in ATTRIBUTES:  # medspaCy may have made them
            if not Span.has_extension(f"is_{attribute}"):
                Span.set_extension(f"is_{attribute}", default=False)
        self._tagger = pipe
        self.alignment_mode, self.overwrite = alignment_mode, overwrite
        self.batch_size, self.threshold, self.assertion = batch_size, threshold, assertion
        self.needs_review, self.candidates = needs_review, candidates
        self.constraints, self.codes = as_constraints(constraints), codes

    def __call__(self, doc: Doc) -> Doc:
        """Add the entities of one document."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 128) -> Iterator[Doc]:
        """Add the entities of a stream of documents, `batch_size` documents at a time."""
        for batch in minibatch(stream, batch_size):
            yield from self._tagged(batch)

    def score(self, examples: Iterable[Example], **options: Any) -> dict[str, Any]:
        """Return strict scores, as `nlp.evaluate` needs them.

        `ents_p`, `ents_r`, `ents_f` and `ents_per_type` compare `doc.ents`; `spans_adner_p`, `_r`, `_f` and `_per_type`
        compare `doc.spans["adner"]`, whose entities may overlap, in references that have such a group. A figure is None
        where no reference is annotated; a reference without entities needs `doc.ents = []` to count as annotated.

        Args:
            examples: predicted and reference documents.
            options: of spaCy's scorer, ignored.
        """
        examples = list(examples)
        overlapping = Scorer.score_spans(
            examples,
            f"spans_{SPANS_KEY}",
            getter=lambda doc, name: doc.spans.get(SPANS_KEY, []),
            has_annotation=lambda doc: SPANS_KEY in doc.spans,
            allow_overlap=True,
        )
        return {**get_ner_prf(examples), **overlapping}

    def _tagged(self, docs: list[Doc]) -> Iterator[Doc]:
        texts = [doc.text for doc in docs]
        options = {"batch_size": self.batch_size, "threshold": self.threshold, "assertion": self.assertion}
        options |= {"needs_review": self.needs_review, "candidates": self.candidates}
        options |= {"constraints": self.constraints, "codes": self.codes}
        found = self._tagger(texts, **options)
        for doc, entities in zip(docs, found):
            self._add(doc, entities)
            yield doc

    def _add(self, doc: Doc, entities: list[dict[str, Any]]) -> None:
        if self.candidates:  # before the others, which may become the same span of words
            doc.spans[CANDIDATES_KEY] = [self._span(doc, one, CANDIDATES_KEY) for one in entities if not one["on_path"]]
        spans = [self._span(doc, entity, SPANS_KEY) for entity in entities if entity.get("on_path", True)]
        for span in spans:
            for attribute in span._.adner.get("assertion", ()):
                span._.set(f"is_{attribute}", True)
        aligned = [span for span in spans if _is_aligned(span)]
        doc.spans[SPANS_KEY] = spans
        aligned = filter_spans(aligned)
        doc.ents = aligned if self.overwrite else [*doc.ents, *_disjoint(aligned, doc.ents)]

    def _span(self, doc: Doc, entity: dict[str, Any], group: str) -> Span:
        start, end, label = entity["start"], entity["end"], entity["entity_group"]
        span = doc.char_span(start, end, label=label, alignment_mode=self.alignment_mode)
        if span is None or not len(span):
            span = doc.char_span(start, end, label=label, alignment_mode="expand")
        keys = (*SCORES, "start", "end", *OPTIONAL)
        span.doc.user_data[_key(span)] = {name: entity[name] for name in keys if name in entity}
        if entity.get("code") is not None:
            span.kb_id_ = entity["code"]
        if not _is_aligned(span):
            warnings.warn(
                f"entity {label} at characters {start}-{end} cuts a token: it is not in doc.ents, and covers "
                f"{span.start_char}-{span.end_char} in doc.spans[{group!r}]",
                MisalignedEntityWarning,
                stacklevel=2,
            )
        return span


def _key(span: Span) -> tuple[str, int, int, str]:
    """Return where a span's scores are; values of spaCy's own extensions are shared by all labels of a span."""
    return SPANS_KEY, span.start_char, span.end_char, span.label_


def _scores(span: Span) -> dict[str, Any] | None:
    return span.doc.user_data.get(_key(span))


def _is_aligned(span: Span) -> bool:
    return (span.start_char, span.end_char) == (span._.adner["start"], span._.adner["end"])


def _disjoint(spans: list[Span], others: tuple[Span, ...]) -> list[Span]:
    """Return the spans that do not overlap any of `others`."""
    return [span for span in spans if all(span.end <= other.start or other.end <= span.start for other in others)]


@Language.factory(
    "adner",
    assigns=["doc.ents", "doc.spans", "span._.adner", *(f"span._.is_{attribute}" for attribute in ATTRIBUTES)],
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
    default_config={
        "revision": None,
        "device": None,
        "alignment_mode": "expand",
        "overwrite": True,
        "batch_size": 16,
        "threshold": 0.0,
        "needs_review": False,
        "candidates": False,
        "assertion": False,
        "constraints": None,
        "codes": False,
    },
)
def make_component(
    nlp: Language,
    name: str,
    model: str,
    revision: str | None,
    device: str | None,
    alignment_mode: str,
    overwrite: bool,
    batch_size: int,
    threshold: float,
    needs_review: bool,
    candidates: bool | float,
    assertion: bool | str,
    constraints: str | dict[str, str] | None,
    codes: bool | str,
) -> AdnerComponent:
    """Load the checkpoint `model`, a folder or a Hub name at `revision`, on `device`; see `AdnerComponent`.

    `assertion` and `codes` are True for the tables of the checkpoint, or the path of one to add to it; `constraints` is
    the path of a table, or words with the labels that they are.
    """
    options = {"revision": revision or "main"}
    pipe = AdnerPipeline(
        model=AdnerForTokenClassification.from_pretrained(model, **options),
        tokenizer=AdnerTokenizer.from_pretrained(model, **options),
        device=device,
    )
    return AdnerComponent(
        pipe,
        alignment_mode=alignment_mode,
        overwrite=overwrite,
        batch_size=batch_size,
        threshold=threshold,
        needs_review=needs_review,
        candidates=candidates,
        assertion=assertion,
        constraints=constraints,
        codes=codes,
    )
