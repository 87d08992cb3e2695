"""Example texts: never a sentence of the training data."""

import pytest

from hf_adner.cards.examples import (
    TrainingText,
    TrainingTextError,
    checked_texts,
    example_texts,
    sentences,
    synthetic_texts,
)
from hf_adner.data.synthetic import generate_corpus

NOTE = "王某，男，6岁。面部红斑伴瘙痒三年！加重一周"


@pytest.mark.parametrize(
    "text",
    [
        NOTE,
        "面部红斑伴瘙痒三年",  # one sentence of it
        "红斑伴瘙痒三年。别的话都是新写的。",  # the end of one
        "主诉：面部红斑伴瘙痒三年，别的话都是新写的。",  # one inside a longer sentence
        "新写的一句话。\n加重一周。面部红斑伴瘙痒三年",
    ],
)
def test_a_text_with_a_training_sentence_is_refused(text):
    with pytest.raises(TrainingTextError, match="example text 2 shows a sentence") as error:
        checked_texts(["完全不同的一句话。", text], TrainingText([NOTE, "另一篇。"]))
    assert not any(sentence in str(error.value) for sentence in sentences(text))


def test_other_texts_pass_and_short_common_sentences_do_no_harm():
    texts = ["双手湿疹两个月。谢谢！", "四肢屈侧丘疹"]
    assert example_texts(texts, [NOTE, "谢谢！"]) == texts


def test_empty_texts_are_refused():
    with pytest.raises(ValueError, match="example text 1 is empty"):
        example_texts([" "], [])


def test_invented_texts_avoid_the_training_data():
    free = synthetic_texts(TrainingText([]))
    assert len(set(free)) == 3 and free == example_texts((), [])
    training = TrainingText([free[0], f"患者{free[1]}随诊"])
    chosen = synthetic_texts(training)
    assert chosen[0] == free[2] and len(chosen) == 3 and not set(free[:2]) & set(chosen)
    assert not any(training.shows_in(text) for text in chosen)


def test_a_model_trained_on_synthetic_text_is_not_shown_its_own():
    train = [document.text for document in generate_corpus(0, {"train": 300, "test_unseen": 0})["train"]]
    for text in example_texts((), train):
        assert not any(sentence in document for sentence in sentences(text) for document in train)


def test_training_on_everything_leaves_no_example():
    everything = synthetic_texts(TrainingText([]), number=1000)
    assert synthetic_texts(TrainingText(everything)) == []
