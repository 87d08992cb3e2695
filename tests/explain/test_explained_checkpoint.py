"""Checkpoints with their explainer and global table."""

import pytest

from hf_adner import Document, Entity
from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.explain.global_table import GlobalTable

DOCUMENTS = [Document("d1", "反复红斑伴瘙痒", (Entity(2, 4, "Disease"), Entity(5, 7, "Disease")))]


@pytest.fixture
def folder(build, tmp_path):
    case = build("bert-crf")
    case.model.save_pretrained(tmp_path / "model")
    case.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_without_a_table_the_explainer_is_local(folder):
    checkpoint = ExplainedCheckpoint.load(str(folder), device="cpu")
    assert checkpoint.table is None and checkpoint.shown_table is None
    assert checkpoint.explainer().name == "grad-x-input"
    assert checkpoint.explainer("occlusion", target="start").target.name == "start"
    with pytest.raises(ValueError, match="need a global table"):
        checkpoint.explainer("fused")


def test_a_table_is_built_beside_the_checkpoint_and_found_again(folder):
    built = ExplainedCheckpoint.load(str(folder), device="cpu", build_from=DOCUMENTS)
    assert built.table.labels == ["Disease"] and built.explainer().name == "fused"
    assert GlobalTable.load(folder / "private" / "global_table").labels == ["Disease"]
    again = ExplainedCheckpoint.load(str(folder), device="cpu")
    assert again.table.min_documents == 5 and len(again.shown_table) == 0  # one document may not be told
    assert again.explainer("global").name == "global"


def test_a_table_elsewhere(folder, tmp_path):
    place = tmp_path / "table"
    with pytest.raises(FileNotFoundError, match="holds no global table"):
        ExplainedCheckpoint.load(str(folder), device="cpu", table_folder=place)
    ExplainedCheckpoint.load(str(folder), device="cpu", table_folder=place, build_from=DOCUMENTS)
    assert not (folder / "private").exists()
    checkpoint = ExplainedCheckpoint.load(str(folder), device="cpu", table_folder=place)
    assert checkpoint.table.min_documents is None and checkpoint.shown_table.min_documents == 5
