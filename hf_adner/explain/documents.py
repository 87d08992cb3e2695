"""Explaining the entities of whole documents, and checkpoints loaded for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import AutoModelForTokenClassification, pipeline

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.closer_look import CLOSER_CONTEXT, CloserLook
from hf_adner.explain.explainer import DEFAULT_BATCH_SIZE, LocalExplainer
from hf_adner.explain.explainers import DEFAULT_EXPLAINER, make_explainer
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.explain.fused import FUSED, FUSED_FAST
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.probes import add_cues
from hf_adner.explain.table_building import (
    SOURCES,
    build_checkpoint_table,
    build_global_table,
    find_global_table,
    resolve_global_table,
)
from hf_adner.explain.tagger import ScoredSpan, Tagger, entity_posteriors
from hf_adner.model.assertion_adner import AssertionRules, assertion_record
from hf_adner.model.calibration_adner import Calibration
from hf_adner.model.codes_adner import CodeTable, code_record
from hf_adner.model.constraints_adner import as_constraints
from hf_adner.model.loading_adner import check_tokenizer_files, load_complete

DOCUMENTS_AT_ONCE = 8
ANNOTATION = "annotation"
"""Key of `Explanation.details` for the comparison of a predicted entity with the annotation."""
FORCED = "forced"
"""Key of `Explanation.details` of an entity that a constraint made."""

FROM_TABLE = ("global", FUSED, FUSED_FAST)
"""Explainers that need a global table."""


def explain_documents(
    explainer: Any,
    documents: Iterable[Document],
    *,
    entities: str = "predicted",
    table: GlobalTable | None = None,
    closer_look: CloserLook | None = None,
    bar: Any = None,
    assertion: AssertionRules | None = None,
    constraints: Any = None,
    codes: CodeTable | None = None,
) -> Iterator[ExplainedNote]:
    """Explain the entities of documents with everything that a page can show; reads documents lazily.

    Explanations get the posterior (and the score of a calibrated checkpoint); those of predicted entities in annotated
    documents also get the comparison with the annotation in `details`.

    Args:
        explainer: as returned by `make_explainer`; explains all entities.
        documents: any iterable; a note is named by the id of its document.
        entities: ``predicted`` explains the predicted entities, ``gold`` those of the documents.
        table: a global table for cues.
        closer_look: what the least certain entities of each note get beside; default: nothing.
        bar: a progress bar of tqdm, which counts entities.
        assertion: rules by which the `details` of each explanation say whether its entity is negated, uncertain,
            historical, hypothetical or of the family.
        constraints: of predicted entities, as for `AdnerPipeline`; `details` of a forced entity have `forced`. Its
            explanation is that of the model, which does not know the constraint.
        codes: a table by which `details` have the `code` of an entity, if there is one.

    Raises:
        ValueError: an unknown value of `entities`, constraints for gold entities, or an entity that cannot be
            explained; names the document.
    """
    if entities not in SOURCES:
        raise ValueError(f"entities must be one of {SOURCES}, found {entities!r}")
    if constraints is not None and entities == "gold":
        raise ValueError("constraints say what the model finds; they do not apply to gold entities")
    notes = _notes(explainer, documents, entities == "gold", as_constraints(constraints), table, closer_look, bar)
    notes = notes if assertion is None else (_with_assertions(note, assertion) for note in notes)
    return notes if codes is None else (_with_codes(note, codes) for note in notes)


def _notes(
    explainer: Any,
    documents: Iterable[Document],
    use_gold: bool,
    constraints: Any,
    table: GlobalTable | None,
    closer_look: CloserLook | None,
    bar: Any,
) -> Iterator[ExplainedNote]:
    total = len(documents) if isinstance(documents, Sized) else None
    calibration = calibration_of(explainer.tagger.model)
    counter, rest, read = _EntityBar(bar, total), iter(documents), 0
    while chunk := list(islice(rest, DOCUMENTS_AT_ONCE)):
        read += len(chunk)
        explanations, forced = _explanations(explainer, chunk, use_gold, constraints, counter, read)
        remarks = [""] * len(chunk)
        if closer_look is not None:
            remarks = [closer_look.remark(group) for group in explanations]
            counter.expect(sum(len(closer_look.choose(group)) for group in explanations), read)
            explanations = [closer_look.add(explainer, group, counter) for group in explanations]
        explanations = [
            [_with_details(one, {FORCED: True}) if one.span in own else one for one in group]
            for group, own in zip(explanations, forced, strict=True)
        ]
        explanations = _with_scores(explanations, calibration)
        explanations = explanations if table is None else add_cues(table, explanations)
        for document, group, remark in zip(chunk, explanations, remarks, strict=True):
            group = group if use_gold else [_with_annotation(explanation, document) for explanation in group]
            yield ExplainedNote(document.id, document.text, tuple(group), remark)


def _explanations(
    explainer: Any,
    documents: Sequence[Document],
    use_gold: bool,
    constraints: Any,
    counter: _EntityBar,
    read: int,
) -> tuple[list[list[Explanation]], list[set[EntitySpan]]]:
    """Return explanations of all entities of each document, with posteriors, and those that constraints made."""
    texts = [document.text for document in documents]
    if use_gold:
        spans = [list(document.spans) for document in documents]
    else:
        found = _predicted(explainer.tagger, texts, constraints)
        spans = [[one.span for one in ones] for ones in found]
    counter.expect(sum(map(len, spans)), read)
    explanations = _explain(explainer, documents, texts, spans, counter)
    if use_gold:
        posteriors, forced = entity_posteriors(explainer.tagger, texts, spans), [set() for _ in texts]
    else:
        posteriors = [[one.posterior for one in ones] for ones in found]
        forced = [{one.span for one in ones if one.forced} for ones in found]
    explanations = [
        [replace(one, posterior=value) for one, value in zip(*pairs, strict=True)]
        for pairs in zip(explanations, posteriors)
    ]
    return explanations, forced


class _EntityBar:
    """Counts entities on a bar whose total grows with what is known; documents still to come are estimated."""

    def __init__(self, bar: Any, documents: int | None):
        self._bar, self._documents, self._known = bar, documents, 0

    def expect(self, entities: int, read: int) -> None:
        """Expect more entities, `read` documents having been read."""
        self._known += entities
        if self._bar is not None:
            ahead = 1 if self._documents is None else self._documents / read
            self._bar.total = round(self._known * max(ahead, 1))
            self._bar.refresh()

    def __call__(self, count: int) -> None:
        """Count entities."""
        if self._bar is not None:
            self._bar.update(count)


def _predicted(tagger: Tagger, texts: Sequence[str], constraints: Any) -> list[list[ScoredSpan]]:
    """Return the predicted entities of labels that can be explained."""
    found = tagger.predict(texts, DEFAULT_BATCH_SIZE, constraints)
    return [[one for one in ones if one.label in tagger.labels.types] for ones in found]


def _explain(
    explainer: Any,
    documents: Sequence[Document],
    texts: Sequence[str],
    spans: Sequence[Sequence[EntitySpan]],
    progress: Callable[[int], None],
) -> list[list[Explanation]]:
    try:
        return explainer(texts, spans, progress)
    except ValueError:
        if len(documents) == 1:
            raise
        return [  # find the document that fails
            _of_document(document, lambda text=text, ones=ones: explainer([text], [ones])[0])
            for document, text, ones in zip(documents, texts, spans)
        ]


def _of_document(document: Document, compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except ValueError as error:
        raise ValueError(f"document {excerpt(document.id, 40)}: {error}") from None


def calibration_of(model: Any) -> Calibration:
    """Return the calibration of a model; one of another package has none."""
    values = getattr(model.config, "calibration", None)
    return Calibration() if values is None else Calibration.from_config(values, model.config.entity_types)


def _with_scores(explanations: Sequence[Sequence[Explanation]], by: Calibration) -> Sequence[Sequence[Explanation]]:
    """Add the calibrated scores, if the checkpoint was calibrated; what a constraint forces is certain."""
    if not by.is_fitted:
        return explanations
    return [[replace(one, score=_score(one, by)) for one in group] for group in explanations]


def _score(one: Explanation, by: Calibration) -> float:
    return 1.0 if FORCED in one.details else by.labels.get(one.entity.label, by.score)(one.posterior)


def _with_assertions(note: ExplainedNote, rules: AssertionRules) -> ExplainedNote:
    cues = rules(note.text, [explanation.span for explanation in note.explanations])
    explanations = (
        _with_details(explanation, assertion_record(found))
        for explanation, found in zip(note.explanations, cues, strict=True)
    )
    return replace(note, explanations=tuple(explanations))


def _with_codes(note: ExplainedNote, codes: CodeTable) -> ExplainedNote:
    matches = [codes.find(one.entity.text, one.entity.label) for one in note.explanations]
    explanations = (
        one if match is None else _with_details(one, code_record(match))
        for one, match in zip(note.explanations, matches, strict=True)
    )
    return replace(note, explanations=tuple(explanations))


def _with_details(explanation: Explanation, more: Mapping[str, Any]) -> Explanation:
    return replace(explanation, details={**explanation.details, **more})


def _with_annotation(explanation: Explanation, document: Document) -> Explanation:
    if not document.entities:
        return explanation
    comparison = _compare_with_gold(explanation, document)
    return _with_details(explanation, {ANNOTATION: comparison})


def _compare_with_gold(explanation: Explanation, document: Document) -> str:
    start, end, label = explanation.span
    overlapping = [gold for gold in document.spans if gold[0] < end and start < gold[1]]
    if explanation.span in overlapping:
        return "the same entity"
    labels = {gold[2] for gold in overlapping}
    if label in labels:
        return "the same label with other boundaries"
    return f"other labels: {', '.join(sorted(labels))}" if labels else "no entity here"


@dataclass(frozen=True)
class ExplainedCheckpoint:
    """A loaded model, its tokenizer, and its global table or None."""

    model: Any
    tokenizer: Any
    table: GlobalTable | None = None

    @classmethod
    def load(
        cls,
        name: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        table_folder: str | Path | None = None,
        build_from: Iterable[Document] | None = None,
        build_explainer: str | None = None,
        build_target: str = "label",
    ) -> ExplainedCheckpoint:
        """Load a token classifier with BIO labels.

        Args:
            name: folder or Hub name.
            revision, device: as for `transformers.pipeline`.
            table_folder: folder of the global table, also if it is built; default: the checkpoint.
            build_from: training documents to build the table from.
            build_explainer: name of the explainer that will use the table; default: ``fused``.
            build_target: the target that is explained.

        Raises:
            FileNotFoundError: `table_folder` holds no table, or the table would be built into a Hub checkpoint.
            ValueError: no entity to build a table from, or a checkpoint without all weights of its model.
        """
        check_tokenizer_files(Path(name))
        model = load_complete(AutoModelForTokenClassification, name, revision=revision or "main")
        loaded = pipeline("token-classification", model, tokenizer=name, revision=revision, device=device)
        model, tokenizer = loaded.model, loaded.tokenizer
        if build_from is not None:
            local = table_maps(build_explainer or FUSED)
            explainer = make_explainer(local, model, tokenizer, target=build_target)
            return cls(model, tokenizer, _build_table(name, explainer, table_folder, build_from))
        table = find_global_table(model) if table_folder is None else resolve_global_table(table_folder, model)
        return cls(model, tokenizer, table)

    def explainer(self, name: str | None = None, **options: Any) -> Any:
        """Make an explainer by name; default: a fast one, ``fused-fast`` if there is its table, else ``grad-x-input``.

        Options are those of `make_explainer`.

        Raises:
            TypeError, ValueError: as `make_explainer`.
        """
        if name is None:
            name = FUSED_FAST if self._has_table(DEFAULT_EXPLAINER, options) else DEFAULT_EXPLAINER
        options |= {"global_table": self.table} if name in FROM_TABLE else {}
        return make_explainer(name, self.model, self.tokenizer, **options)

    def closer_explainer(self, **options: Any) -> Any:
        """Make the explainer for few entities: ``fused`` if there is its table, else ``occlusion``; both are slow.

        Options are those of `make_explainer`; `context` is 32 by default.
        """
        options = {"context": CLOSER_CONTEXT, **options}
        return self.explainer(FUSED if self._has_table("occlusion", options) else "occlusion", **options)

    def _has_table(self, local: str, options: Mapping[str, Any]) -> bool:
        wanted = (local, options.get("target", "label"))
        return self.table is not None and (self.table.explainer, self.table.target) == wanted

    @property
    def review_threshold(self) -> float:
        """Score below which an entity needs review: that of the checkpoint's budget, else the default."""
        return calibration_of(self.model).review_below()

    @property
    def shown_table(self) -> GlobalTable | None:
        """The published form of the table, which may be shown beside notes."""
        return None if self.table is None else self.table.publish()


def table_maps(explainer: str) -> str:
    """Return the name of the local explainer whose maps the table of an explainer holds."""
    return {FUSED: "occlusion", "global": "occlusion", FUSED_FAST: DEFAULT_EXPLAINER}.get(explainer, explainer)


def _build_table(
    name: str, explainer: LocalExplainer, folder: str | Path | None, documents: Iterable[Document]
) -> GlobalTable:
    if folder is None:
        return build_checkpoint_table(name, documents, explainer=explainer)
    table = build_global_table(explainer, documents, kept_in=Path(f"{folder}.part"))
    table.save(folder)
    return table
