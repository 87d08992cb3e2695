"""Part files: named by what they are made from, complete or absent."""

import pytest

from hf_adner.audit.predict_files import PartFiles, block_digest, blocks
from hf_adner.data.records import Document, Entity

DOCUMENTS = [Document("a", "红斑", (Entity(0, 2, "Symptom"),)), Document("b", ""), Document("c", "瘙痒", meta={"x": 1})]


def test_blocks_keep_order_and_the_rest():
    assert [[one.id for one in block] for block in blocks(iter(DOCUMENTS), 2)] == [["a", "b"], ["c"]]
    assert list(blocks([], 2)) == []
    with pytest.raises(ValueError, match="found 0"):
        next(blocks(DOCUMENTS, 0))


def test_a_digest_tells_ids_texts_and_meta_apart_but_not_predictions():
    changed = [Document("A", "红斑"), Document("a", "红疹"), Document("a", "红斑", meta={"x": 2})]
    digests = {block_digest([one]) for one in [DOCUMENTS[0], *changed]}
    assert len(digests) == 4
    assert block_digest([Document("a", "红斑")]) == block_digest(DOCUMENTS[:1])
    assert block_digest(DOCUMENTS[:2]) != block_digest(DOCUMENTS[1::-1])


def test_parts_come_back_in_order(tmp_path):
    parts = PartFiles(tmp_path / "out.parts")
    with parts.locked():
        parts.claim({"seed": 1, "pair": (1, 2)})
        parts.write(1, "f" * 16, DOCUMENTS[2:])
        parts.write(0, "0" * 16, DOCUMENTS[:2])
        assert parts.finished() == {0: "0" * 16, 1: "f" * 16}
        assert list(parts.documents(2)) == DOCUMENTS
        with pytest.raises(ValueError, match=r"3 blocks, but parts \[2\] are missing"):
            parts.documents(3)
    parts.check({"seed": 1, "pair": [1, 2]})
    with pytest.raises(ValueError, match=r"seed was 1, now 2; word was None, now 'x'"):
        parts.check({"seed": 2, "word": "x", "pair": [1, 2]})
    parts.remove()
    assert not list(tmp_path.iterdir())


def test_no_parts_are_no_documents(tmp_path):
    parts = PartFiles(tmp_path / "out.parts")
    with parts.locked():
        parts.claim({})
        assert list(parts.documents(0)) == []
