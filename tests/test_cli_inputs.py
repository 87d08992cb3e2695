"""What commands say of their inputs and results, and what their bars count."""

from types import SimpleNamespace

import pytest
from tqdm.auto import tqdm

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Document, Entity
from hf_adner.audit.predict_files import counted, write_parts
from hf_adner.cli import main
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.pretraining.word_vectors import _limited
from hf_adner.reporting import count_finished

SCORES = {"strict": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2, "per_label": {}}}


@pytest.mark.parametrize(
    ("splits", "named"),
    [(["validation"], "validation"), (["validation", "test"], "test"), (["test"], "test"), ([], None)],
)
def test_training_names_the_split_it_scored(splits, named, tmp_path, monkeypatch, capsys):
    metrics = dict.fromkeys(splits, SCORES) | {"statistics": {}}
    monkeypatch.setattr("hf_adner.training.run.run_training", lambda *arguments: metrics)
    assert main(["train", "--dataset", "ad-synthetic", "--output-dir", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert [split for split in ("validation", "test") if f"{split} split, strict" in shown] == [named] * bool(named)
    assert "checkpoint" in shown


def test_processes_but_the_first_print_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hf_adner.training.run.run_training", lambda *arguments: {"documents": {}})
    assert main(["train", "--dataset", "ad-synthetic", "--output-dir", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == ""


CORPUS = {"train": [Document("a", "面部红斑", (Entity(2, 4, "Symptom"),))], "test": [Document("b", "无皮疹")]}


@pytest.mark.parametrize("suffix", ["jsonl", "conll", "csv", "html"])
def test_the_synthetic_corpus_is_converted(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_adner.data.synthetic.generate_corpus", lambda: CORPUS)
    output = tmp_path / f"out.{suffix}"
    assert main(["convert", "ad-synthetic", str(output)]) == 0
    if suffix == "html":
        assert output.read_text(encoding="utf-8").count("<article>") == 2
    else:
        found = list(read_documents(output))
        assert [(one.text, one.spans) for one in found] == [("面部红斑", [(2, 4, "Symptom")]), ("无皮疹", [])]


def test_one_split_is_converted(tmp_path, monkeypatch, capsys):
    """As the whole input is: with entities that overlap, and with documents that have none."""
    crossing = Document("a", "面部红斑", (Entity(0, 3, "BodySite"), Entity(2, 4, "Symptom")))
    for name, document in (("train", Document("b", "无")), ("test", crossing)):
        write_documents([document], tmp_path / f"{name}.jsonl")
    output = tmp_path / "out" / "one.jsonl"
    output.parent.mkdir()
    assert main(["convert", str(tmp_path), str(output), "--split", "test"]) == 0
    assert list(read_documents(output, overlaps="any")) == [crossing]
    monkeypatch.setattr("hf_adner.data.synthetic.generate_corpus", lambda: CORPUS)
    assert main(["convert", "ad-synthetic", str(output), "--split", "test"]) == 0
    assert [one.text for one in read_documents(output)] == ["无皮疹"]
    assert main(["convert", "ad-synthetic", str(output), "--split", "dev"]) == 1
    assert "ad-synthetic has no split 'dev', only train, test" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["convert", "/no/such", "out.jsonl"], ["stats", "/no/such"]])
def test_an_input_that_is_not_there_is_told(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    assert "FileNotFoundError: there is no file or folder /no/such" in capsys.readouterr().err


def bar(**options) -> tqdm:
    return tqdm(file=SimpleNamespace(write=lambda text: None, flush=lambda: None), mininterval=0, miniters=1, **options)


def test_what_was_done_before_is_no_part_of_the_speed():
    counter = bar(total=10)
    count_finished(counter, 6)
    assert (counter.n, counter.initial) == (6, 6)
    counter.update(2)
    assert counter.n - counter.initial == 2
    count_finished(tqdm(disable=True), 6)  # of which there is no bar


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "bert-softmax").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class Watched:
    """A bar that notes at which count each document of the output was there."""

    def __init__(self):
        self.n, self.counts = 0, []

    def update(self, count=1):
        self.n += count
        self.counts.append(self.n)


def test_tagging_counts_documents_one_by_one():
    watched = Watched()
    documents = counted(iter(range(3)), watched)
    assert [next(documents), watched.n, next(documents), watched.n] == [0, 0, 1, 1]
    assert list(documents) == [2] and watched.counts == [1, 2, 3]


def test_each_process_counts_its_own_documents(monkeypatch):
    monkeypatch.setattr("hf_adner.audit.predict_files.predict_documents", lambda pipe, block, size: iter(block))
    parts = SimpleNamespace(finished=dict, write=lambda number, digest, found: list(found))
    documents = [Document(str(number), "红") for number in range(10)]
    counts = []
    for index in range(2):
        watched = Watched()
        write_parts(None, documents, parts, watched, block_size=2, batch_size=1, index=index, count=2)
        counts.append(watched.n)
    assert counts == [6, 4]


def test_calibration_counts_what_is_tagged_not_what_is_read(checkpoint, tmp_path, monkeypatch):
    """The pipeline reads many texts ahead."""
    read, seen = [], []

    def watched(found, **options):
        assert options["total"] is None or options["total"] == 40
        for number, entities in enumerate(found):
            seen.append((number, len(read)))
            yield entities

    monkeypatch.setattr("hf_adner.audit.recalibration.tqdm", watched)
    documents = [Document(str(number), "面部红斑", (Entity(2, 4, "Symptom"),)) for number in range(40)]
    write_documents(documents, tmp_path / "gold.jsonl")
    call = ["calibrate", checkpoint, str(tmp_path / "gold.jsonl"), "--output", str(tmp_path / "config.json")]
    main([*call, "--batch-size", "4", "--device", "cpu"])
    assert [number for number, _ in seen] == list(range(40))


@pytest.mark.parametrize("limit, taken", [(5, 2), (100, 4), (0, 0)])
def test_segmenting_counts_characters_up_to_the_limit(limit, taken, monkeypatch):
    bars = []

    def watched(**options):
        bars.append(bar(**{**options, "disable": False}))
        return bars[0]

    monkeypatch.setattr("hf_adner.pretraining.word_vectors.tqdm", watched)
    texts = ["面部红斑"] * 4
    assert list(_limited(texts, limit)) == texts[:taken]
    assert bars[0].total == min(limit, 16) and bars[0].n == min(4 * taken, bars[0].total)


def test_reading_counts_texts_of_one_large_file(tmp_path, monkeypatch):
    from hf_adner.pretraining.text import read_texts

    bars = []

    def watched(**options):
        bars.append(bar(**{**options, "disable": False}))
        return bars[0]

    monkeypatch.setattr("hf_adner.pretraining.text.tqdm", watched)
    (tmp_path / "notes.txt").write_text("红斑\n" * 7, encoding="utf-8")
    assert len(read_texts([tmp_path / "notes.txt"])) == bars[0].n == 7


def test_robustness_counts_texts_that_are_tagged(checkpoint, tmp_path, monkeypatch):
    from hf_adner import AdnerPipeline
    from hf_adner.audit.robustness import robustness_report

    bars = []

    def watched(**options):
        bars.append(bar(**{**options, "disable": False}))
        return bars[0]

    monkeypatch.setattr("hf_adner.audit.robustness.tqdm", watched)
    pipe = AdnerPipeline(
        model=AdnerForTokenClassification.from_pretrained(checkpoint),
        tokenizer=AdnerTokenizer.from_pretrained(checkpoint),
    )
    documents = [Document(str(number), "面部红斑，伴瘙痒。", (Entity(2, 4, "Symptom"),)) for number in range(5)]
    report = robustness_report(
        pipe.model, pipe.tokenizer, documents, families=["punctuation", "context-masking"], views=2
    )
    views = sum(row["views"] for row in report.families.values())
    assert bars[0].n == bars[0].total == 5 + views


def test_pages_have_the_colours_of_the_checkpoint(checkpoint, tmp_path):
    assert main(["predict", checkpoint, "--text", "面部红斑", "--output", str(tmp_path / "a.html")]) == 0
    assert "<mark" in (text := (tmp_path / "a.html").read_text(encoding="utf-8")) or "0 entities" in text
