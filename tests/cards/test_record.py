"""The record of a run, and what is no report.

Cards of saved checkpoints, through the library and the command.

Example texts: never a sentence of the training data.

Names without the folders of a machine.
"""

import json

import pytest

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.cards.checkpoint import record_of_checkpoint
from hf_adner.cards.examples import (
    TrainingText,
    TrainingTextError,
    checked_texts,
    example_texts,
    sentences,
    synthetic_texts,
)
from hf_adner.cards.record import (
    UNNAMED_DATA,
    CardOptions,
    ReportError,
    public_name,
    record_of_run,
    without_paths,
)
from hf_adner.cli import main
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document
from hf_adner.data.synthetic import generate_corpus

from .reports import OPTIONS, explanations, metrics, robustness


def test_what_the_user_says_goes_first():
    record = record_of_run(metrics(), OPTIONS, model_id="me/derma")
    assert (record.title, record.dataset, record.license) == ("Derma tagger", "Derma notes", "apache-2.0")
    own = record_of_run(metrics())
    assert (own.title, own.dataset, own.license) == ("m-dscmg", UNNAMED_DATA, None)
    assert record_of_run({"labels": ["a"], "model": {"architecture": "bert-crf"}}).dataset == UNNAMED_DATA


def test_a_report_given_apart_goes_before_the_runs_own():
    known = metrics(explanations={"explainers": {}})
    assert record_of_run(known).explanations == {"explainers": {}}
    assert record_of_run(known, explanations=explanations()).explanations == explanations()


def test_settings_name_no_folder_and_nothing_unset():
    settings = record_of_run(metrics()).settings
    assert settings["word_vectors"] == "given" and settings["learning_rate"] == 5e-5
    assert "early_stopping_patience" not in settings and "lexicon" not in settings


def test_settings_that_say_nothing_are_left_out():
    training, model = {"max_steps": -1}, {"architecture": "bert-crf", "encoder": "a/b", "encoder_size": 128}
    assert "max_steps" not in record_of_run(metrics(training=training)).settings
    assert "encoder_size" not in record_of_run(metrics(model=model)).settings
    own = record_of_run(metrics(training={"max_steps": 9}, model={**model, "encoder": None})).settings
    assert (own["max_steps"], own["encoder_size"]) == (9, 128)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": []}, "names no labels"),
        ({"model": {}}, "names no architecture"),
        ({"training": [1]}, "training of the report is list, expected a mapping"),
        (
            {"test": {"documents": 3}},
            "test of the report is not an evaluation report: gold, strict, boundaries missing",
        ),
    ],
)
def test_what_is_no_report_is_refused(changes, told):
    with pytest.raises(ReportError, match=told):
        record_of_run(metrics(**changes))


def test_test_split_goes_before_validation():
    assert record_of_run(metrics()).scored_split == "test"
    assert record_of_run(metrics(test=None)).scored_split == "validation"
    assert record_of_run(metrics(test=None, validation=None)).scored_split is None
    assert set(record_of_run(metrics()).scores) == {"test", "validation"}


@pytest.mark.parametrize("wrong", [{"base_model": "/home/me/model"}, {"dataset_ids": ["a b"]}, {"energy_kwh": -1.0}])
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match="expected|must not be negative"):
        CardOptions(**wrong)


LABELS = ("Disease", "Symptom")


@pytest.fixture
def run_folder(tmp_path):
    """What a run leaves: `model/` and `metrics.json`."""
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    AdnerForTokenClassification.from_scratch(tokenizer, LABELS, "bilstm-crf").save_pretrained(tmp_path / "model")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics(LABELS)), encoding="utf-8")
    return tmp_path


def test_metrics_of_the_run_are_found(run_folder):
    record = record_of_checkpoint(run_folder / "model", revision="abc")
    assert record.scores and record.revision == "abc" and [one.text for one in record.examples][0] == "面部红斑伴瘙痒。"


def test_without_metrics_the_checkpoint_tells_what_it_can(run_folder):
    (run_folder / "metrics.json").unlink()
    record = record_of_checkpoint(run_folder / "model")
    assert (record.architecture, record.labels, record.scores) == ("bilstm-crf", LABELS, {}) and not record.examples


def test_metrics_of_another_model_are_refused(run_folder):
    (run_folder / "other.json").write_text(json.dumps(metrics(("Drug",))), encoding="utf-8")
    with pytest.raises(ReportError, match="another model"):
        record_of_checkpoint(run_folder / "model", {"metrics": run_folder / "other.json"})


@pytest.mark.parametrize(("content", "told"), [("[1]", "expected a JSON object, found list"), ("{", "not JSON")])
def test_broken_reports_are_refused(run_folder, content, told):
    (run_folder / "broken.json").write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=told):
        record_of_checkpoint(run_folder / "model", {"robustness": run_folder / "broken.json"})


