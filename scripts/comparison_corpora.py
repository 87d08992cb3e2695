"""Documents that `comparison.py` trains and scores on: sentences of real corpora, and parts to choose settings on."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.formats.writing import write_documents
from hf_adner.data.records import Document
from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.preparation import load_splits

SENTENCE = range(8, 65)
"""Characters of a training document: single sentences, so that a hundred of them are few and a run takes seconds."""

DEVELOPMENT_LENGTHS = range(8, 129)
TEST_DOCUMENTS = 500


class Corpus(NamedTuple):
    """Files of a corpus below the data folder.

    Attributes:
        train: training documents.
        test: test documents.
        development: documents to choose settings on; None if there are none.
        held_out: number of training documents that are never trained on, to choose settings on.
        lengths: characters of a training document.
    """

    train: str
    test: str
    development: str | None = None
    held_out: int = 0
    lengths: range = SENTENCE


CORPORA = {
    "cmedqaner": Corpus("cmedqaner/train.jsonl", "cmedqaner/test.jsonl", "cmedqaner/dev.jsonl", 150),
    "cmeee": Corpus("cmeee/CMeEE_train.json", "cmeee/CMeEE_dev.json", None, 400),
    "resume": Corpus("resume/train.char.bmes", "resume/test.char.bmes", "resume/dev.char.bmes"),
    "ad-real": Corpus("ad_real/train.jsonl", "ad_real/dev.jsonl", None, 40, range(1, 300)),
}


class Parts(NamedTuple):
    """Written documents of a corpus.

    Attributes:
        train: documents to draw training samples from.
        scored: development or test documents.
    """

    train: Path
    scored: Path


def write_parts(name: str, data: Path, folder: Path, development: bool) -> Parts:
    """Write training documents, and those that are scored; deterministic, and skipped where they exist.

    Held-out training documents are left out of both trainings, but for ad-real, whose test runs use all 120 lines.

    Args:
        name: of the corpus, a key of `CORPORA`.
        data: folder of the corpora.
        folder: where to write.
        development: whether to score development documents, not test documents.
    """
    corpus = CORPORA[name]
    kind = "development" if development else "test"
    parts = Parts(folder / f"{name}-{kind}-train.jsonl", folder / f"{name}-{kind}.jsonl")
    if all(path.exists() for path in parts):
        return parts
    pool = _without_repeats(_read(data / corpus.train))
    random.Random(1234).shuffle(pool)
    held_out = pool[: corpus.held_out]
    train = pool if name == "ad-real" and not development else pool[corpus.held_out :]
    if development:
        scored = (_read(data / corpus.development) if corpus.development else []) + held_out
        texts = {document.text for document in train}
        scored = [one for one in scored if len(one.text) in DEVELOPMENT_LENGTHS and one.text not in texts]
    else:
        scored = _read(data / corpus.test)
        random.Random(0).shuffle(scored)
        scored = scored[:TEST_DOCUMENTS]
    folder.mkdir(parents=True, exist_ok=True)
    write_documents((one for one in train if len(one.text) in corpus.lengths), parts.train)
    write_documents(scored, parts.scored)
    return parts


def _read(path: Path) -> list[Document]:
    rows = load_splits(DatasetArguments(str(path), validation_share=0.0))["train"]
    return list(documents_from_dataset(rows))


def _without_repeats(documents: Iterable[Document]) -> list[Document]:
    return list({document.text: document for document in documents}.values())
