"""evaluate's evaluators with our pipeline and with our model."""

import evaluate
import pytest
from datasets import Dataset

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.audit.evaluation import AdnerEvaluator
from hf_adner.metrics.tag_f1 import TagF1, tag_f1
from hf_adner.model.labels_adner import spans_to_bio

TEXTS = ["面部红斑伴瘙痒", "否认发热，有湿疹"]


@pytest.fixture(scope="module")
def pipe() -> AdnerPipeline:
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Disease", "Symptom"], "bilstm-crf")
    return AdnerPipeline(model=model, tokenizer=tokenizer)


def found_tags(pipe: AdnerPipeline, text: str) -> list[str]:
    return spans_to_bio([(one["start"], one["end"], one["entity_group"]) for one in pipe(text)], len(text))


def dataset(pipe: AdnerPipeline) -> Dataset:
    """The first text with what the pipeline finds as gold, the second with other labels."""
    gold = [found_tags(pipe, TEXTS[0]), spans_to_bio([(2, 4, "Symptom"), (6, 8, "Disease")], len(TEXTS[1]))]
    return Dataset.from_dict({"tokens": [list(text) for text in TEXTS], "ner_tags": gold})


def test_scores_are_those_of_the_pipeline(pipe):
    data = dataset(pipe)
    scores = AdnerEvaluator().compute(pipe, data=data)
    wanted = tag_f1([found_tags(pipe, text) for text in TEXTS], data["ner_tags"])
    assert wanted["predicted"] > 0 and {name: scores[name] for name in wanted} == wanted
    assert scores["total_time_in_seconds"] > 0


def test_a_folder_and_a_model_will_do(pipe, tmp_path):
    data = dataset(pipe)
    pipe.model.save_pretrained(tmp_path)
    pipe.tokenizer.save_pretrained(tmp_path)
    wanted = AdnerEvaluator().compute(pipe, data=data)["f1"]
    assert AdnerEvaluator().compute(str(tmp_path), data=data)["f1"] == wanted
    assert AdnerEvaluator().compute(pipe.model, tokenizer=pipe.tokenizer, data=data, metric=TagF1())["f1"] == wanted


def test_evaluates_own_evaluator_takes_model_and_tokenizer(pipe):
    data = dataset(pipe)
    scores = evaluate.evaluator("token-classification").compute(
        pipe.model, tokenizer=pipe.tokenizer, data=data, metric=TagF1(), join_by=""
    )
    assert scores["support"] == tag_f1(data["ner_tags"], data["ner_tags"])["support"]
    assert 0 <= scores["f1"] <= 1


def test_words_of_several_characters():
    entities = [{"start": 1, "end": 5, "entity_group": "a"}, {"start": 5, "end": 6, "entity_group": "a"}]
    words = [["甲", "乙丙", "丁戊", "己", "庚"]]
    labels = AdnerEvaluator().predictions_processor([entities], words, "")["predictions"]
    assert labels == [["O", "B-a", "I-a", "B-a", "O"]]
