"""Names without the folders of a machine."""

import pytest

from hf_adner.cards.record import base_model_of, dataset_title, last_name, without_paths


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("ad-synthetic", "ad-synthetic"),
        ("/home/wang/derma/train.jsonl", "derma"),
        ("/home/wang/derma/", "derma"),
        ("derma.v2.jsonl", "derma"),
        ("train.jsonl", "train"),
        (r"C:\Users\wang\皮炎\Train.JSON", "皮炎"),
        ("/", "files"),
    ],
)
def test_dataset_title(source, title):
    assert dataset_title(source) == title


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("/srv/words.tsv+train", "words.tsv+train"),
        ("ad+../lists/words.tsv", "ad+words.tsv"),
        (r"D:\lists\words.tsv", "words.tsv"),
        ("~/v/vectors.txt", "vectors.txt"),
        ("stream_size=128,word_layer=lstm", "stream_size=128,word_layer=lstm"),
        ("vectors=/a/b.txt,x=1", "vectors=b.txt,x=1"),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_settings_lose_their_folders(value, told):
    assert without_paths(value) == told


def test_last_name():
    assert [last_name(path) for path in ("/a/b/", r"C:\a\b", "b", "/")] == ["b", "b", "b", "files"]


def test_base_model_is_a_name_on_the_hub(tmp_path, monkeypatch):
    assert base_model_of("hfl/chinese-macbert-base") == "hfl/chinese-macbert-base"
    assert base_model_of(None) is None and base_model_of(str(tmp_path)) is None and base_model_of("/gone/away") is None
    (tmp_path / "hfl" / "local").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert base_model_of("hfl/local") is None
