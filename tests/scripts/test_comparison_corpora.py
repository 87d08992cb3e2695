"""scripts/comparison_corpora.py: what is trained on is never scored."""

import pytest

from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.formats.writing import write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.preparation import load_splits


@pytest.fixture(scope="module")
def corpora(load_script):
    return load_script("comparison_corpora")


def write_notes(path, numbers):
    notes = []
    for place, number in enumerate(numbers):
        text = f"第{number}例湿疹伴瘙痒" + "。" * (number % 90)
        start = text.index("湿疹")
        notes.append(Document(str(place), text, (Entity(start, start + 2, "Disease"),)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_documents(notes, path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_notes(folder / "cmedqaner" / "train.jsonl", [*range(1, 99), *range(1, 99), *range(201, 400)])
    write_notes(folder / "cmedqaner" / "dev.jsonl", [*range(95, 99), *range(400, 450)])
    write_notes(folder / "cmedqaner" / "test.jsonl", range(500, 560))
    write_notes(folder / "ad_real" / "train.jsonl", range(1, 99))
    write_notes(folder / "ad_real" / "dev.jsonl", range(100, 120))
    return folder


def texts_of(path):
    rows = load_splits(DatasetArguments(str(path), validation_share=0.0))["train"]
    return [document.text for document in documents_from_dataset(rows)]


def test_settings_are_chosen_on_documents_that_are_not_trained_on(corpora, data, tmp_path):
    trained = set()
    for development in (True, False):
        parts = corpora.write_parts("cmedqaner", data, tmp_path, development)
        train, scored = texts_of(parts.train), texts_of(parts.scored)
        assert len(set(train)) == len(train) and all(8 <= len(text) <= 64 for text in train)
        assert not set(train) & set(scored) and scored
        trained |= set(train)
    development = set(texts_of(tmp_path / "cmedqaner-development.jsonl"))
    assert not trained & development
    held_out = [text for text in development if int(text[1 : text.index("例")]) < 400]
    assert held_out, "documents held out of the training part are scored, too"


def test_all_lines_of_the_smallest_corpus_are_for_training_when_it_is_tested(corpora, data, tmp_path):
    development = corpora.write_parts("ad-real", data, tmp_path, development=True)
    test = corpora.write_parts("ad-real", data, tmp_path, development=False)
    assert len(texts_of(development.train)) == 98 - 40 and len(texts_of(development.scored)) <= 40
    assert len(texts_of(test.train)) == 98 and len(texts_of(test.scored)) == 20


def test_parts_are_written_once_and_are_always_the_same(corpora, data, tmp_path):
    first = corpora.write_parts("ad-real", data, tmp_path / "a", development=True)
    before = first.train.read_bytes(), first.train.stat().st_mtime_ns
    again = corpora.write_parts("ad-real", data, tmp_path / "a", development=True)
    other = corpora.write_parts("ad-real", data, tmp_path / "b", development=True)
    assert again == first and (first.train.read_bytes(), first.train.stat().st_mtime_ns) == before
    assert other.train.read_bytes() == before[0]
