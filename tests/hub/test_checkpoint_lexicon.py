"""`adner lexicon`: words added to a checkpoint's folder, whole or not at all, and what the lexicon has."""

import shutil

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Lexicon
from hf_adner.cli import main
from hf_adner.hub import checkpoint_lexicon
from hf_adner.hub.checkpoint_files import checkpoint_to_publish

TEXTS = ["四肢红斑伴瘙痒", "外用软膏"]
SIZES = {"stream_size": 8, "num_stream_heads": 2, "lexicon_embedding_size": 4}
ENCODER = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 40,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["红斑", "瘙痒"], [3, 0]))
    torch.manual_seed(0)
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "m-dscmg", encoder_config=ENCODER, **SIZES)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(saved, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    (folder / "README.md").write_text("card", encoding="utf-8")
    (folder / "optimizer.pt").write_bytes(b"state")
    for name, file in (("private", "cache.bin"), ("global_table", "global_table.npz")):
        (folder / name).mkdir()
        (folder / name / file).write_bytes(b"\0")
    return folder


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("软膏\t7\n红斑\n紅斑\n\n四肢\n", encoding="utf-8")
    return path


def content(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def loaded(folder):
    return AdnerForTokenClassification.from_pretrained(folder), AdnerTokenizer.from_pretrained(folder)


def test_words_are_added_to_another_folder(checkpoint, words, tmp_path, capsys):
    before = content(checkpoint)
    assert main(["lexicon", str(checkpoint), "--add", str(words), "--output", str(tmp_path / "new")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 words added, 2 there already, 0 refused; the lexicon has 4 words"
    assert lines[1:] == ["added: '软膏', '四肢'", "there already: '红斑', '紅斑'", str(tmp_path / "new")]
    assert content(checkpoint) == before
    assert {"README.md", "global_table/global_table.npz"} <= content(tmp_path / "new").keys()
    assert not {"optimizer.pt", "private/cache.bin"} & content(tmp_path / "new").keys()
    (old, _), (model, tokenizer) = loaded(checkpoint), loaded(tmp_path / "new")
    assert tokenizer.lexicon.words == ("红斑", "瘙痒", "软膏", "四肢")
    assert tokenizer.lexicon.frequencies == (3, 0, 7, 0)
    table, before = (each.adner.dual_stream.lexicon.word_embeddings.weight for each in (model, old))
    assert torch.equal(table[:3], before) and len(table) == 5
    texts = ["红斑伴瘙痒", TEXTS[1]]
    found, expected = (
        AdnerPipeline(model=each, tokenizer=own)(texts, candidates=0.001)
        for each, own in ((model, tokenizer), loaded(checkpoint))
    )
    assert found[0] == expected[0] and found[1] != expected[1]
    shutil.rmtree(tmp_path / "new" / "global_table")
    checkpoint_to_publish(tmp_path / "new")


def test_words_are_added_in_place_and_all_other_files_stay(checkpoint, words, capsys):
    before = content(checkpoint)
    assert main(["lexicon", str(checkpoint), "--add", str(words)]) == 0
    assert "2 words added" in capsys.readouterr().out
    after = content(checkpoint)
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"config.json", "lexicon.json", "model.safetensors", "tokenizer_config.json"}
    loaded(checkpoint)[0].check_tokenizer(loaded(checkpoint)[1])
    assert {path.name for path in checkpoint.parent.iterdir()} == {"model", "words.tsv"}
    assert main(["lexicon", str(checkpoint), "--add", str(words)]) == 0
    assert "0 words added, 4 there already" in capsys.readouterr().out and content(checkpoint) == after


@pytest.mark.parametrize("in_place", [True, False])
def test_a_failure_leaves_everything_as_it_was(checkpoint, words, tmp_path, monkeypatch, in_place, capsys):
    before = content(tmp_path)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AdnerTokenizer, "save_pretrained", fail)
    output = [] if in_place else ["--output", str(tmp_path / "new")]
    assert main(["lexicon", str(checkpoint), "--add", str(words), *output]) == 1
    assert "No space left" in capsys.readouterr().err
    assert content(tmp_path) == before


def test_nothing_is_overwritten(checkpoint, words, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine", encoding="utf-8")
    assert main(["lexicon", str(checkpoint), "--add", str(words), "--output", str(tmp_path / "other")]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert content(tmp_path / "other") == {"notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("软膏\n四肢\tmany\n", "words.tsv:2: frequency is 'many', expected a whole number"),
        ("软膏\n\t3\n", "words.tsv:2 ('') is blank"),
        ("", "words.tsv: no word found"),
        (b"\xe8\xbd\xaf\n\xff\n\xe8\xbd\xaf\n\xe8\xbd\xaf\n", "words.tsv:2: byte 0xff is not utf-8"),
    ],
)
def test_files_that_are_no_word_list_are_refused_by_line(checkpoint, tmp_path, capsys, lines, message):
    path = tmp_path / "words.tsv"
    path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    before = content(checkpoint)
    assert main(["lexicon", str(checkpoint), "--add", str(path)]) == 1
    assert message in capsys.readouterr().err and content(checkpoint) == before


def test_the_lexicon_is_shown(checkpoint, capsys):
    assert main(["lexicon", str(checkpoint), "--text", "瘙痒，紅斑"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 words of 2 to 2 characters, 1 with a frequency"
    assert lines[1].startswith("origin list, hash ")
    assert lines[2:] == ["0-2\t瘙痒\t0", "3-5\t红斑\t3"]


def test_words_of_documents_are_not_shared(checkpoint, words, tmp_path):
    shutil.rmtree(checkpoint / "global_table")
    checkpoint_lexicon.add_words_to_checkpoint(checkpoint, words, origin="documents")
    with pytest.raises(ValueError, match="may be private"):
        checkpoint_to_publish(checkpoint)


def test_checkpoints_without_a_lexicon_and_missing_ones_say_so(tmp_path, words, capsys, monkeypatch):
    monkeypatch.setattr("hf_adner.hub.reachable._ask", lambda name, revision: None)  # the Hub has every model
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"]).save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    for arguments, message in (
        ([str(tmp_path / "plain"), "--add", str(words)], "'bilstm-crf' reads no lexicon"),
        ([str(tmp_path / "plain")], "has no lexicon"),
        ([str(tmp_path / "none"), "--add", str(words)], "there is no folder"),
        (["owner/name", "--add", str(words)], "is a name of the Hub"),
        ([str(tmp_path / "plain"), "--output", str(tmp_path / "new")], "give --add FILE"),
    ):
        assert main(["lexicon", *arguments]) == 1
        assert message in capsys.readouterr().err
