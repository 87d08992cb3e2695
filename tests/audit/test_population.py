"""The population: gold entities the model finds, drawn the same for the same seed; views and what is kept in them."""

from dataclasses import replace

import pytest

from hf_adner import Entity
from hf_adner.audit.prediction import scored_spans
from hf_adner.audit.robustness import label_preserving, make_families
from hf_adner.audit.sample import draw_population, make_views
from hf_adner.perturb.registry import make_perturbation


def draw(case, documents=None, **options):
    options = {"max_entities": 100, **options}
    return draw_population(case.model, case.tokenizer, documents or case.documents, **options)


def test_only_gold_entities_that_are_found(case):
    first = case.documents[0]
    wrong = replace(first, entities=(replace(first.entities[0], label="Drug", text=None), *first.entities[1:]))
    if first.entities[0].label == "Drug":
        wrong = replace(first, entities=(replace(first.entities[0], label="Disease", text=None), *first.entities[1:]))
    of = draw(case, [wrong, *case.documents[1:]])
    total = sum(len(document.entities) for document in case.documents)
    assert (of.gold, of.found, of.coverage) == (total, total - 1, (total - 1) / total)
    assert sorted(of.subjects) == sorted(
        (number, index, span)
        for number, document in enumerate(case.documents)
        for index, span in enumerate(document.spans)
        if (number, index) != (0, 0)
    )


def test_draws_are_limited_and_repeatable(case):
    everything = draw(case)
    assert draw(case, seed=1).subjects != everything.subjects
    assert draw(case, max_entities=3).subjects == everything.subjects[:3]
    one_each = draw(case, entities_per_document=1)
    assert len({subject.document for subject in one_each.subjects}) == len(one_each.subjects)
    owners = everything.by_document(3)
    assert sorted(number for numbers in owners.values() for number in numbers) == [0, 1, 2]
    assert all(everything.subjects[number].document == one for one, numbers in owners.items() for number in numbers)


def test_nothing_found_is_an_error(case):
    strange = [replace(case.documents[0], entities=(Entity(0, 1, "Tumour"),))]
    with pytest.raises(ValueError, match="finds none of the 1 gold entities of 1 documents"):
        draw(case, strange)


def test_views_keep_what_is_found_again(case):
    of = draw(case)
    families = make_families(["punctuation", "context-masking"], case.model, case.tokenizer)
    views = make_views(case.model, case.tokenizer, of, families, views=2, seed=5)
    assert views and {view.family for view in views} <= set(families)
    for view in views:
        found = scored_spans(case.model, case.tokenizer, [view.perturbed.document.text])[0]
        there = {one.span for one in found}
        for number in view.subjects:
            entity = view.perturbed.entity(of.subjects[number].entity)
            span = (entity.start, entity.end, entity.label)
            assert view.kept.get(number) == (span if span in there else None)
    again = make_views(case.model, case.tokenizer, of, families, views=2, seed=5)
    assert [view.perturbed for view in again] == [view.perturbed for view in views]


def test_families_and_their_materials(case, stock):
    assert "similar-words" in make_families(None, case.model, case.tokenizer)
    assert "similar-words" not in make_families(None, stock.model, stock.tokenizer)
    assert "entity-swap" in make_families(["entity-swap"], case.model, case.tokenizer, case.documents)
    own = {"mine": make_perturbation("punctuation")}
    assert make_families(own, case.model, case.tokenizer) == own
    for names, message in (
        (["similar-words"], "needs a tokenizer with a lexicon"),
        (["entity-swap"], "needs training documents"),
        (["masked-lm"], "needs a masked language model"),
        (["dropout"], "inside the model"),
        (["p77"], "no perturbation"),
    ):
        with pytest.raises(ValueError, match=message):
            make_families(names, stock.model, stock.tokenizer)
    with pytest.raises(ValueError, match="label-preserving.*mine"):
        label_preserving({"mine": make_perturbation("virtual-boundary")})
    with pytest.raises(ValueError, match="none"):
        label_preserving({})
