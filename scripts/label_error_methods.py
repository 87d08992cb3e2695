"""Whether cleanlab's scores of tokens find errors of an annotation better than `adner review`: the same posteriors.

Alters annotated documents as `label_errors.py` does. They are read by `--model`, which must not have been trained on
them, or each fold by a model trained on the others: once for the posteriors of spans that `adner review` ranks by, once
for the posteriors of BIO labels that cleanlab's token classification takes (Wang and Mueller 2022, arXiv:2210.03920).
Prints, as means over the seeds with least and greatest value,

* the area under the ROC curve for each kind of alteration; cleanlab's score of an entity is that of its worst token,
  the unaltered places are the same for all;
* average precision and the precision among the first 20 and 100 places of each method's own list, and of a list by the
  posteriors of whole spans. A token in the entity of one that is higher in the list, or outside of entities beside it,
  is the same place; a place is right if it touches an alteration.

    pip install cleanlab
    python scripts/label_error_methods.py --output runs/label_error_methods
    python scripts/label_error_methods.py --output runs/label_error_methods --model runs/quickstart/model
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from cleanlab.token_classification.filter import find_label_issues
from cleanlab.token_classification.rank import get_label_quality_scores
from label_errors import ALTERATIONS, DROPPED, MOVED, Span, altered_corpus, missing_places
from sklearn.metrics import roc_auc_score
from transformers import set_seed

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Document, read_documents
from hf_adner.audit.label_errors import LEAST_SUGGESTED, LabelError, overlap, review_documents, span_posteriors
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.splits import groups_of, k_folds
from hf_adner.data.synthetic import DEFAULT_SIZES, generate_corpus
from hf_adner.files import write_json
from hf_adner.model.labels_adner import bio_labels, spans_to_bio
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import DatasetArguments, ModelArguments, TrainCommandArguments
from hf_adner.training.preparation import build_model, build_tokenizer, entity_types_of, hold_out
from hf_adner.training.run import train

OURS, WHOLE = "adner review", "posteriors of whole spans"
SCORES = ("self_confidence", "normalized_margin")
ISSUES = "find_label_issues"
BOTH = "adner review, places of find_label_issues first"
BATCH_SIZE = 16


class Read(NamedTuple):
    """What a model that did not read a document holds: posteriors of spans, and of labels (characters, labels)."""

    spans: Mapping[Span, float]
    labels: np.ndarray


class Place(NamedTuple):
    """Characters of the document with this number that are listed as a probable error."""

    document: int
    start: int
    end: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", help="a checkpoint that has not seen the documents, such as that of `adner demo`")
    parser.add_argument("--gold", help="documents (default: of ad-synthetic, with --model the test split)")
    parser.add_argument("--documents", type=int, default=200, help="of the training split, without --model and --gold")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--size", type=int, default=64, help="hidden size of the one-layer encoder")
    args = parser.parse_args()
    corpus = documents_of(args)
    labels = bio_labels(sorted({entity.label for document in corpus for entity in document.entities}))
    readings: list[Read] = []
    if args.model is not None:  # it does not depend on the alterations
        model, tokenizer = (kind.from_pretrained(args.model) for kind in (AdnerForTokenClassification, AdnerTokenizer))
        readings = read_all(AdnerPipeline(model=model, tokenizer=tokenizer), corpus, labels)
    rows = []
    for seed in args.seeds:
        documents, altered = altered_corpus(corpus, args.share, random.Random(seed))
        held = readings or held_out_readings(documents, labels, seed, args)
        figures = {"entities": sum(len(one.entities) for one in documents), "altered": len(altered)}
        figures |= measured(documents, labels, held, altered, {one.id: one for one in corpus})
        write_json(Path(args.output) / f"seed-{seed}.json", figures)
        rows.append(figures)
    print(f"{rows[0]['altered']} alterations beside {rows[0]['entities']} entities\n")
    print(table(rows, "areas", ALTERATIONS))
    print(table(rows, "lists", ("average precision", "at 20", "at 100")))


def documents_of(args: argparse.Namespace) -> list[Document]:
    """Return the documents, those without overlapping entities."""
    if args.gold is not None:
        return [one for one in read_documents(args.gold) if not one.has_overlaps]
    if args.model is not None:
        return generate_corpus()["test"]
    return generate_corpus(sizes={**dict.fromkeys(DEFAULT_SIZES, 0), "train": args.documents})["train"]


# ---- reading --------------------------------------------------------------------------------------------------------


def held_out_readings(
    documents: Sequence[Document], labels: Sequence[str], seed: int, args: argparse.Namespace
) -> list[Read]:
    """Return what models hold of the documents that they were not trained on; no epoch is chosen, to save time."""
    dataset, found = dataset_from_documents(documents), {}
    model_args = ModelArguments(architecture="m-dscmg", lexicon="ad", encoder_size=args.size, encoder_layers=1)
    training = TrainCommandArguments(
        output_dir=str(Path(args.output) / "work"),
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        num_train_epochs=args.epochs,
        per_device_train_batch_size=8,
        seed=seed,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        disable_tqdm=True,
    )
    data_args = DatasetArguments(dataset="", validation_share=0.0)
    for inner, outer in k_folds(groups_of(documents), args.folds, seed=data_args.sample_seed):
        splits = hold_out(dataset.select(inner), data_args)
        set_seed(seed)
        tokenizer = build_tokenizer(model_args, splits["train"])
        model = build_model(model_args, tokenizer, entity_types_of(splits))
        train(model, tokenizer, splits, data_args, training)
        pipe = AdnerPipeline(model=model, tokenizer=tokenizer)
        found.update(zip(outer, read_all(pipe, [documents[place] for place in outer], labels)))
    return [found[place] for place in range(len(documents))]


def read_all(pipe: AdnerPipeline, documents: Sequence[Document], labels: Sequence[str]) -> list[Read]:
    """Return both kinds of posteriors; labels that the model does not know have probability 0."""
    spans = span_posteriors(pipe, documents, total=len(documents))
    return [Read(*both) for both in zip(spans, label_posteriors(pipe, documents, labels))]


@torch.no_grad()
def label_posteriors(pipe: AdnerPipeline, documents: Sequence[Document], labels: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield the posterior marginals of BIO labels in each document, (characters, labels)."""
    known = pipe.model.config.labels
    pipe.model.eval()
    for first in range(0, len(documents), BATCH_SIZE):
        texts = [document.text for document in documents[first : first + BATCH_SIZE]]
        logits = pipe.model(**pipe.preprocess(texts).to(pipe.device)).logits.double().exp().cpu().numpy()
        for text, values in zip(texts, logits):
            inside = values[1 : len(text) + 1]
            columns = [inside[:, known.index(one)] if one in known else np.zeros(len(text)) for one in labels]
            yield np.stack(columns, 1)


