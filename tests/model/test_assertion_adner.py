"""Rules of assertion: right on record lines, the same in both scripts, and a table that travels and can be extended."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.model.assertion_adner import AssertionRules, choose_rules
from hf_adner.model.assertion_table_adner import ATTRIBUTES, Rule, parse_rules
from hf_adner.model.loading_adner import CheckpointError
from hf_adner.model.script_adner import ScriptMap

LINES = Path(__file__).parent / "assertion"
RULES = AssertionRules.standard()
TRADITIONAL = {read: written for written, read in ScriptMap.standard().forms.items() if written >= "㐀"}


def spans_of(marked: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Take the brackets around entities out of a text."""
    spans = []
    text, place = "", 0
    for character in marked:
        if character == "[":
            place = len(text)
        elif character == "]":
            spans.append((place, len(text), "Symptom"))
        else:
            text += character
    return text, spans


def attributes(marked: str, rules: AssertionRules = RULES) -> dict[str, str]:
    text, spans = spans_of(marked)
    found = rules(text, spans)
    return {
        text[start:end]: " ".join(cue.attribute for cue in cues)
        for (start, end, _), cues in zip(spans, found, strict=True)
    }


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (LINES / name).read_text(encoding="utf-8").splitlines()]


EXAMPLES = {
    "无[发热]、[咳嗽]及[咳痰]": {"发热": "negated", "咳嗽": "negated", "咳痰": "negated"},
    "无[发热]，全身[红斑]": {"发热": "negated", "红斑": ""},
    "无[恶心]，[呕吐]，[腹痛]等不适": {"恶心": "negated", "呕吐": "negated", "腹痛": "negated"},
    "无[发热]但有[咳嗽]": {"发热": "negated", "咳嗽": ""},
    "无明显诱因出现[皮疹]": {"皮疹": ""},
    "无明显[瘙痒]": {"瘙痒": "negated"},
    "颈部无痛性[结节]": {"结节": ""},
    "无菌性[脓疱]": {"脓疱": ""},
    "[瘙痒]不减轻，[皮疹]反复不愈": {"瘙痒": "", "皮疹": ""},
    "外用[激素]疗效不佳": {"激素": ""},
    "[湿疹]不除外": {"湿疹": "uncertain"},
    "不除外[湿疹]": {"湿疹": "uncertain"},
    "排除[银屑病]": {"银屑病": "negated"},
    "[银屑病]已排除，[湿疹]待排": {"银屑病": "negated", "湿疹": "uncertain"},
    "考虑[湿疹]？": {"湿疹": "uncertain"},
    "考虑[湿疹]": {"湿疹": ""},
    "疑似[药疹]": {"药疹": "uncertain"},
    "与[银屑病]、[玫瑰糠疹]鉴别": {"银屑病": "uncertain", "玫瑰糠疹": "uncertain"},
    "如何治疗[湿疹]？": {"湿疹": ""},
    "[关节痛](-)、[口腔溃疡](+)": {"关节痛": "negated", "口腔溃疡": ""},
    "[关节痛]（－），[皮疹]阴性，[蛋白尿]±": {"关节痛": "negated", "皮疹": "negated", "蛋白尿": "uncertain"},
    "否认[哮喘]病史": {"哮喘": "historical negated"},
    "父亲有[过敏性鼻炎]，患者[湿疹]": {"过敏性鼻炎": "family", "湿疹": ""},
    "父亲曾患[哮喘]": {"哮喘": "family historical"},
    "家族史：祖父[银屑病]，外婆[哮喘]。查体：[红斑]": {"银屑病": "family", "哮喘": "family", "红斑": ""},
    "家长诉患儿[瘙痒]": {"瘙痒": ""},
    "既往史：[脑梗死]2年。[胃炎]5年。现病史：[皮疹]3天": {"脑梗死": "historical", "胃炎": "historical", "皮疹": ""},
    "既往[高血压]10年，长期口服[缬沙坦]": {"高血压": "", "缬沙坦": ""},
    "3年前出现[皮疹]，反复至今": {"皮疹": ""},
    "曾用[糖皮质激素]": {"糖皮质激素": "historical"},
    "今日停用[甲氨蝶呤]": {"甲氨蝶呤": "negated"},
    "停用[激素]2周后[皮疹]加重": {"激素": "historical", "皮疹": ""},
    "忌骤停[激素]": {"激素": ""},
    "建议停用[头孢]": {"头孢": "hypothetical"},
    "[皮疹]已消退，[瘙痒]减轻": {"皮疹": "historical", "瘙痒": ""},
    "如出现[发热]请就诊": {"发热": "hypothetical"},
    "必要时口服[西替利嗪]，避免[搔抓]，勿用[肥皂]": dict.fromkeys(("西替利嗪", "搔抓", "肥皂"), "hypothetical"),
    "[特应性皮炎]是一种慢性病，常伴[瘙痒]": {"特应性皮炎": "hypothetical", "瘙痒": "hypothetical"},
    "未见[渗出]": {"渗出": "negated"},
    "否認[糖尿病]病史，無[發熱]": {"糖尿病": "historical negated", "發熱": "negated"},
}


