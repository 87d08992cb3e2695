"""Explained documents, and checkpoints with their explainer and global table."""

import pytest

from hf_adner import AdnerPipeline, Document, Entity, make_explainer
from hf_adner.explain.closer_look import CloserLook
from hf_adner.explain.documents import ANNOTATION, FORCED, ExplainedCheckpoint, explain_documents
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.tagger import entity_posteriors
from hf_adner.model.calibration_adner import REVIEW_THRESHOLD
from hf_adner.model.codes_adner import CodeEntry, CodeTable
from hf_adner.view.output import explanation_lines, run_explanations
from hf_adner.view.page import page_text

NOTE = "患者反复红斑，伴瘙痒，皮肤干燥，外用他克莫司软膏。"
GOLD = (Entity(4, 6, "Disease"), Entity(8, 10, "Disease"), Entity(18, 22, "Drug"))


@pytest.fixture(scope="module")
def explainer(build):
    case = build("bert-crf")
    return make_explainer("grad-x-input", case.model, case.tokenizer)


def test_gold_entities_with_all_that_a_page_shows(explainer):
    table = GlobalTable()
    table.add(NOTE, (4, 6, "Disease"), [1.0] * len(NOTE), document="d")
    documents = [Document("a", NOTE, GOLD), Document("b", "无特殊"), Document("c", "")]
    look = CloserLook(None, stability_views=2)
    notes = list(explain_documents(explainer, iter(documents), entities="gold", table=table, closer_look=look))
    assert [(note.name, note.text, len(note.explanations)) for note in notes] == [
        ("a", NOTE, 3),
        ("b", "无特殊", 0),
        ("c", "", 0),
    ]
    posteriors = entity_posteriors(explainer.tagger, [NOTE], [documents[0].spans])[0]
    for one, entity, posterior in zip(notes[0].explanations, documents[0].entities, posteriors):
        assert one.span == (entity.start, entity.end, entity.label)
        assert one.posterior == pytest.approx(posterior, abs=1e-6)
        assert 0 <= one.stability <= 1 and one.probes and ANNOTATION not in one.details
    assert notes[0].explanations[0].cues and not notes[0].explanations[2].cues


def test_found_entities_are_compared_with_the_annotation(explainer):
    (plain,) = explain_documents(explainer, [Document("a", NOTE)])
    spans = [one.span for one in plain.explanations]
    assert spans and all(
        ANNOTATION not in one.details and one.probes == () and one.stability is None and one.posterior is not None
        for one in plain.explanations
    )
    start, end, label = max(spans, key=lambda span: span[1] - span[0])
    other = "Drug" if label == "Disease" else "Disease"
    cases = [
        ((start, end, label), "the same entity"),
        ((start, end - 1, label), "the same label with other boundaries"),
        ((start, end, other), f"other labels: {other}"),
    ]
    for gold, verdict in cases:
        document = Document("a", NOTE, (Entity(*gold),))
        (note,) = explain_documents(explainer, [document])
        found = {(one.entity.start, one.entity.end): one.details[ANNOTATION] for one in note.explanations}
        assert found.pop((start, end)) == verdict
        assert set(found.values()) <= {"no entity here"}


def test_a_calibrated_checkpoint_shows_calibrated_scores(build, tmp_path):
    case, page = build("bert-crf"), tmp_path / "page.html"
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer, device="cpu")
    checkpoint = ExplainedCheckpoint(case.model, case.tokenizer)
    assert checkpoint.review_threshold == REVIEW_THRESHOLD
    case.model.config.calibration = {"score": {"slope": 0.3, "intercept": 0.2}, "review_threshold": 0.9999}
    try:
        found = pipe(NOTE, needs_review=True)
        (note,) = explain_documents(checkpoint.explainer(), [Document("a", NOTE)])
        assert [one.score for one in note.explanations] == pytest.approx([one["score"] for one in found], abs=1e-5)
        assert [one.posterior for one in note.explanations] == pytest.approx([o["posterior"] for o in found], abs=1e-5)
        assert checkpoint.review_threshold == 0.9999 and all(one["needs_review"] for one in found)
        run_explanations(checkpoint, [Document("a", NOTE)], page, probes=())
        assert page.read_text(encoding="utf-8").count("the model is not sure") == len(found) > 0
    finally:
        case.model.config.calibration = None


def test_errors_name_the_document(explainer):
    documents = [Document("good", NOTE, GOLD[:1]), Document("bad", NOTE, (Entity(0, 2, "Fish"),))]
    with pytest.raises(ValueError, match="document 'bad'.*label 'Fish'"):
        list(explain_documents(explainer, documents, entities="gold"))
    with pytest.raises(ValueError, match="entities must be one of"):
        explain_documents(explainer, [], entities="all")


DOCUMENTS = [Document("d1", "反复红斑伴瘙痒", (Entity(2, 4, "Disease"), Entity(5, 7, "Disease")))]


@pytest.fixture
def folder(build, tmp_path):
    case = build("bert-crf")
    case.model.save_pretrained(tmp_path / "model")
    case.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_without_a_table_the_explainer_is_local(folder):
    checkpoint = ExplainedCheckpoint.load(str(folder), device="cpu")
    assert checkpoint.table is None and checkpoint.shown_table is None
    assert checkpoint.explainer().name == "grad-x-input"
    assert checkpoint.explainer("occlusion", target="start").target.name == "start"
    with pytest.raises(ValueError, match="need a global table"):
        checkpoint.explainer("fused")


