"""The spaCy component: every entity arrives, with its exact characters and scores."""

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer

spacy = pytest.importorskip("spacy")

from spacy.training import Example  # noqa: E402

from hf_adner.metrics.entity_f1 import entity_f1  # noqa: E402
from hf_adner.serve.spacy_component import AdnerComponent, MisalignedEntityWarning  # noqa: E402

TEXTS = ["患者反复红斑三年，外用他克莫司软膏后好转。", "瘙痒", "", "丘疹，皮肤干燥"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["病", "药"], "bilstm-crf", **sizes)
    with torch.no_grad():
        model.head.classifier.weight.mul_(30)
    path = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def pipe(folder):
    model = AdnerForTokenClassification.from_pretrained(folder)
    return AdnerPipeline(model, AdnerTokenizer.from_pretrained(folder), device="cpu")


def test_entities_of_a_blank_pipeline_are_exact(folder, pipe):
    nlp = spacy.blank("zh")
    nlp.add_pipe("adner", config={"model": folder, "device": "cpu"})
    docs = list(nlp.pipe(TEXTS))
    assert sum(len(doc.ents) for doc in docs) > 4
    for doc, expected in zip(docs, pipe(TEXTS), strict=True):
        assert [(span.start_char, span.end_char, span.label_, span.text) for span in doc.ents] == [
            (entity["start"], entity["end"], entity["entity_group"], entity["word"]) for entity in expected
        ]
        assert list(doc.spans["adner"]) == list(doc.ents)
        for span, entity in zip(doc.ents, expected):
            assert span._.adner["score"] == pytest.approx(entity["score"], abs=1e-5)
            assert set(span._.adner) == {"score", "start_score", "end_score", "start", "end"}
    assert [span.text for span in nlp(TEXTS[0]).ents] == [span.text for span in docs[0].ents]


def test_calibrated_scores_reach_the_spans(folder):
    model = AdnerForTokenClassification.from_pretrained(folder)
    model.config.calibration = {"score": {"slope": 0.5, "intercept": -1.0}}
    pipe = AdnerPipeline(model, AdnerTokenizer.from_pretrained(folder), device="cpu")
    doc = AdnerComponent(pipe)(spacy.blank("zh")(TEXTS[0]))
    assert len(doc.ents) == len(pipe(TEXTS[0])) > 1
    for span, entity in zip(doc.ents, pipe(TEXTS[0])):
        assert span._.adner == {name: entity[name] for name in span._.adner} and "posterior" in span._.adner
        assert span._.adner["score"] != span._.adner["posterior"]


class Found:
    """A tagger that finds the same two entities in every text."""

    def __call__(self, texts, **options):
        scores = {"score": 0.9, "start_score": 0.95, "end_score": 0.92}
        places = [(1, 3, "病"), (4, 6, "药")]
        return [
            [{"start": start, "end": end, "entity_group": label, **scores} for start, end, label in places]
            for _ in texts
        ]


def coarse_document(*words):
    return spacy.tokens.Doc(spacy.blank("zh").vocab, words=list(words), spaces=[False] * len(words))


@pytest.mark.parametrize("mode", ["expand", "contract", "strict"])
def test_an_entity_that_cuts_a_token_is_kept_and_told(mode):
    doc = coarse_document("红斑三", "年", "外用", "药")
    with pytest.warns(MisalignedEntityWarning, match="病 at characters 1-3 cuts a token"):
        AdnerComponent(Found(), alignment_mode=mode)(doc)
    assert [span.text for span in doc.ents] == ["外用"]
    assert [span.text for span in doc.spans["adner"]] == ["红斑三", "外用"]
    assert [(span._.adner["start"], span._.adner["end"]) for span in doc.spans["adner"]] == [(1, 3), (4, 6)]


def test_contracting_keeps_the_whole_tokens_inside():
    doc = coarse_document("红斑", "三", "年", "外用", "药")
    with pytest.warns(MisalignedEntityWarning):
        AdnerComponent(Found(), alignment_mode="contract")(doc)
    assert [span.text for span in doc.spans["adner"]] == ["三", "外用"]