@pytest.mark.parametrize("marked, expected", EXAMPLES.items())
def test_examples(marked, expected):
    assert attributes(marked) == expected


@pytest.mark.parametrize("name, least", [("held_out.jsonl", 0.95), ("development.jsonl", 0.97)])
def test_record_lines(name, least):
    correct, predicted, support = (dict.fromkeys(ATTRIBUTES, 0) for _ in range(3))
    for line in lines(name):
        spans = [(entity["start"], entity["end"], entity["label"]) for entity in line["entities"]]
        for entity, cues in zip(line["entities"], RULES(line["text"], spans), strict=True):
            found, gold = {cue.attribute for cue in cues}, set(entity["meta"]["assertion"])
            for counts, names in ((correct, found & gold), (predicted, found), (support, gold)):
                for attribute in names:
                    counts[attribute] += 1
    f1 = {name: 2 * correct[name] / (predicted[name] + support[name]) for name in ATTRIBUTES}
    assert min(support.values()) >= 39 and min(f1.values()) >= 0.9, f1
    assert 2 * sum(correct.values()) / (sum(predicted.values()) + sum(support.values())) >= least


def test_either_script_has_the_same_attributes():
    for line in lines("held_out.jsonl") + lines("development.jsonl"):
        text = line["text"]
        spans = [(entity["start"], entity["end"], entity["label"]) for entity in line["entities"]]
        written = "".join(TRADITIONAL.get(character, character) for character in text)
        assert RULES(written, spans) == RULES(text, spans), text


pieces = st.sampled_from(
    [
        *"无未不否认曾如可疑父母史停、，。？（－）()-±+\n:：;",
        "既往史：",
        "家族史：",
        "红斑",
        "病史",
        "不除外",
        "\ud800",
        "İ",
    ]
)


@given(st.lists(pieces, max_size=30).map("".join), st.data())
def test_any_text_has_sorted_attributes_with_cues_inside_it(text, data):
    places = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(places, places, st.sampled_from("AB")), max_size=6))
    spans = [(min(pair[:2]), max(pair[:2]), pair[2]) for pair in pairs if pair[0] != pair[1]]
    found = RULES(text, spans)
    assert len(found) == len(spans)
    for cues in found:
        assert [cue.attribute for cue in cues] == sorted({cue.attribute for cue in cues} & set(ATTRIBUTES))
        assert all(0 <= cue.start < cue.end <= len(text) for cue in cues)


def test_the_order_of_entities_does_not_matter():
    text, spans = spans_of("无[发热]、[咳嗽]，[湿疹]待排，父亲[哮喘]")
    assert RULES(text, spans[::-1]) == RULES(text, spans)[::-1]


