"""Corpus of a comparison, read and perturbed once for all runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from datasets import Dataset, DatasetDict

from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.records import Document, EntitySpan
from hf_adner.perturb.context import EntitySurfaces
from hf_adner.perturb.registry import HELD_OUT, make_perturbation
from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.preparation import entity_types_of, load_splits, sample

Counts = list[list[int]]
"""Correct, predicted and gold entities per document."""


@dataclass(frozen=True)
class ComparedCorpus:
    """Splits and perturbed test documents of a corpus.

    Attributes:
        name: name in tables and file names.
        splits: `train`, `test` and, if there is one, `validation`.
        train: training documents.
        test: test documents.
        perturbed: held-out perturbation -> index in `test` -> perturbed document, for the documents that it changed.
    """

    name: str
    splits: DatasetDict
    train: list[Document]
    test: list[Document]
    perturbed: dict[str, dict[int, Document]]

    @classmethod
    def load(cls, name: str, args: DatasetArguments, families: Iterable[str] = HELD_OUT) -> ComparedCorpus:
        """Read a corpus and perturb its test documents.

        Raises:
            ValueError: no test split, or a perturbation that needs more than training documents or inserts masks.
        """
        splits = load_splits(args)
        if "test" not in splits:
            raise ValueError(f"a comparison needs a test split; {name} has only {', '.join(splits)}")
        train, test = (list(documents_from_dataset(splits[split])) for split in ("train", "test"))
        surfaces = EntitySurfaces.from_documents(train)
        return cls(
            name, splits, train, test, {family: perturb_documents(test, family, surfaces) for family in families}
        )

    @property
    def types(self) -> list[str]:
        """Entity types of the training documents."""
        return entity_types_of(self.splits)

    @property
    def digests(self) -> dict[str, str]:
        """Hashes of the texts and entities: ``digest`` of the test documents, ``train_digest`` of all others."""
        others = {name: split for name, split in self.splits.items() if name != "test"}
        return {"digest": documents_digest({"test": self.splits["test"]}), "train_digest": documents_digest(others)}

    def sampled(self, size: int, seed: int) -> ComparedCorpus:
        """Return this corpus with a random sample of its training documents.

        Raises:
            ValueError: `size` is less than 1.
        """
        splits = DatasetDict({**self.splits, "train": sample(self.splits["train"], size, seed)})
        return replace(self, splits=splits, train=list(documents_from_dataset(splits["train"])))

    def strict_counts(self, predicted: Sequence[Sequence[EntitySpan]]) -> Counts:
        """Count matches in each test document; nested gold entities all count."""
        return [count_matches(spans, document.spans) for spans, document in zip(predicted, self.test, strict=True)]

    def boundary_counts(self, predicted: Sequence[Sequence[EntitySpan]]) -> Counts:
        """Count matches of starts and ends in each test document, whatever the label."""
        return [
            count_matches(_boundaries(spans), _boundaries(document.spans))
            for spans, document in zip(predicted, self.test, strict=True)
        ]

    def recall_counts(self, predicted: Sequence[Sequence[EntitySpan]], *, seen: bool) -> Counts:
        """Count gold entities whose surface form and label do (or do not) occur in training.

        The number of predicted entities is set to that of gold entities, so that the micro F1 of these counts is the
        recall.
        """
        known = {(entity.label, entity.text) for document in self.train for entity in document.entities}
        rows = []
        for spans, document in zip(predicted, self.test, strict=True):
            gold = [
                (entity.start, entity.end, entity.label)
                for entity in document.entities
                if ((entity.label, entity.text) in known) == seen
            ]
            correct = count_matches(spans, gold)[0]
            rows.append([correct, len(gold), len(gold)])
        return rows


def _boundaries(spans: Iterable[EntitySpan]) -> list[tuple[str, int]]:
    return [edge for start, end, _ in spans for edge in (("start", start), ("end", end))]


def documents_digest(splits: Mapping[str, Dataset]) -> str:
    """Return a hash of the texts and entities of splits."""
    hashed = hashlib.sha256()
    for name in sorted(splits):
        hashed.update(f"{name}\n{_content(splits[name])}".encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()[:16]


def _content(split: Dataset) -> str:
    rows = (
        [row["text"], [[entity["start"], entity["end"], entity["label"]] for entity in row["entities"]]]
        for row in split.select_columns(["text", "entities"])
    )
    return json.dumps(list(rows), ensure_ascii=False)


def count_matches(predicted: Iterable[EntitySpan], gold: Iterable[EntitySpan]) -> list[int]:
    """Count correct, predicted and gold entities of one document, as multisets."""
    predicted, gold = Counter(map(tuple, predicted)), Counter(map(tuple, gold))
    return [(predicted & gold).total(), predicted.total(), gold.total()]


def perturb_documents(documents: Sequence[Document], family: str, surfaces: EntitySurfaces) -> dict[int, Document]:
    """Return the perturbed documents by index, without those that the perturbation cannot change; deterministic.

    Raises:
        ValueError: an unknown perturbation, or one that needs more than entity surface forms or inserts masks.
    """
    options = {"surfaces": surfaces} if family == "entity-swap" else {}
    try:
        perturbation = make_perturbation(family, **options)
    except TypeError as error:
        raise ValueError(f"perturbation {family} cannot be made from the documents alone ({error})") from None
    changed = {}
    for number, document in enumerate(documents):
        perturbed = perturbation(document, f"{family} {number} {document.id}")
        if perturbed is None or perturbed.is_unchanged:
            continue
        if perturbed.masked:
            raise ValueError(f"perturbation {family} inserts masks, which real texts do not contain")
        changed[number] = perturbed.document
    return changed