def test_entities_of_other_components_can_stay():
    doc = coarse_document(*"红斑三年外用药")
    doc.ents = [spacy.tokens.Span(doc, 5, 7, label="Other")]
    AdnerComponent(Found(), overwrite=False)(doc)
    assert [(span.text, span.label_) for span in doc.ents] == [("斑三", "病"), ("用药", "Other")]
    assert len(doc.spans["adner"]) == 2
    AdnerComponent(Found())(doc)
    assert [(span.text, span.label_) for span in doc.ents] == [("斑三", "病"), ("外用", "药")]


class FoundNested(Found):
    """A tagger that finds entities inside others, two of them with the same characters."""

    def __call__(self, texts, **options):
        places = [(0, 4, "病", 0.5), (0, 2, "部", 0.6), (2, 4, "症", 0.7), (2, 4, "药", 0.8)]
        scores = [{"score": score, "start_score": 0.9, "end_score": 0.9} for *_, score in places]
        return [
            [
                {"start": start, "end": end, "entity_group": label, **own}
                for (start, end, label, _), own in zip(places, scores)
            ]
            for _ in texts
        ]


def test_nested_entities_are_all_in_the_span_group():
    doc = AdnerComponent(FoundNested())(coarse_document(*"面部皮炎"))
    spans = doc.spans["adner"]
    assert [(span.text, span.label_) for span in spans] == [
        ("面部皮炎", "病"), ("面部", "部"), ("皮炎", "症"), ("皮炎", "药")
    ]  # fmt: skip
    assert [span._.adner["score"] for span in spans] == [0.5, 0.6, 0.7, 0.8]
    assert [(span.text, span.label_) for span in doc.ents] == [("面部皮炎", "病")]
    again = spacy.tokens.Doc(doc.vocab).from_bytes(doc.to_bytes())
    assert [span._.adner["score"] for span in again.spans["adner"]] == [0.5, 0.6, 0.7, 0.8]


def reference(nlp, text, entities, overlapping=None):
    doc = nlp.make_doc(text)
    doc.ents = [doc.char_span(start, end, label=label) for start, end, label in entities]
    if overlapping is not None:
        doc.spans["adner"] = [doc.char_span(start, end, label=label) for start, end, label in overlapping]
    return doc


def test_evaluate_gives_the_strict_f1_of_the_same_documents(folder, pipe):
    nlp = spacy.blank("zh")
    nlp.add_pipe("adner", config={"model": folder, "device": "cpu"})
    predicted = [[(e["start"], e["end"], e["entity_group"]) for e in found] for found in pipe(TEXTS)]
    gold = [spans[:-1] + [(start, end, "病" if label == "药" else "药") for start, end, label in spans[-1:]]
            for spans in predicted]  # fmt: skip
    examples = [Example(nlp.make_doc(text), reference(nlp, text, spans)) for text, spans in zip(TEXTS, gold)]
    scores, ours = nlp.evaluate(examples), entity_f1(predicted, gold)
    assert 0 < ours["f1"] < 1
    assert [scores[f"ents_{name}"] for name in "prf"] == pytest.approx(
        [ours[name] for name in ("precision", "recall", "f1")]
    )
    for label, figures in ours["per_label"].items():
        assert scores["ents_per_type"][label]["f"] == pytest.approx(figures["f1"])
    assert scores["spans_adner_f"] is None  # no reference has such spans


def test_overlapping_entities_are_scored_in_the_span_group():
    nlp = spacy.blank("zh")
    component = AdnerComponent(Found())
    gold = reference(nlp, "红斑三年外用药", [(1, 3, "病")], [(1, 3, "病"), (1, 6, "药"), (4, 6, "药")])
    example = Example(component(nlp.make_doc(gold.text)), gold)
    scores = component.score([example])
    assert (scores["ents_p"], scores["ents_r"]) == (0.5, 1.0)
    assert (scores["spans_adner_p"], scores["spans_adner_r"]) == (1.0, pytest.approx(2 / 3))


def test_unknown_alignment_mode():
    with pytest.raises(ValueError, match="found 'loose'"):
        AdnerComponent(Found(), alignment_mode="loose")


