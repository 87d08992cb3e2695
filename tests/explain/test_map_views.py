"""Views of texts for the variance of maps."""

from hf_adner import Document, Entity, make_explainer
from hf_adner.explain.map_views import explain_views
from hf_adner.perturb.context import ContextMasking

TEXT = "患者四肢反复红斑伴瘙痒瘙痒他克莫司软膏外用痒"


def test_views_hide_context_and_read_masks(build):
    case = build("bert-crf")
    local = make_explainer("grad-x-input", case.model, case.tokenizer)
    tagger = local.tagger
    explanations = local([TEXT, "", "痒"], [[(6, 8, "Disease"), (9, 11, "Disease")], [], [(0, 1, "Disease")]])
    views = explain_views(local, explanations, 3, 0)
    assert [view.text for view in views] == [0, 0, 0]  # nothing can be hidden in the others
    document = Document("1", TEXT, (Entity(6, 8, "Disease"), Entity(9, 11, "Disease")))
    for number, view in enumerate(views):
        expected = ContextMasking()(document, f"map 0 {number} {TEXT}")
        assert view.kept == expected.kept and 0 < len(expected.masked) < len(TEXT)
        assert [one.entity.text for one in view.explanations] == ["红斑", "瘙痒"]
        assert view.explanations[0].scores != explanations[0][0].scores
    assert len({one.explanations[0].text for one in views}) > 1
    assert local.tagger is tagger
    again = explain_views(local, explanations, 3, 0)
    assert [one.explanations for one in again] == [one.explanations for one in views]
    assert [one.kept for one in explain_views(local, explanations, 3, 1)] != [one.kept for one in views]