def test_no_checkpoint_no_card(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json"):
        record_of_checkpoint(tmp_path)


def test_example_texts_need_the_training_data(run_folder):
    options = CardOptions(example_texts=["双手湿疹两月。"])
    with pytest.raises(ValueError, match="compared with the training data"):
        record_of_checkpoint(run_folder / "model", options=options)
    record = record_of_checkpoint(run_folder / "model", options=options, training_texts=["面部红斑三年。"])
    assert [(one.text, one.entities) for one in record.examples] == [("双手湿疹两月。", None)]


def test_command(run_folder, capsys):
    for name, report in (("explanations", explanations()), ("robustness", robustness())):
        (run_folder / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
    reports = [f"--{name}={run_folder / name}.json" for name in ("explanations", "robustness")]
    command = ["card", str(run_folder / "model"), *reports, "--model_title", "Derma", "--model-id", "me/derma"]
    assert main(command) == 0
    path = run_folder / "model" / "README.md"
    card = path.read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == str(path)
    assert (
        "# Derma\n" in card
        and '"me/derma"' in card
        and "| measure | occlusion | fused |" in card
        and "| confusions |" in card
    )


def test_command_refuses_a_training_sentence(run_folder, capsys):
    write_documents([Document("a", "王某面部红斑三年。")], run_folder / "train.jsonl")
    command = ["card", str(run_folder / "model"), "--training", str(run_folder / "train.jsonl")]
    assert main([*command, "--example_texts", "王某面部红斑三年"]) == 1
    told = capsys.readouterr().err
    assert "sentence of the training data" in told and "王某" not in told
    assert not (run_folder / "model" / "README.md").exists()


NOTE = "王某，男，6岁。面部红斑伴瘙痒三年！加重一周。昨日复查IgE 860 IU/mL，余无特殊不适"
SECOND = "复查IGE860，余无特殊。"


@pytest.mark.parametrize(
    "text",
    [
        NOTE,
        "面部红斑伴瘙痒三年",  # one sentence of it
        "红斑伴瘙痒三年。别的话都是新写的。",  # the end of one
        "主诉：面部红斑伴瘙痒三年，别的话都是新写的。",  # one inside a longer sentence
        "新写的一句话。\n加重一周。面部红斑伴瘙痒三年",
        "面部 红斑\t伴\u3000瘙痒\n三年",  # in other white space
        "面部\u200b红斑\ufeff伴瘙痒\u202e三年",  # with invisible characters
        "面部红斑，伴：瘙痒、三年",  # with other punctuation
        "面部。红斑。伴瘙。痒三年",  # cut into short sentences
        "⾯部红斑伴瘙痒三年",  # with a compatibility character
        "复查ＩＧＥ８６０，余无特殊",  # full-width letters and digits in another case
        "新写的话：复查IgE 860 IU/ML余无特",  # a long run that is no sentence
    ],
)
def test_a_text_with_a_training_sentence_is_refused(text):
    with pytest.raises(TrainingTextError, match="example text 2 contains a sentence") as error:
        checked_texts(["完全不同的一句话。", text], TrainingText([NOTE, SECOND, "另一篇。"]))
    assert not any(sentence in str(error.value) for sentence in sentences(text))


def test_other_texts_pass_and_short_common_sentences_do_no_harm():
    texts = ["双手湿疹两个月。谢谢！", "四肢屈侧丘疹", "新写的话：昨日复查IgE 860，余"]  # 11 in a row
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


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("/srv/words.tsv+train", "(path)+train"),
        ("ad+../lists/words.tsv", "ad+(path)"),
        (r"D:\lists\words.tsv", "(path)"),
        ("~/v/vectors.txt", "(path)"),
        ("stream_size=128,word_layer=lstm", "stream_size=128,word_layer=lstm"),
        ("vectors=/a/b.txt,x=1", "vectors=(path),x=1"),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_settings_lose_their_folders(value, told):
    assert without_paths(value) == told


def test_names_of_files_and_folders_are_not_public(tmp_path, monkeypatch):
    names = ("hfl/chinese-macbert-base", "ad-synthetic")
    assert [public_name(name) for name in names] == list(names)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hfl" / "local").mkdir(parents=True)
    for name in (None, "", str(tmp_path), "/gone/away", "hfl/local", "hfl", "notes/*.jsonl", r"C:\wang\derma"):
        assert public_name(name) is None


@pytest.mark.parametrize("source", ["/home/wang/derma/train.jsonl", "derma", "wards/derma", r"C:\wang\derma"])
def test_a_data_set_is_named_by_the_user_or_by_the_hub_only(source):
    known = metrics(dataset={"dataset": source})
    assert record_of_run(known).dataset == UNNAMED_DATA and record_of_run(known).title == "m-dscmg"
    assert record_of_run(metrics(dataset_name="me/derma")).dataset == "me/derma"
    assert record_of_run(known, CardOptions(dataset_ids=["me/derma"])).dataset == "me/derma"
    assert record_of_run(metrics(dataset={"dataset": "ad-synthetic"})).title == "m-dscmg trained on ad-synthetic"