# ---- scoring --------------------------------------------------------------------------------------------------------


def measured(
    documents: Sequence[Document],
    labels: Sequence[str],
    readings: Sequence[Read],
    altered: Mapping[tuple[str, Span], str],
    originals: Mapping[str, Document],
) -> dict:
    """Return for each method the areas under the ROC curve by kind of alteration, and the quality of its list."""
    errors = review_documents(documents, [one.spans for one in readings], threshold=0.0).errors
    given = [[labels.index(tag) for tag in spans_to_bio(document.spans, len(document.text))] for document in documents]
    probabilities = [one.labels for one in readings]
    quality = {
        name: [np.asarray(one) for one in get_label_quality_scores(given, probabilities, token_score_method=name)[1]]
        for name in SCORES
    }
    issues = find_label_issues(given, probabilities)
    numbers = {document.id: number for number, document in enumerate(documents)}
    ours = [Place(numbers[one.document], *(one.annotated or one.suggested)[:2]) for one in errors]
    tokens = {name: worst_first(scores) for name, scores in quality.items()}
    tokens[ISSUES] = [Place(number, token, token + 1) for number, token in issues]
    flagged = set(issues)
    lists = {
        OURS: ours,
        WHOLE: by_whole_spans(documents, readings),
        **{name: one_place_each(one, documents) for name, one in tokens.items()},
    }
    lists[BOTH] = sorted(ours, key=lambda one: not any((one[0], at) in flagged for at in range(one.start, one.end)))
    wrong = [Place(numbers[name], *hull(span, originals[name].spans, kind)) for (name, span), kind in altered.items()]
    return {
        "areas": areas(errors, numbers, quality, altered),
        "lists": {name: list_quality(places, wrong) for name, places in lists.items()},
    }