OVERLAPPING = "否认[面部红斑]、[颈部丘疹]，父亲[哮喘]，[湿疹]待排；[胸闷]、[气促]（-）"


@given(st.lists(st.tuples(st.integers(0, 35), st.integers(1, 6), st.sampled_from(["Symptom", "BodySite"])), max_size=9))
def test_candidates_and_inner_entities_change_nothing_of_the_others(places):
    text, spans = spans_of(OVERLAPPING)
    alone = RULES(text, spans)
    candidates = [(start, min(start + size, len(text)), label) for start, size, label in places if start < len(text)]
    found = RULES(text, spans, candidates)
    assert found[: len(spans)] == alone and len(found) == len(spans) + len(candidates)
    for candidate, cues in zip(candidates, found[len(spans) :]):
        assert cues == RULES(text, spans, [candidate])[-1]
    inner = [(start, start + 2, "BodySite") for start, end, _ in spans if end - start > 2]
    for order in ([*spans, *inner], [*inner, *spans]):
        assert [cues for span, cues in zip(order, RULES(text, order)) if span in spans] == alone


def test_an_overlapping_reading_has_the_cues_that_it_leaves():
    text, spans = spans_of("疑似[湿疹]，全身[瘙痒]")
    found = RULES(text, spans, [(1, 4, "Disease"), (2, 3, "Disease"), (0, 4, "Disease")])
    assert [[cue.attribute for cue in cues] for cues in found] == [["uncertain"], [], ["uncertain"], ["uncertain"], []]


# ---- the table ---------------------------------------------------------------------------------------------------


def test_a_table_comes_back_equal(tmp_path):
    RULES.save(tmp_path / "rules.tsv")
    assert AssertionRules.from_file(tmp_path / "rules.tsv") == RULES
    assert pickle.loads(pickle.dumps(RULES)) == RULES


def test_a_table_of_ones_own_adds_to_the_rules_and_replaces_them(tmp_path):
    path = tmp_path / "ours.tsv"
    path.write_text("# of our ward\nnegated\tneg\tbackward\tadjacent\n", encoding="utf-8")
    rules = choose_rules(str(path))
    assert attributes("[发热]NEG，无[咳嗽]") == {"发热": "", "咳嗽": "negated"}
    assert attributes("[发热]NEG，无[咳嗽]", rules) == {"发热": "negated", "咳嗽": "negated"}
    quiet = RULES + AssertionRules([Rule(("none",), "疑似")])
    assert attributes("疑似[药疹]", quiet) == {"药疹": ""}


def test_a_table_without_rules_is_refused_but_may_travel(pipe, tmp_path):
    path = tmp_path / "assertion_rules.tsv"
    pipe.save_pretrained(tmp_path)
    path.write_text("# nothing yet\n", encoding="utf-8")
    with pytest.raises(ValueError, match="assertion_rules.tsv: no rule found"):
        choose_rules(str(path))
    assert AdnerTokenizer.from_pretrained(tmp_path).assertion_rules.rules == ()


