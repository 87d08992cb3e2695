"""No error shows more of a text, an id or a label than a few characters, wherever it comes from."""

import json

import pytest

from hf_adner import AdnerTokenizer, Explanation, Lexicon, make_explainer
from hf_adner.audit.calibration import calibration_report
from hf_adner.cards.examples import TrainingText, checked_texts
from hf_adner.cards.record import record_of_run
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import encode_dataset
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.data.splits import split_documents
from hf_adner.explain.documents import explain_documents
from hf_adner.explain.table_building import build_global_table
from hf_adner.explain.targets import LabelTable

SECRET = "王某某男六岁住在某某路二十三号家中电话一二三四五六七八九十其父母均有类似病史否认药物过敏" * 3
"""A text that stands where it should not, because of a wrong column or file."""

LONGEST = 40
"""Characters of an id that a message may show; of a text it is fewer."""

NOTE = Document(SECRET, SECRET, (Entity(0, 2, SECRET),))
LABELS = {"O": 0, "B-a": 1, "I-a": 2}


def explain(tmp_path, **options):
    from transformers import BertConfig, BertForTokenClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    names = {"id2label": {index: name for name, index in LABELS.items()}, "label2id": LABELS}
    tokenizer = AdnerTokenizer.from_texts([SECRET])
    model = BertForTokenClassification(BertConfig(vocab_size=len(tokenizer), **sizes, **names))
    return make_explainer("grad-x-input", model, tokenizer)


def written(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def vectors(tmp_path):
    words = "\n".join(f"{word} {SECRET} {SECRET}" for word in "红斑")
    return Lexicon(["红", "斑"]).vectors_from_file(written(tmp_path / "v.txt", f"2 2\n{words}\n"))


CASES = {
    "label of a model": lambda path: LabelTable(list(LABELS)).check(SECRET),
    "label of a document": lambda path: encode_dataset(
        dataset_from_documents([NOTE]), AdnerTokenizer.from_texts(["a"]), LABELS, max_length=99
    ),
    "predictions of another text": lambda path: calibration_report([NOTE], [Document(SECRET, "a")]),
    "prediction without score": lambda path: calibration_report([NOTE], [NOTE]),
    "group of a document": lambda path: split_documents([NOTE], {"train": 1.0}, group_key="patient"),
    "group of a table": lambda path: build_global_table(explain(path), [NOTE], group_key="patient", progress=False),
    "explained document": lambda path: list(explain_documents(explain(path), [NOTE], entities="gold")),
    "word vectors": vectors,
    "word list": lambda path: Lexicon.from_file(written(path / "l.tsv", f"红\t{SECRET}\n")),
    "lexicon": lambda path: Lexicon([SECRET, SECRET]),
    "id as file name": lambda path: write_documents([NOTE], path / "out", "brat"),
    "ids of brat": lambda path: write_documents([Document(SECRET[:70], "")], path / "out", "brat"),
    "JSON": lambda path: list(read_documents(written(path / "d.jsonl", json.dumps({"id": 1, "text": [SECRET]})))),
    "example of a card": lambda path: checked_texts([SECRET], TrainingText([SECRET])),
    "report": lambda path: record_of_run({"labels": ["a"], "model": {"architecture": "x"}, "training": [SECRET]}),
    "explanation": lambda path: Explanation.load(
        written(path / "e.json", json.dumps({**EXPLANATION, "scores": [SECRET]}))
    ),
}
EXPLANATION = Explanation("红", Entity(0, 1, "x"), [1.0], "m", "label", 1.0).to_dict()


@pytest.mark.parametrize("name", CASES)
def test_errors_show_little_of_a_text(name, tmp_path):
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[name](tmp_path)
    error = caught.value
    while error is not None:
        assert SECRET[:LONGEST] not in str(error), error
        error = error.__cause__
