"""`adner review`: folds, resuming, a model of one's own, and what is written."""

import json

import pytest

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Document, Entity
from hf_adner.cli import main
from hf_adner.comparison import annotation_review
from hf_adner.data.formats import write_documents

TEXTS = ["面部红斑伴瘙痒。", "四肢丘疹，瘙痒。", "无皮疹，有红斑。", "口服氯雷他定。"]
SMALL = ["--architecture", "bilstm-crf", "--config-overrides", "bilstm_size=8,character_embedding_size=8"]
SMALL += ["--num-train-epochs", "1", "--report-to", "none", "--folds", "2", "--use-cpu"]


@pytest.fixture(scope="module")
def gold(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("gold") / "gold.json"
    rows = [
        Document(f"d{number}", text, (Entity(text.index("，") if "，" in text else 2, 4, "Symptom"),))
        for number, text in enumerate(TEXTS * 3)
        if "，" not in text or text.index("，") < 4
    ]
    documents = rows + [Document(f"e{number}", "面部红斑", (Entity(2, 4, "Symptom"),)) for number in range(4)]
    write_documents(documents, path, "jsonl")
    path.rename(path.with_suffix(".jsonl"))
    return str(path.with_suffix(".jsonl"))


def test_folds_are_kept_and_an_interrupted_review_goes_on(gold, tmp_path, monkeypatch, capsys):
    trained = []
    original = annotation_review.train

    def counted(model, tokenizer, splits, *arguments):
        trained.append(set(splits["train"]["id"]) | set(splits["validation"]["id"]))
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(model, tokenizer, splits, *arguments)

    monkeypatch.setattr(annotation_review, "train", counted)
    output = tmp_path / "review"
    call = ["review", gold, "--output-dir", str(output), "--threshold", "0.01", *SMALL]
    assert main(call) == 130
    assert [file.name for file in (output / "folds").glob("*.json")] == ["fold-0.json"]
    monkeypatch.setattr(annotation_review, "train", lambda *arguments: (trained.append(None), original(*arguments))[1])
    assert main(call) == 0
    assert len(trained) == 3  # the first fold was not trained again
    shown = capsys.readouterr().out
    assert "probable errors in" in shown and str(output / "label_errors.html") in shown
    rows = [json.loads(line) for line in (output / "label_errors.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1)) and rows
    assert all(row["annotated"] or row["suggested"] for row in rows)
    assert "<article" in (output / "label_errors.html").read_text(encoding="utf-8")
    assert not list((output / "folds").glob("*/*.safetensors"))
    assert main([*call, "--num-train-epochs", "2"]) == 1
    assert "fold-0.json was made with other arguments (training)" in capsys.readouterr().err


def test_a_threshold_out_of_range_is_told_before_any_work(gold, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(annotation_review, "load_splits", None)
    for wrong in ("3", "-0.1", "nan"):
        assert main(["review", gold, "--output-dir", str(tmp_path / "review"), "--threshold", wrong, *SMALL]) == 1
        assert "threshold must be in [0, 1]" in capsys.readouterr().err


def test_documents_are_read_by_a_model_that_did_not_see_them(gold, tmp_path, monkeypatch):
    seen, read = [], []

    def watched(model, tokenizer, splits, *arguments):
        seen.append({name for split in splits.values() for name in split["id"]})

    def posteriors(pipe, documents, batch_size, **options):
        read.append({document.id for document in documents})
        return [{} for _ in documents]

    monkeypatch.setattr(annotation_review, "train", watched)
    monkeypatch.setattr(annotation_review, "span_posteriors", posteriors)
    assert main(["review", gold, "--output-dir", str(tmp_path), *SMALL]) == 0
    assert all(not trained & tested for trained, tested in zip(seen, read, strict=True))
    assert len(set.union(*read)) == sum(map(len, read)) == sum(1 for _ in open(gold, encoding="utf-8"))


def test_a_model_of_ones_own(gold, tmp_path, monkeypatch, capsys, caplog):
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    sizes = {"character_embedding_size": 8, "bilstm_size": 8}
    AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "bilstm-crf", **sizes).save_pretrained(
        tmp_path / "m"
    )
    tokenizer.save_pretrained(tmp_path / "m")
    monkeypatch.setattr(annotation_review, "train", None)
    assert (
        main(["review", gold, "--model", str(tmp_path / "m"), "--output-dir", str(tmp_path / "out"), "--rows", "1"])
        == 0
    )
    assert capsys.readouterr().out.count("\n| 1 |") <= 1 and (tmp_path / "out" / "label_errors.md").is_file()
    other = tmp_path / "other.jsonl"
    row = {"id": "x", "text": "面部红斑", "entities": [{"start": 0, "end": 2, "label": "Sympton"}]}
    other.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert "has no label" not in capsys.readouterr().err
    assert main(["review", str(other), "--model", str(tmp_path / "m"), "--output-dir", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "the model has no label Sympton: 1 entities that have it are listed as errors" in shown.err + caplog.text
    assert "面部 Sympton 0-2" in shown.out
    assert main(["review", gold, "--model", "/no/such", "--output-dir", str(tmp_path / "out")]) == 1
    assert "there is no folder /no/such" in capsys.readouterr().err
