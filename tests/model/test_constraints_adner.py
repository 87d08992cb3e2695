"""Typed words: their table, what they say about a text, and the entities of a pipeline that must obey them."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from hf_adner import AdnerPipeline, AdnerTokenizer
from hf_adner.model.constraints_adner import Constraint, Constraints, in_window
from hf_adner.model.labels_adner import tags_to_spans
from hf_adner.model.script_adner import ScriptMap
from hf_adner.model.span_tracks_adner import SpanCondition
from hf_adner.model.windows_adner import Window

from .conftest import TEXTS

LABELS = ("Disease", "Drug")
SPANS = st.text("红斑块瘙痒他", min_size=1, max_size=3)


def write(path, lines: str):
    path.write_bytes(lines.encode())
    return path


def span_of(entity):
    return entity["start"], entity["end"], entity["entity_group"]


@pytest.fixture(scope="module")
def pipe(build, tokenizer):
    return AdnerPipeline(model=build(), tokenizer=tokenizer, device="cpu")


@pytest.fixture(scope="module", params=["bioes", "bio"])
def chains_pipe(request, build, tokenizer):
    model = build("bert-crf", tagging="per-label", tag_scheme=request.param)
    return AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")


@pytest.fixture(scope="module")
def tokens_pipe(build, tokenizer):
    return AdnerPipeline(model=build("bert-softmax"), tokenizer=tokenizer, device="cpu")


# ---- the table ---------------------------------------------------------------------------------------------------


def test_a_table_is_read(tmp_path):
    lines = "\ufeff# ours\n红斑\tDisease\n\n红斑\tDisease\tforce\r\n瘙痒\t*\tforbid\n斑 \t Drug\tforbid\n"
    table = Constraints.from_file(write(tmp_path / "table.tsv", lines))
    assert [row[:3] for row in table.rows] == [
        ("红斑", "Disease", True),
        ("红斑", "Disease", True),
        ("瘙痒", "*", False),
        ("斑", "Drug", False),
    ]
    same = Constraints.of(force={"红斑": "Disease"}, forbid={"瘙痒": "*", "斑": ["Drug"]})
    assert len(same) == 3 and same.rows[0] == Constraint("红斑", "Disease")
    assert pickle.loads(pickle.dumps(table)).rows == table.rows
    assert same.hash == Constraints(reversed(same.rows)).hash != table.hash
    (tmp_path / "gb.tsv").write_bytes("红斑\tDisease\n".encode("gb18030"))
    assert Constraints.from_file(tmp_path / "gb.tsv").rows[0].word == "红斑"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("红斑\n", "table.tsv:1: found no label, expected word<TAB>label<TAB>"),
        ("红斑\tDisease\n\tDrug\n", "table.tsv:2: found no word"),
        ("红斑\tDisease\tforce\t1\n", "table.tsv:1: found 4 columns"),
        ("", "table.tsv: no row found, expected word<TAB>label"),
        ("# word\tlabel\n\n", "table.tsv: no row found"),
        ("红斑\tDisease\tmaybe\n", "table.tsv:1: found 'maybe', expected force or forbid"),
        ("红斑\t*\n", "table.tsv:1: the word '红斑' cannot be forced to any label"),
        ("红斑\tDisease\n#\n红斑\tDrug\n", "table.tsv:3: '红斑' is force Drug, but '红斑' is force Disease .*tsv:1"),
        ("红斑\tDrug\n红斑\tDrug\tforbid\n", "table.tsv:2: '红斑' is forbid Drug, but .* force Drug"),
        ("红斑\t*\tforbid\n红斑\tDrug\n", r"table.tsv:1: '红斑' is forbid \*, but .* force Drug .*tsv:2"),
    ],
)
def test_lines_that_are_no_constraint_are_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        Constraints.from_file(write(tmp_path / "table.tsv", lines))


@pytest.mark.parametrize(
    ("word", "label", "message"),
    [
        ("", "Disease", "the word '' is blank"),
        (" 红", "Disease", "the word ' 红' has white space at its ends"),
        ("红\n斑", "Disease", "has a tab or a line break inside"),
        ("\ud800", "Disease", "has a lone surrogate"),
        ("红", "", "the word '红' has no label"),
    ],
)
def test_words_that_are_none_are_refused_with_the_reason(word, label, message):
    for choice in ({"force": {word: label}}, {"forbid": {word: label}}):
        with pytest.raises(ValueError) as caught:
            Constraints.of(**choice)
        assert message in str(caught.value)


def test_words_that_the_tokenizer_reads_alike_must_agree(tmp_path):
    table = Constraints.from_file(write(tmp_path / "table.tsv", "红斑\tDisease\n紅斑\tDrug\n"))
    table.reader(LABELS)
    with pytest.raises(ValueError, match="table.tsv:2: '紅斑' is force Drug, but '红斑' is force Disease"):
        table.reader(LABELS, script_map=ScriptMap.standard())
    with pytest.raises(ValueError, match="table.tsv:1: the model does not have the label 'Disease'"):
        table.reader(("Drug",))


# ---- what it says about a text -----------------------------------------------------------------------------------


def conditions(text, force=None, forbid=None, nested=False, **options):
    return Constraints.of(force, forbid).reader(LABELS, nested=nested, **options).conditions(text)


def test_the_longest_word_counts_from_left_to_right():
    words = {"红斑": "Disease", "环形红斑": "Disease", "红斑块": "Drug", "块": "Drug"}
    assert conditions("环形红斑块红斑", words) == [
        (0, 4, "Disease", True),
        (4, 5, "Drug", True),
        (5, 7, "Disease", True),
    ]


def test_a_longer_forbidden_word_shields_a_forced_one_and_forbidden_ones_hold_everywhere():
    found = conditions("湿疹膏，湿疹", {"湿疹": "Disease"}, {"湿疹膏": "*", "疹": "Drug"})
    assert found == [
        (0, 3, "Disease", False),
        (0, 3, "Drug", False),
        (1, 2, "Drug", False),
        (4, 6, "Disease", True),
        (5, 6, "Drug", False),
    ]


def test_words_of_different_labels_may_overlap_where_each_label_has_its_path():
    words = {"肺癌": "Disease", "肺": "Drug", "癌": "Disease"}
    assert conditions("肺癌", words) == [(0, 2, "Disease", True)]
    assert conditions("肺癌", words, nested=True) == [(0, 1, "Drug", True), (0, 2, "Disease", True)]
    assert conditions("肺癌", {"肺": "Drug"}, {"肺癌": "Disease"}, nested=True) == [
        (0, 1, "Drug", True),
        (0, 2, "Disease", False),
    ]


def test_words_are_found_as_the_tokenizer_reads_them():
    options = {"lower_case": True, "script_map": ScriptMap.standard()}
    assert conditions("蕁麻疹與ＳＬＥ", {"荨麻疹": "Disease", "sle": "Disease"}, **options) == [
        (0, 3, "Disease", True),
        (4, 7, "Disease", True),
    ]
    assert conditions("荨麻疹", {"蕁麻疹": "Disease"}, **options) == [(0, 3, "Disease", True)]
    assert conditions("蕁麻疹與ＳＬＥ", {"荨麻疹": "Disease", "sle": "Disease"}) == []


def test_conditions_of_a_window_are_those_wholly_inside():
    both = [SpanCondition(1, 3, "Drug", True), SpanCondition(4, 6, "Drug", False)]
    assert in_window(both, Window(1, 5)) == [(0, 2, "Drug", True)]
    assert in_window(both, Window(2, 6)) == [(2, 4, "Drug", False)]


# ---- the pipeline ------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_paths_that_agree(pipe, tokenizer, label_paths):
    text = "红斑块痒"
    outputs = pipe.model(**tokenizer(text, return_tensors="pt"))
    paths = label_paths(pipe.model.head, outputs.emissions[0])
    for force, forbid in (
        ({"红斑": "Drug"}, {}),
        ({}, {"红斑": "*", "块痒": ["Drug", "Disease"]}),
        ({"块": "Drug"}, {"痒": "*"}),
    ):
        own = conditions(text, force, forbid)
        left = [
            (tags, weight)
            for tags, weight in paths
            if all((one[:3] in tags_to_spans(tags)) == one.forced for one in own)
        ]
        total = sum(weight for _, weight in left)
        found = pipe(text, constraints=Constraints.of(force, forbid), candidates=0.001)
        on_path = [span_of(entity) for entity in found if entity["on_path"]]
        assert on_path == tags_to_spans(max(left, key=lambda path: path[1])[0])
        posteriors = {}
        for tags, weight in left:
            for span in tags_to_spans(tags):
                posteriors[span] = posteriors.get(span, 0.0) + weight / total
        expected = {span: value for span, value in posteriors.items() if value > 0.001}
        assert {span_of(entity): entity["score"] for entity in found} == pytest.approx(expected, abs=1e-5)
        for entity in found:
            start, end, _ = span_of(entity)
            opening = sum(value for span, value in posteriors.items() if span[0] == start)
            closing = sum(value for span, value in posteriors.items() if span[1] == end)
            assert (entity["start_score"], entity["end_score"]) == pytest.approx((opening, closing), abs=1e-5)
            assert entity["forced"] == (span_of(entity)[:2] == (0, 2) and "红斑" in force or entity["word"] in force)


def test_texts_without_a_word_of_the_table_are_tagged_as_before(pipe, texts):
    before = pipe(texts, candidates=0.01)
    after = pipe(texts, candidates=0.01, constraints={"疱疹": "Disease"})
    assert [[{**entity, "forced": False} for entity in entities] for entities in before] == after
    mixed = pipe([*texts, "疱疹"], candidates=0.01, constraints={"疱疹": "Disease"})
    assert mixed[:-1] == after and span_of(mixed[-1][0]) == (0, 2, "Disease")


words = st.dictionaries(SPANS, st.sampled_from(LABELS), max_size=3)


@settings(max_examples=20)
@given(text=st.text("红斑块瘙痒他。", max_size=12), force=words, forbid=words)
def test_every_result_obeys(pipe, text, force, forbid):
    forbid = {word: label for word, label in forbid.items() if force.get(word) != label}
    own = conditions(text, force, forbid)
    found = {span_of(entity) for entity in pipe(text, constraints=Constraints.of(force, forbid))}
    assert {one[:3] for one in own if one.forced} <= found
    assert not {one[:3] for one in own if not one.forced} & found


@pytest.mark.parametrize("place", range(14, 24))
def test_a_forced_word_is_found_wherever_windows_end(pipe, place):
    text = "红" * place + "瘙痒斑块" + "斑" * (40 - place)
    options = {"window_size": 20, "window_overlap": 3}
    found = pipe(text, constraints={"瘙痒斑块": "Drug"}, **options)
    assert (place, place + 4, "Drug") in [span_of(entity) for entity in found]
    assert all(left["end"] <= right["start"] for left, right in zip(found, found[1:]))
    without = pipe(text, constraints=Constraints.of(forbid={"瘙痒斑块": "*"}), **options)
    assert (place, place + 4) not in [span_of(entity)[:2] for entity in without]


def test_a_forced_word_longer_than_a_window_is_refused(pipe):
    with pytest.raises(ValueError, match="a forced word has 4 characters, more than a window of 3"):
        pipe("红红红瘙痒斑块", constraints={"瘙痒斑块": "Drug"}, window_size=3)


def test_either_script_is_constrained(pipe):
    (found,) = (one for one in pipe("紅斑伴搔癢", constraints={"红斑": "Drug"}) if one["forced"])
    assert span_of(found) == (0, 2, "Drug") and found["word"] == "紅斑"


def test_forced_entities_are_certain_in_a_calibrated_checkpoint(build, tokenizer):
    model = build()
    model.config.calibration = {"score": {"slope": 0.5, "intercept": -1.0}}
    pipe = AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")
    found = pipe("红斑伴瘙痒", constraints={"红斑": "Drug"}, needs_review=True, threshold=0.0)
    forced = next(entity for entity in found if entity["forced"])
    assert forced["score"] == forced["start_score"] == forced["end_score"] == 1.0
    assert forced["posterior"] == pytest.approx(1.0) and forced["needs_review"] is False
    assert pipe("红斑伴瘙痒", constraints={"红斑": "Drug"}, threshold=1.0) == [
        {name: value for name, value in forced.items() if name != "needs_review"}
    ]


def test_constraints_are_a_parameter_of_the_pipeline_and_of_a_call(build, tokenizer, tmp_path):
    table = write(tmp_path / "table.tsv", "红斑\tDrug\n")
    made = pipeline("adner-ner", model=build(), tokenizer=tokenizer, device="cpu", constraints=str(table))
    assert made("红斑")[0]["forced"] and made(["红斑"], constraints={"红": "Disease"})[0][0]["end"] == 1
    with pytest.raises(FileNotFoundError):
        made("红斑", constraints=str(tmp_path / "none.tsv"))
    with pytest.raises(TypeError, match="constraints is int"):
        made("红斑", constraints=3)
    with pytest.raises(ValueError, match="does not have the label 'Symptom'"):
        made("红斑", constraints={"红斑": "Symptom"})


# ---- a path for each label ---------------------------------------------------------------------------------------


def test_each_chain_is_given_the_constraints_of_its_label(chains_pipe, tokenizer, label_paths):
    text = "红斑块痒"
    head = chains_pipe.model.head
    emissions = chains_pipe.model(**tokenizer(text, return_tensors="pt")).emissions[0].unflatten(-1, (2, -1))
    force, forbid = {"红斑": "Drug", "斑": "Disease"}, {"块痒": "Drug", "红斑块": "Drug"}
    found = chains_pipe(text, candidates=0.001, constraints=Constraints.of(force, forbid))
    own = conditions(text, force, forbid, nested=True)
    assert [one[:3] for one in own if one.forced] == [(1, 2, "Disease")], "a longer forbidden word hides 红斑"
    for number, label in enumerate(LABELS):
        mine = [one for one in own if one.label == label]
        left, total, posteriors = [], 0.0, {}
        for tags, weight in label_paths(head, emissions[:, number]):
            spans = [(start, end, label) for start, end, _ in tags_to_spans(tags)]
            if all((one[:3] in spans) == one.forced for one in mine):
                left.append((spans, weight))
                total += weight
        for spans, weight in left:
            posteriors |= {span: posteriors.get(span, 0.0) + weight / total for span in spans}
        likely = {span: value for span, value in posteriors.items() if value > 0.001}
        ours = {span_of(one): one["score"] for one in found if one["entity_group"] == label}
        assert ours == pytest.approx(likely, abs=1e-5)
        on_path = [span_of(one) for one in found if one["entity_group"] == label and one["on_path"]]
        assert on_path == max(left, key=lambda path: path[1])[0]


def test_chains_of_other_labels_stay_and_overlap_what_is_forced(chains_pipe):
    text = "红斑块痒"
    before = chains_pipe(text, candidates=0.001)
    found = chains_pipe(text, candidates=0.001, constraints={"红斑块": "Drug"})
    sides = [
        {span_of(one): one["score"] for one in ones if one["entity_group"] == "Disease"} for ones in (before, found)
    ]
    assert sides[1] == pytest.approx(sides[0], abs=1e-6)
    assert (0, 3, "Drug") in [span_of(one) for one in found if one["forced"]]


# ---- independent tokens ------------------------------------------------------------------------------------------


def test_forced_words_are_exact_for_independent_tokens(tokens_pipe, tokenizer):
    text = "红斑块痒"
    labels = tokens_pipe.model.config.labels
    log_probs = tokens_pipe.model(**tokenizer(text, return_tensors="pt")).emissions[0].detach().double()
    possible = torch.ones(4, len(labels), dtype=torch.bool)
    possible[:2] = False
    possible[0, labels.index("B-Drug")] = possible[1, labels.index("I-Drug")] = True
    possible[2, labels.index("I-Drug")] = False
    given_them = log_probs.masked_fill(~possible, -torch.inf).softmax(-1)
    found = tokens_pipe(text, constraints={"红斑": "Drug"}, candidates=0.01)
    spans = {span_of(entity): entity["score"] for entity in found}
    assert spans[0, 2, "Drug"] == 1.0 and not any(span[0] < 2 and span != (0, 2, "Drug") for span in spans)
    for (start, end, label), score in spans.items():
        ids = [labels.index(f"B-{label}")] + [labels.index(f"I-{label}")] * (end - start - 1)
        assert score == pytest.approx(float(given_them[range(start, end), ids].prod()), abs=1e-5)
    best = [labels[index] for index in given_them.argmax(-1).tolist()]
    assert [span_of(entity) for entity in found if entity["on_path"]] == tags_to_spans(best)


def test_forbidden_words_are_refused_for_independent_tokens(tokens_pipe, tmp_path):
    table = write(tmp_path / "table.tsv", "红斑\tDrug\n瘙痒\t*\tforbid\n")
    with pytest.raises(ValueError, match="table.tsv:2: a forbidden word needs a CRF"):
        tokens_pipe("红斑", constraints=str(table))


def test_a_tokenizer_without_a_map_reads_words_as_they_are(build):
    tokenizer = AdnerTokenizer.from_texts(TEXTS, script_map=None)
    pipe = AdnerPipeline(model=build("bert-crf", script_hash=None), tokenizer=tokenizer, device="cpu")
    assert not any(one["forced"] for one in pipe("紅斑", constraints={"红斑": "Drug"}))