def test_assertions_have_the_names_of_medspacy():
    class Asserted(Found):
        def __call__(self, texts, assertion=None, **options):
            found = super().__call__(texts)
            for entities in found if assertion else ():
                for entity, holds in zip(entities, (["family", "negated"], [])):
                    entity |= {"assertion": holds, "assertion_cues": []}
            return found

    words = list("患红斑，反复三年")
    doc = AdnerComponent(Asserted(), assertion=True)(coarse_document(*words))
    names = ("is_negated", "is_uncertain", "is_historical", "is_hypothetical", "is_family")
    assert [[getattr(span._, name) for name in names] for span in doc.ents] == [
        [True, False, False, False, True],
        [False] * 5,
    ]
    assert doc.ents[0]._.adner["assertion"] == ["family", "negated"]
    plain = AdnerComponent(Asserted())(coarse_document(*words))
    assert not any(getattr(span._, name) for span in plain.ents for name in names)


def test_a_component_takes_rules_from_its_configuration(folder, pipe):
    nlp = spacy.blank("zh")
    nlp.add_pipe("adner", config={"model": folder, "device": "cpu", "assertion": True})
    doc, expected = nlp(TEXTS[0]), pipe(TEXTS[0], assertion=True)
    assert [span._.adner["assertion"] for span in doc.ents] == [entity["assertion"] for entity in expected]


def test_constraints_and_codes_reach_the_spans(folder, pipe, tmp_path):
    (tmp_path / "codes.tsv").write_text("瘙痒\tL29.9\n", encoding="utf-8")
    nlp = spacy.blank("zh")
    options = {"constraints": {"瘙痒": "药"}, "codes": str(tmp_path / "codes.tsv")}
    nlp.add_pipe("adner", config={"model": folder, "device": "cpu", **options})
    (span,) = nlp(TEXTS[1]).ents
    assert (span.text, span.label_, span.kb_id_) == ("瘙痒", "药", "L29.9")
    assert span._.adner["forced"] is True and span._.adner["code_match"] == "exact" and span._.adner["score"] == 1.0
    (tmp_path / "table.tsv").write_text("瘙痒\t*\tforbid\n", encoding="utf-8")
    doc = AdnerComponent(pipe, constraints=tmp_path / "table.tsv")(spacy.blank("zh")(TEXTS[1]))
    assert "瘙痒" not in [span.text for span in doc.ents]


def test_flags_and_candidates_reach_the_spans(folder, pipe):
    nlp = spacy.blank("zh")
    nlp.add_pipe("adner", config={"model": folder, "device": "cpu", "needs_review": True, "candidates": 0.01})
    keys = ("entity_group", "word", "on_path", "needs_review", "start", "end")
    for doc, entities in zip(nlp.pipe(TEXTS), pipe(TEXTS, needs_review=True, candidates=0.01), strict=True):
        spans = [*doc.spans["adner"], *doc.spans["adner_candidates"]]
        found = [{"entity_group": span.label_, "word": span.text, **span._.adner} for span in spans]
        assert sorted(tuple(one[key] for key in keys) for one in found) == sorted(
            tuple(one[key] for key in keys) for one in entities
        )
        assert len(doc.ents) == len(doc.spans["adner"]) == sum(one["on_path"] for one in entities)


def test_candidates_leave_the_entities_as_they_are():
    class Likely(Found):
        """A tagger with a candidate in the characters of an entity, and one in the same words."""

        def __call__(self, texts, **options):
            found = [[{**one, "on_path": True, "assertion": []} for one in row] for row in super().__call__(texts)]
            other = {**found[0][0], "on_path": False, "assertion": ["negated"], "score": 0.1}
            return [[*row, {**other, "entity_group": "药"}, {**other, "end": 2}] for row in found]

    with pytest.warns(MisalignedEntityWarning, match="adner_candidates"):
        doc = AdnerComponent(Likely(), assertion=True, candidates=0.05)(
            coarse_document("患", "红斑", "，", "反复", "。")
        )
    assert [(span.text, span.label_, span._.adner["score"]) for span in doc.spans["adner"]] == [
        ("红斑", "病", 0.9),
        ("反复", "药", 0.9),
    ]
    assert not any(span._.is_negated for span in doc.ents)
    assert [span.label_ for span in doc.spans["adner_candidates"]] == ["药", "病"]