def areas(
    errors: Sequence[LabelError],
    numbers: Mapping[str, int],
    quality: Mapping[str, Sequence[np.ndarray]],
    altered: Mapping[tuple[str, Span], str],
) -> dict[str, dict[str, float]]:
    """Return for each method and kind of alteration the area under the ROC curve, against what was left as it was."""
    annotated = {(one.document, one.annotated): one.score for one in errors if one.annotated is not None}
    missing = missing_places(errors, [key for key, kind in altered.items() if kind == DROPPED])

    def worst(name: str, key: tuple[str, Span]) -> float:
        return 1 - quality[name][numbers[key[0]]][key[1][0] : key[1][1]].min()

    found: dict[str, dict[str, float]] = {name: {} for name in (OURS, *quality)}
    for kind in ALTERATIONS:
        places = missing if kind == DROPPED else annotated
        keys = [key for key in places if altered.get(key, kind) == kind]
        truth = [key in altered for key in keys]
        found[OURS][kind] = roc_auc_score(truth, [places[key] for key in keys])
        for name in quality:
            found[name][kind] = roc_auc_score(truth, [worst(name, key) for key in keys])
    return found


def hull(span: Span, before: Sequence[Span], kind: str) -> tuple[int, int]:
    """Return the characters whose label is wrong or stands in a wrong entity: for a moved one both places of it."""
    start, end, label = span
    was = [one for one in before if kind == MOVED and one[2] == label and one[0] < end and start < one[1]]
    return min([start, *(one[0] for one in was)]), max([end, *(one[1] for one in was)])


def by_whole_spans(documents: Sequence[Document], readings: Sequence[Read]) -> list[Place]:
    """Return annotated entities by 1 minus their posterior, and spans beside them by theirs, the highest first."""
    rows: list[tuple[float, Place]] = []
    for number, (document, read) in enumerate(zip(documents, readings)):
        rows += [(1 - read.spans.get(span, 0.0), Place(number, *span[:2])) for span in document.spans]
        for span, value in read.spans.items():
            if value > LEAST_SUGGESTED and not any(overlap(span, other) for other in document.spans):
                rows.append((value, Place(number, *span[:2])))
    return [place for _, place in sorted(rows, key=lambda row: -row[0])]


def worst_first(scores: Sequence[np.ndarray]) -> list[Place]:
    """Return all characters, those of the lowest quality first."""
    rows = sorted((value, number, at) for number, one in enumerate(scores) for at, value in enumerate(one.tolist()))
    return [Place(number, at, at + 1) for _, number, at in rows]


def one_place_each(tokens: Sequence[Place], documents: Sequence[Document]) -> list[Place]:
    """Drop tokens in the same entity as one before them in the list and, outside of entities, those beside one."""
    kept, entities, outside = [], set(), set()
    for place in tokens:
        number, at, _ = place
        entity = next((one for one in documents[number].spans if one[0] <= at < one[1]), None)
        if entity is not None:
            known = (number, entity) in entities
            entities.add((number, entity))
        else:
            known = (number, at - 1) in outside or (number, at + 1) in outside
            outside.add((number, at))
        if not known:
            kept.append(place)
    return kept


def list_quality(places: Sequence[Place], wrong: Sequence[Place]) -> dict[str, float]:
    """Return average precision, and the precision among the first 20 and 100, of a ranked list of places.

    A place that touches an alteration that is already found is left out. Alterations that are not in the list count
    as found with precision 0.
    """
    hits = list(_hits(places, wrong))
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    return {
        "average precision": float(precision[np.asarray(hits, bool)].sum() / len(wrong)),
        "at 20": float(np.mean(hits[:20])),
        "at 100": float(np.mean(hits[:100])),
        "places": len(hits),
    }


def _hits(places: Sequence[Place], wrong: Sequence[Place]) -> Iterator[bool]:
    left = set(wrong)
    for place in places:
        touched = [one for one in wrong if one[0] == place[0] and one.start < place.end and place.start < one.end]
        new = left.intersection(touched)
        if new or not touched:
            yield bool(new)
        left -= new


def table(rows: Sequence[Mapping], part: str, columns: Sequence[str]) -> str:
    """Return a Markdown table of means over the seeds, with least and greatest value."""
    lines = []
    for method in rows[0][part]:
        values = [[row[part][method][column] for row in rows] for column in columns]
        lines.append((method, *(f"{np.mean(one):.3f} ({min(one):.3f} to {max(one):.3f})" for one in values)))
    return markdown_table(("method", *columns), lines) + "\n"


if __name__ == "__main__":
    main()
