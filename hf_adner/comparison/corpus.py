"""The corpus of a comparison: read, perturbed and counted once for all its runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datasets import Dataset, DatasetDict

from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.records import Document, EntitySpan
from hf_adner.perturb.context import EntitySurfaces
from hf_adner.perturb.registry import make_perturbation
from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.preparation import entity_types_of, load_splits

HELD_OUT = ("clause-shuffle", "confusions")
"""Families of perturbations that preserve labels and that no arm is trained on."""

Counts = list[list[int]]
"""Per document correct, predicted and gold entities."""


@dataclass(frozen=True)
class ComparedCorpus:
    """What all runs on a corpus share.

    Attributes:
        name: as in tables and file names.
        splits: `train`, `test` and, where there is one, `validation`.
        train: training documents.
        test: test documents.
        perturbed: per held-out family the test documents that it could change, by their number in `test`.
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
            ValueError: no test split, or a family that needs more than training documents or writes masks.
        """
        splits = load_splits(args)
        if "test" not in splits:
            raise ValueError(f"a comparison needs a test split; {name} has only {', '.join(splits)}")
        train, test = (list(documents_from_dataset(splits[split])) for split in ("train", "test"))
        surfaces = EntitySurfaces.from_documents(train)
        return cls(name, splits, train, test, {family: perturb(test, family, surfaces) for family in families})

    @property
    def types(self) -> list[str]:
        """Entity types of the training documents."""
        return entity_types_of(self.splits["train"])

    @property
    def digest(self) -> str:
        """Hash of every split's texts and entities: runs on other documents are not comparable."""
        hashed = hashlib.sha256()
        for split in sorted(self.splits):
            hashed.update(f"{split}\n{_content(self.splits[split])}".encode("utf-8", "surrogatepass"))
        return hashed.hexdigest()[:16]

    def strict_counts(self, predicted: Sequence[Sequence[EntitySpan]]) -> Counts:
        """Counts of the test documents; the gold is taken in full, nested entities too."""
        return [count(found, document.spans) for found, document in zip(predicted, self.test, strict=True)]

    def recall_counts(self, predicted: Sequence[Sequence[EntitySpan]], *, seen: bool) -> Counts:
        """Counts over the gold entities whose surface form does (or does not) occur with their label in training.

        Nothing else counts as predicted, so that the micro F1 of these counts is the recall.
        """
        known = {(entity.label, entity.text) for document in self.train for entity in document.entities}
        rows = []
        for found, document in zip(predicted, self.test, strict=True):
            gold = [
                (entity.start, entity.end, entity.label)
                for entity in document.entities
                if ((entity.label, entity.text) in known) == seen
            ]
            correct = count(found, gold)[0]
            rows.append([correct, len(gold), len(gold)])
        return rows


def _content(split: Dataset) -> str:
    rows = (
        [row["text"], [[one["start"], one["end"], one["label"]] for one in row["entities"]]]
        for row in split.select_columns(["text", "entities"])
    )
    return json.dumps(list(rows), ensure_ascii=False)


def count(predicted: Iterable[EntitySpan], gold: Iterable[EntitySpan]) -> list[int]:
    """Correct, predicted and gold entities of one document, as multisets."""
    predicted, gold = Counter(map(tuple, predicted)), Counter(map(tuple, gold))
    return [(predicted & gold).total(), predicted.total(), gold.total()]


def perturb(documents: Sequence[Document], family: str, surfaces: EntitySurfaces) -> dict[int, Document]:
    """The documents that a family can change, perturbed, by their number; the same for every call.

    Raises:
        ValueError: an unknown family, or one that needs more than surfaces of entities or writes masks.
    """
    options = {"surfaces": surfaces} if family == "entity-swap" else {}
    try:
        perturbation = make_perturbation(family, **options)
    except TypeError as error:
        raise ValueError(f"{family} needs more than the documents themselves ({error})") from None
    changed = {}
    for number, document in enumerate(documents):
        made = perturbation(document, f"{family} {number} {document.id}")
        if made is None or made.is_unchanged:
            continue
        if made.masked:
            raise ValueError(f"{family} writes masks, which texts as people write them do not hold")
        changed[number] = made.document
    return changed