def test_a_table_is_built_beside_the_checkpoint_and_found_again(folder):
    built = ExplainedCheckpoint.load(str(folder), device="cpu", build_from=DOCUMENTS)
    assert built.table.labels == ["Disease"] and built.table.explainer == "occlusion"
    assert built.explainer().name == "grad-x-input" and built.closer_explainer().name == "fused"
    assert built.closer_explainer(target="posterior").name == "occlusion"  # the table is of another target
    assert GlobalTable.load(folder / "private" / "global_table").labels == ["Disease"]
    again = ExplainedCheckpoint.load(str(folder), device="cpu")
    assert again.table.min_documents == 5 and len(again.shown_table) == 0  # one document may not be told
    assert again.explainer("global").name == "global"


def test_a_table_for_the_fast_explainer_or_another_target(folder):
    options = {"device": "cpu", "build_from": DOCUMENTS}
    fast = ExplainedCheckpoint.load(str(folder), build_explainer="fused-fast", **options)
    assert fast.table.explainer == "grad-x-input" and fast.explainer().name == "fused-fast"
    assert fast.closer_explainer().name == "occlusion"
    with pytest.raises(ValueError, match="take fused-fast, or build"):
        fast.explainer("fused")
    built = ExplainedCheckpoint.load(str(folder), build_target="posterior", **options)
    assert built.closer_explainer(target="posterior").name == "fused" and built.table.target == "posterior"
    with pytest.raises(ValueError, match="table is of maps for 'posterior', and 'label' is explained.*--target label"):
        built.explainer("fused")


class Bar:
    """What is used of a progress bar of tqdm."""

    def __init__(self):
        self.total, self.count = None, 0

    def refresh(self):
        assert self.total >= self.count

    def update(self, count):
        self.count += count


def test_the_bar_counts_entities(explainer, monkeypatch):
    monkeypatch.setattr("hf_adner.explain.documents.DOCUMENTS_AT_ONCE", 2)
    documents = [Document(str(number), NOTE, GOLD) for number in range(5)]
    for look, expected in ((None, 15), (CloserLook(None, ("punctuation",)), 30)):
        bar = Bar()
        for note in explain_documents(explainer, documents, entities="gold", closer_look=look, bar=bar):
            assert bar.total >= bar.count > 0 and note.remark == ""
        assert bar.count == bar.total == expected


def test_a_remark_tells_what_was_looked_at(explainer):
    (note,) = explain_documents(
        explainer, [Document("a", NOTE, GOLD)], entities="gold", closer_look=CloserLook(None, ("start-edit",), budget=0)
    )
    assert note.remark.startswith("0 of 3 entities, those the model is least sure of")


def test_a_table_elsewhere(folder, tmp_path):
    place = tmp_path / "table"
    with pytest.raises(FileNotFoundError, match="holds no global table"):
        ExplainedCheckpoint.load(str(folder), device="cpu", table_folder=place)
    ExplainedCheckpoint.load(str(folder), device="cpu", table_folder=place, build_from=DOCUMENTS)
    assert not (folder / "private").exists()
    checkpoint = ExplainedCheckpoint.load(str(folder), device="cpu", table_folder=place)
    assert checkpoint.table.min_documents is None and checkpoint.shown_table.min_documents == 5


def test_constraints_say_which_entities_are_explained(explainer):
    document = Document("a", NOTE)
    (plain,) = explain_documents(explainer, [document])
    (note,) = explain_documents(explainer, [document], constraints={"皮肤干燥": "Drug"})
    (forced,) = (one for one in note.explanations if FORCED in one.details)
    assert forced.span == (11, 15, "Drug") and forced.posterior == pytest.approx(1.0)
    (own,) = explainer([NOTE], [[(11, 15, "Drug")]])[0]
    assert forced.scores == own.scores, "the explanation is that of the model"
    assert forced.span not in [one.span for one in plain.explanations]
    assert any(line.endswith("  forced") for line in explanation_lines(forced))
    with pytest.raises(ValueError, match="do not apply to gold entities"):
        list(explain_documents(explainer, [document], entities="gold", constraints={"皮肤": "Drug"}))


def test_codes_are_in_the_details(explainer):
    table = CodeTable([CodeEntry("皮肤干燥", "L85.3"), CodeEntry("皮肤干燥", "L85.9")])
    (note,) = explain_documents(
        explainer, [Document("a", NOTE)], constraints={"皮肤干燥": "Drug", "瘙痒": "Drug"}, codes=table
    )
    coded = {one.entity.text: one.details for one in note.explanations if FORCED in one.details}
    assert coded["皮肤干燥"]["code"] == "L85.3" and coded["皮肤干燥"]["code_alternatives"] == ["L85.9"]
    assert "code" not in coded["瘙痒"]
    page = "".join(page_text([note]))
    assert "L85.3" in page and "L85.9" in page


def test_forced_entities_are_certain_in_a_calibrated_checkpoint(build):
    case = build("bert-crf")
    case.model.config.calibration = {"score": {"slope": 0.5, "intercept": -1.0}}
    explainer = make_explainer("grad-x-input", case.model, case.tokenizer)
    (note,) = explain_documents(explainer, [Document("a", NOTE)], constraints={"皮肤干燥": "Drug"})
    (forced,) = (one for one in note.explanations if FORCED in one.details)
    assert forced.score == 1.0 and all(one.score < 1 for one in note.explanations if one is not forced)
