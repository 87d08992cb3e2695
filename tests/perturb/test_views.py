import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.data.synthetic import ad_lexicon, generate_corpus
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.boundary import OuterUnits
from hf_adner.perturb.context import EntitySurfaces, Terms
from hf_adner.perturb.perturbation import BOUNDARY, KINDS, LABEL_PRESERVING, Perturbed
from hf_adner.perturb.registry import HELD_OUT, PERTURBATIONS, make_perturbation, seen_in_training
from hf_adner.perturb.surface import Confusions
from hf_adner.perturb.views import VIEW_KINDS, VIEW_PERTURBATIONS, ViewMaker, ViewMaterials

from .documents import NOTE, check, documents, english, note

MATERIALS = ViewMaterials(
    similar_words=Confusions(),
    surfaces=EntitySurfaces({"Symptom": ["丘疹", "itch"], "Disease": ["荨麻疹"]}),
    terms=Terms(Lexicon(["丘疹"])),
    dictionary=Terms(Lexicon(["患者", "反复", "伴有", "和面部"])),
)


@given(documents(), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_views_of_anything_keep_what_they_must(document, seed, epoch, scored):
    scores = [float(place % 3) for place in range(len(document.text))] if scored else None
    maker = ViewMaker(seed, materials=MATERIALS)
    view = maker.make_view(document, epoch, scores=scores)
    assert view == maker.make_view(document, epoch, scores=scores)
    if view is not None:
        check(view, document, swaps="swap" in view.families)
        assert view.kind == LABEL_PRESERVING and view.families and not view.is_unchanged


def test_a_view_depends_on_seed_epoch_and_id_alone():
    first = ViewMaker(1).make_view(note(), 2)
    assert ViewMaker(1).make_view(note(), 2) == first
    assert pickle.loads(pickle.dumps(ViewMaker(1))).make_view(note(), 2) == first
    for document, seed, epoch in [(note("b"), 1, 2), (note(), 2, 2), (note(), 1, 3)]:
        assert ViewMaker(seed).make_view(document, epoch).document.text != first.document.text


_SCRIPT = """
from hf_adner.data.records import Document, Entity
from hf_adner.perturb.surface import Confusions
from hf_adner.perturb.context import EntitySurfaces
from hf_adner.perturb.views import ViewMaker, ViewMaterials

surfaces = EntitySurfaces({"Symptom": ["丘疹", "脱屑", "水疱", "肿胀"]})
maker = ViewMaker(1, materials=ViewMaterials(similar_words=Confusions(), surfaces=surfaces))
entities = Entity(6, 8, "Symptom"), Entity(9, 11, "Symptom")
document = Document("a", "患者面部反复红斑，瘙痒加重，外用软膏好转。", entities)
texts = ascii([maker.make_view(document, epoch).document.text for epoch in range(12)])
"""


def test_a_process_with_other_hashes_makes_the_same_views():
    here = {}
    exec(_SCRIPT, here)
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", _SCRIPT + "print(texts)"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == here["texts"]


def _views(maker, document=None, count=300, **options):
    document = document if document is not None else note()
    return [maker.make_view(replace(document, id=str(number)), 0, **options) for number in range(count)]


def test_kinds_come_as_often_as_they_should():
    scores = [1.0] * len(NOTE)
    views = _views(ViewMaker(materials=MATERIALS), scores=scores)
    counts = Counter(kind for view in views for kind in view.families)
    for kind, share in {**VIEW_KINDS, "neighbour": 0.5}.items():
        assert abs(counts[kind] / 300 - share) < 0.09, kind
    assert {view.families for view in _views(ViewMaker(kinds={"punctuation": 1.0}, neighbour_share=0.0))} == {
        ("punctuation",)
    }


def test_no_view_is_perturbed_as_robustness_is_measured(monkeypatch):
    used = set()
    for name, perturbation in PERTURBATIONS.items():
        monkeypatch.setattr(perturbation, "__call__", lambda *_, name=name, **__: used.add(name))
        monkeypatch.setattr(perturbation, "_perturb", lambda *_, name=name, **__: used.add(name))
    scores = [1.0] * len(NOTE)
    _views(ViewMaker(materials=MATERIALS), count=60, scores=scores)
    assert used and used <= VIEW_PERTURBATIONS and not {*HELD_OUT} & VIEW_PERTURBATIONS
    assert all(PERTURBATIONS[name].kind == LABEL_PRESERVING for name in HELD_OUT)
    assert seen_in_training(HELD_OUT) == "" and "similar-words" in seen_in_training(["similar-words"])


def test_half_of_the_documents_get_one():
    maker = ViewMaker(seed=3)
    chosen = [maker.has_view(str(number), 1) for number in range(1000)]
    assert 440 < sum(chosen) < 560
    assert chosen == [ViewMaker(seed=3).has_view(str(number), 1) for number in range(1000)]
    assert chosen != [maker.has_view(str(number), 2) for number in range(1000)]
    assert not any(ViewMaker(share=0.0).has_view(str(number), 0) for number in range(50))
    assert all(ViewMaker(share=1.0).has_view(str(number), 0) for number in range(50))


def test_guided_edits_take_unimportant_context():
    text = "甲乙丙丁戊己庚辛壬癸痒"
    document = Document("a", text, (Entity(10, 11, "Symptom"),))
    scores = [9, 1, 8, 2, 7, 3, 6, 4, 5.5, 5, 20]
    guided = ViewMaker(kinds={"guided": 1.0}, neighbour_share=0.0)
    assert {place for view in _views(guided, document, 60, scores=scores) for place in view.edited} == {1, 3, 5, 7, 9}
    assert {len(view.edited) for view in _views(guided, document, 20, scores=scores)} == {2}  # 30 % of 5, rounded
    assert {view.families for view in _views(guided, document, 5, scores=scores)} == {("guided",)}
    anywhere = [place for view in _views(guided, document, 60) for place in view.edited]
    assert set(anywhere) == set(range(10))
    with pytest.raises(ValueError, match="3 scores for a text of 11"):
        guided.make_view(document, 0, scores=[1, 2, 3])
    with pytest.raises(IndexError, match="entity 2 of"):
        guided.make_view(document, 0, entity=2)


def test_the_neighbour_of_the_entity_in_focus_is_edited():
    maker = ViewMaker(kinds={"uniform": 1.0}, neighbour_share=1.0, materials=MATERIALS)
    for view in _views(maker, count=30, entity=4):  # a disease that follows a character which may be replaced
        check(view, view.original)
        assert view.families[-1] == "neighbour"
        entity = view.entity(4)
        replaced = {view.alignment[place] for place in view.edited}
        assert {entity.start - 1, entity.end} & {*view.inserted, *replaced}


def test_missing_materials_and_nothing_to_edit():
    only_swaps = ViewMaker(kinds={"swap": 1.0}, neighbour_share=0.0)
    assert only_swaps.make_view(note(), 0) is None
    assert ViewMaker(neighbour_share=1.0).make_view(Document("a", "无"), 0) is None
    assert ViewMaker().make_view(Document("a", ""), 0) is None
    view = ViewMaker(materials=MATERIALS).make_view(english(), 1)
    check(view, english(), swaps=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.5}, "share is 1.5"),
        ({"edited": 0.0}, "edited is 0.0"),
        ({"bottom": -1}, "bottom is -1"),
        ({"kinds": {"colour": 1.0}}, "expected weights of some of"),
        ({"kinds": {"swap": 0.0}}, "expected weights of some of"),
        ({"kinds": {}}, "expected weights of some of"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        ViewMaker(**options)


def test_views_of_the_synthetic_corpus():
    train = generate_corpus(sizes={"train": 60})["train"]
    texts = [entity.text for document in train for entity in document.entities]
    materials = ViewMaterials(
        surfaces=EntitySurfaces.from_documents(train),
        outer_units=OuterUnits.from_documents(train),
        terms=Terms(Lexicon.from_documents(texts, min_length=2)),
        dictionary=Terms(Lexicon(ad_lexicon())),
    )
    maker = ViewMaker(materials=materials)
    views = [(document, maker.make_view(document, 0)) for document in train]
    for document, view in views:
        if view is not None:
            check(view, document, swaps="swap" in view.families)
    assert sum(view is not None for _, view in views) > 55


OPTIONS = {
    "masked-lm": {"source": Confusions()},
    "similar-words": {"source": Confusions(["sound"])},
    "entity-swap": {"surfaces": EntitySurfaces({"Symptom": ["丘疹"]})},
}


def test_kinds_and_uses_of_all_perturbations():
    assert {perturbation.kind for perturbation in PERTURBATIONS.values()} == set(KINDS)
    boundary = {name for name, perturbation in PERTURBATIONS.items() if perturbation.kind == BOUNDARY}
    assert boundary == {"start-edit", "end-edit", "interior-edit", "virtual-boundary"}
    assert all(name == perturbation.name for name, perturbation in PERTURBATIONS.items())


@pytest.mark.parametrize("name", list(PERTURBATIONS))
@pytest.mark.parametrize("document", [note(), english(), Document("x", "")], ids=["zh", "en", "empty"])
def test_each_runs_on_every_document_and_is_repeatable(name, document):
    perturbation = make_perturbation(name, **OPTIONS.get(name, {}))
    for seed in range(5):
        result = perturbation(document, seed)
        assert result == perturbation(document, seed)
        if result is not None:
            check(result, document, swaps=name == "entity-swap")
            assert isinstance(result, Perturbed) and result.families == (name,)
            assert (result.kind, result.document.id) == (perturbation.kind, document.id)
        if not document.text:
            assert result is None or result.is_unchanged


def test_options_and_names_are_checked():
    assert make_perturbation("context-masking", share=0.3, lexicon=Lexicon(["患者"])).share == 0.3
    with pytest.raises(ValueError, match="unknown perturbation 'p11', expected one of context-masking, masked-lm"):
        make_perturbation("p11")
    with pytest.raises(TypeError, match="source"):
        make_perturbation("masked-lm")
    with pytest.raises(TypeError, match="colour"):
        make_perturbation("context-masking", colour=1)
