"""Review of an annotation by cross-validation: each fold's documents are read by a model trained on the others."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import set_seed

from hf_adner.audit.label_errors import (
    DEFAULT_THRESHOLD,
    LabelError,
    ReviewReport,
    check_threshold,
    label_errors,
    overlap,
    overlap_of_one_label,
    rank_errors,
    span_posteriors,
)
from hf_adner.comparison.corpus import documents_digest
from hf_adner.comparison.run import training_settings
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.records import Document
from hf_adner.data.splits import dataset_groups, k_folds
from hf_adner.files import read_json, write_file, write_json
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.reporting import code_points
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.preparation import (
    build_model,
    build_tokenizer,
    entity_types_of,
    hold_out,
    load_splits,
)
from hf_adner.training.run import train

logger = logging.getLogger(__name__)

ERRORS_FILE, TABLE_FILE, PAGE_FILE = "label_errors.jsonl", "label_errors.md", "label_errors.html"
FOLDS = "folds"

LEAST_KEPT = 0.001
"""Score of the errors that a fold keeps."""


@dataclass
class ReviewArguments:
    """What is reviewed, and by which models."""

    model: str | None = field(
        default=None,
        metadata={"help": "a checkpoint that was not trained on the documents (default: train one for each fold)"},
    )
    folds: int = field(default=5, metadata={"help": "folds of the cross-validation, without --model"})
    threshold: float = field(
        default=DEFAULT_THRESHOLD, metadata={"help": "least probability of an error that is written, 0 to 1"}
    )
    rows: int = field(default=20, metadata={"help": "errors in the table that is printed"})


def review_annotation(
    review: ReviewArguments,
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> ReviewReport:
    """Rank the probable errors of an annotation and write them as JSON lines, a table and a page into `output_dir`.

    All documents are pooled. Finished folds are kept in `output_dir/folds`, which is as private as the documents, so
    that an interrupted review goes on; their models are not kept.

    Args:
        review: a model, or the number of folds.
        dataset_args: the documents.
        model_args, training_args: of the models of the folds.

    Raises:
        ValueError: as `hf_adner.comparison.cross_validation.cross_validate` and `review_documents`, or results of
            other arguments in `output_dir`.
    """
    check_threshold(review.threshold)
    output = Path(training_args.output_dir)
    pooled = concatenate_datasets(list(load_splits(replace(dataset_args, validation_share=0.0)).values()))
    documents = list(documents_from_dataset(pooled))
    if review.model is None:
        found = _held_out(review.folds, pooled, dataset_args, model_args, training_args)
        labels = entity_types_of({"train": pooled})
        report = rank_errors(documents, found, review.threshold)
    else:
        model = AdnerForTokenClassification.from_pretrained(review.model)
        pipe = AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(review.model))
        labels = model.config.entity_types
        report = rank_errors(documents, _errors(pipe, documents, training_args), review.threshold)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in report.rows())
    write_file(output / ERRORS_FILE, lines, "utf-8")
    write_file(output / TABLE_FILE, [report.to_markdown(len(report.errors))], "utf-8")
    write_file(output / PAGE_FILE, report.page(labels), "utf-8")
    return report


def _errors(
    pipe: AdnerPipeline, documents: Sequence[Document], training_args: AdnerTrainingArguments
) -> Iterator[list[LabelError]]:
    """Yield the probable errors of each document by a model that did not read it."""
    excludes = overlap_of_one_label if pipe.model.config.is_per_label else overlap
    labels = [entity.label for document in documents for entity in document.entities]
    if unknown := sorted(set(labels) - set(pipe.model.config.entity_types)):
        logger.warning(
            "the model has no label %s: %d entities that have it are listed as errors, whether they are or not",
            " or ".join(map(code_points, unknown)),
            sum(map(labels.count, unknown)),
        )
    batch_size = training_args.per_device_eval_batch_size
    posteriors = span_posteriors(pipe, documents, batch_size, total=len(documents))
    for document, one in zip(documents, posteriors, strict=True):
        yield [error for error in label_errors(document, one, excludes) if error.score > LEAST_KEPT]


def _held_out(
    folds: int,
    pooled: Dataset,
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> list[list[LabelError]]:
    """Return the probable errors of each document by the model that did not read it."""
    found: list[list[LabelError]] = [[] for _ in range(len(pooled))]
    groups = dataset_groups(pooled, dataset_args.group_key)
    for number, (inner, outer) in enumerate(k_folds(groups, folds, seed=dataset_args.sample_seed)):
        split = pooled.select(inner), pooled.select(outer)
        for place, errors in zip(outer, _fold(number, split, dataset_args, model_args, training_args), strict=True):
            found[place] = errors
    return found


def _fold(
    number: int,
    split: tuple[Dataset, Dataset],
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> list[list[LabelError]]:
    """Return the probable errors of the documents of a fold, read from its file if there is one."""
    folder = Path(training_args.output_dir) / FOLDS
    file = folder / f"fold-{number}.json"
    arguments = {"dataset": asdict(dataset_args), "model": asdict(model_args), "seed": training_args.seed}
    arguments |= {"training": training_settings(training_args)}
    arguments |= {"documents": documents_digest({"train": split[0], "test": split[1]})}
    arguments = json.loads(json.dumps(arguments))
    if file.exists():
        return _finished(file, arguments)
    train_rows, test_rows = split
    splits = DatasetDict(hold_out(train_rows, dataset_args))
    set_seed(training_args.seed)
    tokenizer = build_tokenizer(model_args, splits["train"])
    model = build_model(model_args, tokenizer, entity_types_of(splits))
    work = folder / f"fold-{number}"
    train(model, tokenizer, splits, dataset_args, replace(training_args, output_dir=str(work)))
    pipe = AdnerPipeline(model=model, tokenizer=tokenizer)
    found = list(_errors(pipe, list(documents_from_dataset(test_rows)), training_args))
    write_json(file, {"arguments": arguments, "errors": [[asdict(error) for error in errors] for errors in found]})
    shutil.rmtree(work, ignore_errors=True)
    return found


def _finished(file: Path, arguments: dict[str, Any]) -> list[list[LabelError]]:
    content = read_json(file)
    if not isinstance(content.get("errors"), list) or not isinstance(content.get("arguments"), dict):
        raise ValueError(f"{file} does not hold the errors of a fold; remove it to train the fold again")
    if changed := [name for name, value in content["arguments"].items() if arguments.get(name) != value]:
        told = ", ".join(changed)
        raise ValueError(f"{file} was made with other arguments ({told}); choose another --output-dir or remove it")
    return [[_error(**row) for row in rows] for rows in content["errors"]]


def _error(annotated: Sequence[Any] | None, suggested: Sequence[Any] | None, **fields: Any) -> LabelError:
    """Return an error whose entities were read from JSON."""
    spans = {"annotated": annotated, "suggested": suggested}
    return LabelError(**fields, **{name: None if span is None else tuple(span) for name, span in spans.items()})
