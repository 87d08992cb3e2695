"""Robustness reports: F1 on perturbed and on the same unperturbed documents, and recall of unseen entities."""

import json
from dataclasses import replace

import pytest

from hf_adner import Document, Entity
from hf_adner.audit.prediction import scored_spans
from hf_adner.audit.robustness import robustness_report
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.perturb.edits import Edit, apply_guarded
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.registry import HELD_OUT


class Nothing(Perturbation):
    """Finds nothing to edit."""

    name = "nothing"

    def _perturb(self, document, rng, focus):
        return None


class Prefix(Perturbation):
    """Writes a character in front of the first and third document."""

    name = "prefix"

    def _perturb(self, document, rng, focus):
        if document.id not in {"d0", "d2"}:
            return None
        return apply_guarded(document, [Edit(0, 0, "红")], family=self.name, kind=self.kind)


def test_each_family_beside_the_same_documents(case):
    families = {"prefix": Prefix(), "nothing": Nothing()}
    found = robustness_report(case.model, case.tokenizer, case.documents, families=families, views=2, progress=False)
    assert found.f1 == 1  # the gold entities are what the model finds
    row = found.families["prefix"]
    assert (row["views"], row["documents"], row["coverage"], row["clean_f1"]) == (4, 2, 0.5, 1)
    changed = [Prefix()(case.documents[number], 0).document for number in (0, 2)]
    spans = [
        [one.span for one in ones]
        for ones in scored_spans(case.model, case.tokenizer, [document.text for document in changed])
    ]
    assert row["f1"] == pytest.approx(entity_f1(spans, [document.spans for document in changed])["f1"])
    assert row["degradation"] == pytest.approx(1 - row["f1"])
    empty = found.families["nothing"]
    assert found.to_dict()["families"]["nothing"]["degradation"] is None
    assert empty["views"] == 0 and empty["degradation"] != empty["degradation"]
    assert found.worst_family == "prefix" and found.mean_degradation == row["degradation"]
    assert found.recall is None


def test_held_out_families_and_recall(case):
    known = case.documents[0].entities[0]
    training = [Document("t", known.text, (Entity(0, len(known.text), known.label),))]
    found = robustness_report(case.model, case.tokenizer, case.documents, training=training, progress=False)
    assert set(found.families) == set(HELD_OUT)
    assert found.recall["seen"] >= 1 and found.recall["seen_recall"] == 1
    assert found.recall["seen"] + found.recall["unseen"] == sum(len(one.entities) for one in case.documents)
    assert "| clause-shuffle |" in found.to_markdown() and "| not seen |" in found.to_markdown()
    assert "need not hold" not in found.to_markdown()
    json.dumps(found.to_dict())


def test_families_after_which_labels_need_not_hold_are_told(case):
    families = ["punctuation", "virtual-boundary"]
    told = robustness_report(case.model, case.tokenizer, case.documents, families=families, progress=False)
    assert "Labels need not hold after virtual-boundary." in told.to_markdown()


def test_without_a_lexicon_and_with_too_little(stock):
    found = robustness_report(stock.model, stock.tokenizer, stock.documents, progress=False)
    assert set(found.families) == set(HELD_OUT)
    lost = [replace(one, entities=()) for one in stock.documents]
    assert robustness_report(stock.model, stock.tokenizer, lost, families=[], progress=False).worst_family is None
    with pytest.raises(ValueError, match="needs training documents"):
        robustness_report(stock.model, stock.tokenizer, lost, families=["entity-swap"], progress=False)


def test_seen_in_either_script(case):
    to_traditional = str.maketrans("红药复无发热块后", "紅藥復無發熱塊後")
    surfaces = [(one.text, one.label) for document in case.documents for one in document.entities]
    written = [(text.translate(to_traditional), label) for text, label in surfaces]
    assert written != surfaces
    recalls = [
        robustness_report(
            case.model,
            case.tokenizer,
            case.documents,
            families={"nothing": Nothing()},
            training=[Document("t", text, (Entity(0, len(text), label),)) for text, label in seen],
            progress=False,
        ).recall
        for seen in (surfaces, written)
    ]
    assert [(one["seen"], one["unseen"]) for one in recalls] == [(len(surfaces), 0)] * 2