@pytest.mark.parametrize(
    "line, reason",
    [
        ("negated", "found 1 columns"),
        ("negated\t\tforward\tlist", "there is no cue"),
        ("absent\t无\tforward\tlist", "attributes are 'absent'"),
        ("negated,none\t无\tforward\tlist", "attributes are 'negated,none'"),
        ("negated\t无\tonward\tlist", "direction 'onward' and reach 'list'"),
        ("negated\t无\tforward\tmile", "direction 'forward' and reach 'mile'"),
        ("negated\t/无(/\tforward\tlist", "is no regular expression"),
        ("negated\t無\tforward\tlist", "expected it as it is read: '无'"),
        ("stop\t但\tsome", "a stop ends 'some'"),
        ("none\t无痛性\tforward\tlist", "a rule of kind none has neither"),
        ("negated\t{不|}{不|无} 无\tforward\tlist", "cue '无' is twice in the table"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    path = tmp_path / "rules.tsv"
    path.write_text(f"# comment\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="rules.tsv, line 3: ") as caught:
        AssertionRules.from_file(path)
    assert reason in str(caught.value)


def test_braces_stand_for_several_cues():
    rules = parse_rules("negated\t{已|可}{排除|除外} {尚|}无\tbackward\tlist", "x")
    assert [rule.cue for rule in rules] == ["已排除", "已除外", "可排除", "可除外", "尚无", "无"]


def test_every_rule_of_the_standard_table_is_found_in_its_own_cue():
    for rule in RULES.rules:
        if not rule.cue.startswith("/"):
            assert parse_rules("\t".join((",".join(rule.attributes), *rule[1:])), "x") == [rule]


# ---- in a pipeline -----------------------------------------------------------------------------------------------

TEXTS = ["患者无发热、咳嗽、胸痛、皮疹、瘙痒，父亲曾患哮喘、湿疹、鼻炎。", "", "建议外用激素"]


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(10)
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["甲", "乙"], "bilstm-crf", **sizes)
    with torch.no_grad():
        model.head.classifier.weight.mul_(60)
    return AdnerPipeline(model, tokenizer, device="cpu")


def test_a_pipeline_adds_attributes_on_request(pipe):
    plain = pipe(TEXTS)
    found = pipe(TEXTS, assertion=True)
    keys = ("assertion", "assertion_cues")
    assert [[{k: v for k, v in one.items() if k not in keys} for one in entities] for entities in found] == plain
    assert {tuple(entity["assertion"]) for entities in found for entity in entities} > {
        (),
        ("negated",),
        ("hypothetical",),
    }
    for text, entities in zip(TEXTS, found):
        cues = RULES(text, [(entity["start"], entity["end"], entity["entity_group"]) for entity in entities])
        assert [entity["assertion"] for entity in entities] == [[cue.attribute for cue in one] for one in cues]
        assert [entity["assertion_cues"] for entity in entities] == [[cue._asdict() for cue in one] for one in cues]
    likely = pipe(TEXTS, assertion=True, candidates=0.001)
    assert sum(map(len, likely)) > 2 * sum(map(len, found))
    assert [
        [{name: value for name, value in one.items() if name != "on_path"} for one in entities if one["on_path"]]
        for entities in likely
    ] == found
    assert pipe(TEXTS, assertion=False) == plain
    with pytest.raises(TypeError, match="assertion is int"):
        pipe(TEXTS, assertion=1)


def test_the_table_travels_with_the_checkpoint_and_may_be_edited(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "assertion_rules.tsv"
    assert AdnerTokenizer.from_pretrained(tmp_path).assertion_rules == RULES
    (AssertionRules.from_file(path) + AssertionRules([Rule(("none",), "无")])).save(path)
    edited = AdnerPipeline(pipe.model, AdnerTokenizer.from_pretrained(tmp_path), device="cpu")
    assert not any("negated" in entity["assertion"] for entity in edited(TEXTS[0], assertion=True))
    assert any("negated" in entity["assertion"] for entity in pipe(TEXTS[0], assertion=True))
    path.write_text("negated\t无\n", encoding="utf-8")
    damaged = AdnerPipeline(pipe.model, AdnerTokenizer.from_pretrained(tmp_path), device="cpu")
    assert damaged(TEXTS) == pipe(TEXTS)  # rules that nobody asks for are not read
    for use in (lambda: damaged("", assertion=True), lambda: damaged.tokenizer.assertion_rules.hash):
        with pytest.raises(CheckpointError, match="assertion_rules.tsv, line 1"):
            use()
    path.write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="assertion_rules.tsv is not UTF-8"):
        AdnerTokenizer.from_pretrained(tmp_path)
    path.unlink()
    assert AdnerTokenizer.from_pretrained(tmp_path).assertion_rules == RULES
