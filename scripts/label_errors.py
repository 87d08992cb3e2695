"""How well `adner review` finds errors: alter a share of the entities of ad-synthetic, and look for them.

Each altered entity is dropped, gets another label, other boundaries, or is put where there is none, in equal parts.
Prints the area under the ROC curve for each kind (against all entities that were left as they were; for dropped ones
against all other places where an entity may be missing) and the precision among the first errors of the ranked list.

    python scripts/label_errors.py --output runs/label_errors --documents 600 --folds 3
    python scripts/label_errors.py --output runs/label_errors --model runs/quickstart/model     # on the test split
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sklearn.metrics import roc_auc_score

from hf_adner import Document, Entity, write_documents
from hf_adner.audit.label_errors import LabelError, overlap
from hf_adner.comparison.annotation_review import ReviewArguments, review_annotation
from hf_adner.data.synthetic import DEFAULT_SIZES, generate_corpus
from hf_adner.files import write_json
from hf_adner.training.arguments import DatasetArguments, ModelArguments, TrainCommandArguments

DROPPED, RELABELLED, MOVED, INVENTED = ALTERATIONS = ("dropped", "other label", "other boundary", "invented")
Span = tuple[int, int, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--model", help="a checkpoint of `adner demo`, which has not seen the test split")
    parser.add_argument("--documents", type=int, default=600, help="of the training split, without --model")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=15)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=64, help="hidden size of the one-layer encoder")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    sizes = {**dict.fromkeys(DEFAULT_SIZES, 0), "train": args.documents}
    corpus = generate_corpus(sizes=sizes)["train"] if args.model is None else generate_corpus()["test"]
    documents, altered = altered_corpus(corpus, args.share, random.Random(args.seed))
    write_documents(documents, output / "gold.jsonl")
    report = review_annotation(
        ReviewArguments(args.model, args.folds, threshold=0.0),
        DatasetArguments(dataset=str(output / "gold.jsonl")),
        ModelArguments(architecture="m-dscmg", lexicon="ad", encoder_size=args.size, encoder_layers=1),
        TrainCommandArguments(
            output_dir=str(output),
            learning_rate=1e-3,
            head_learning_rate=1e-3,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=args.batch_size,
            seed=args.seed,
            disable_tqdm=True,
        ),
    )
    figures = {"entities": sum(len(document.entities) for document in documents), **measured(report.errors, altered)}
    write_json(output / "figures.json", figures)
    print(json.dumps(figures, indent=1))


def altered_corpus(
    documents: Sequence[Document], share: float, random: random.Random
) -> tuple[list[Document], dict[tuple[str, Span], str]]:
    """Return the documents with a share of entities altered, and each alteration by document and span.

    The span is that in the annotation; of a dropped entity that which it had.
    """
    labels = sorted({entity.label for document in documents for entity in document.entities})
    places = [(at, span) for at, document in enumerate(documents) for span in document.spans]
    random.shuffle(places)
    chosen = places[: round(share * len(places))]
    spans = [set(document.spans) for document in documents]
    altered: dict[tuple[str, Span], str] = {}
    for number, (at, span) in enumerate(chosen):
        kind = ALTERATIONS[number % len(ALTERATIONS)]
        document, (start, end, label) = documents[at], span
        if kind == DROPPED:
            new = None
        elif kind == RELABELLED:
            new = start, end, random.choice([other for other in labels if other != label])
        elif kind == MOVED:
            new = random.choice([(start - 1, end, label), (start, end + 1, label), (start + 1, end, label)])
        else:
            size = end - start
            begin = random.randrange(max(len(document.text) - size, 1))
            new = begin, begin + size, label
        if new is not None and not is_free(new, spans[at] - ({span} if kind != INVENTED else set()), document):
            continue
        spans[at] -= set() if kind == INVENTED else {span}
        spans[at] |= set() if new is None else {new}
        altered[document.id, span if new is None else new] = kind
    changed = [
        replace(document, entities=tuple(Entity(*span) for span in sorted(ones)))
        for document, ones in zip(documents, spans)
    ]
    return changed, altered


def is_free(span: Span, others: set[Span], document: Document) -> bool:
    """Return whether a span is in the text and overlaps no other."""
    start, end, _ = span
    inside = 0 <= start < end <= len(document.text) and document.text[start:end].strip()
    return bool(inside) and not any(start < other[1] and other[0] < end for other in others)


def missing_places(errors: Sequence[LabelError], dropped: Sequence[tuple[str, Span]]) -> dict[tuple[str, Span], float]:
    """Return the score of each place where an entity may be missing, those of dropped entities by their span.

    A dropped entity that no place touches has score 0; of several places that do, the first counts.
    """
    found: dict[tuple[str, Span], float] = {}
    for one in errors:
        if one.annotated is None and one.suggested is not None:
            found.setdefault(found_by(one, dropped), one.score)
    return {**dict.fromkeys(dropped, 0.0), **found}


def found_by(error: LabelError, dropped: Sequence[tuple[str, Span]]) -> tuple[str, Span | None]:
    """Return document and span of an error: of the dropped entity that a missing one touches, if there is one."""
    if error.annotated is not None or error.suggested is None:
        return error.document, error.annotated
    touched = [span for name, span in dropped if name == error.document and overlap(span, error.suggested)]
    return error.document, touched[0] if touched else error.suggested


def measured(errors: Sequence[LabelError], altered: dict[tuple[str, Span], str]) -> dict:
    """Return areas under the ROC curve by kind of alteration, and precision among the first errors."""
    kinds = {kind: [key for key, value in altered.items() if value == kind] for kind in ALTERATIONS}
    annotated = {(one.document, one.annotated): one.score for one in errors if one.annotated is not None}
    missing = missing_places(errors, kinds[DROPPED])
    areas = {}
    for kind, keys in kinds.items():
        places = missing if kind == DROPPED else annotated
        scores, others = [places[key] for key in keys], [score for key, score in places.items() if key not in altered]
        areas[kind] = {
            "number": len(keys),
            "auroc": roc_auc_score([1] * len(scores) + [0] * len(others), scores + others),
        }
    found: dict[tuple[str, Span | None], LabelError] = {}
    for one in errors:
        found.setdefault(found_by(one, kinds[DROPPED]), one)
    hits = [key in altered for key in found]
    count = len(altered)
    named = {DROPPED: "missing", RELABELLED: "label", MOVED: "boundary", INVENTED: "superfluous"}
    likely = [key for key in altered if key in found and found[key].score > 0.5]
    return {
        "altered": count,
        "areas": areas,
        "precision_at": {str(place): sum(hits[:place]) / place for place in (20, 50, 100, count) if place <= len(hits)},
        "above_half": sum(one.score > 0.5 for one in errors),
        "recall_above_half": len(likely) / count,
        "kind_right": sum(found[key].kind == named[altered[key]] for key in likely) / max(len(likely), 1),
    }


if __name__ == "__main__":
    main()
