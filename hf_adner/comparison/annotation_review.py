"""Review of an annotation by cross-validation: each fold's documents are read by a model trained on the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import set_seed

from hf_adner.audit.label_errors import (
    DEFAULT_THRESHOLD,
    ReviewReport,
    overlap,
    overlap_of_one_label,
    review_documents,
    span_posteriors,
)
from hf_adner.comparison.corpus import documents_digest
from hf_adner.comparison.run import training_settings
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.records import EntitySpan
from hf_adner.data.splits import dataset_groups, k_folds
from hf_adner.files import read_json, write_file, write_json
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.preparation import (
    build_model,
    build_tokenizer,
    entity_types_of,
    hold_out,
    load_splits,
    parse_overrides,
)
from hf_adner.training.run import train

ERRORS_FILE, TABLE_FILE, PAGE_FILE = "label_errors.jsonl", "label_errors.md", "label_errors.html"
FOLDS = "folds"

Posteriors = dict[EntitySpan, float]


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
    output = Path(training_args.output_dir)
    pooled = concatenate_datasets(list(load_splits(replace(dataset_args, validation_share=0.0)).values()))
    documents = list(documents_from_dataset(pooled))
    if review.model is None:
        posteriors, labels = _held_out(review.folds, pooled, dataset_args, model_args, training_args)
        tagging = {"tagging": model_args.tagging, **parse_overrides(model_args.config_overrides)}["tagging"]
    else:
        model = AdnerForTokenClassification.from_pretrained(review.model)
        pipe = AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(review.model))
        batch_size = training_args.per_device_eval_batch_size
        posteriors = list(span_posteriors(pipe, documents, batch_size, total=len(documents)))
        labels, tagging = model.config.entity_types, model.config.tagging
    excludes = overlap_of_one_label if tagging == "per-label" else overlap
    report = review_documents(documents, posteriors, review.threshold, excludes)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in report.rows())
    write_file(output / ERRORS_FILE, lines, "utf-8")
    write_file(output / TABLE_FILE, [report.to_markdown(len(report.errors))], "utf-8")
    write_file(output / PAGE_FILE, report.page(labels), "utf-8")
    return report


def _held_out(
    folds: int,
    pooled: Dataset,
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> tuple[list[Posteriors], list[str]]:
    """Return the posteriors of each document by the model that did not read it, and all labels."""
    found: list[Posteriors] = [{} for _ in range(len(pooled))]
    groups = dataset_groups(pooled, dataset_args.group_key)
    for number, (inner, outer) in enumerate(k_folds(groups, folds, seed=dataset_args.sample_seed)):
        split = pooled.select(inner), pooled.select(outer)
        for place, posteriors in zip(outer, _fold(number, split, dataset_args, model_args, training_args), strict=True):
            found[place] = posteriors
    return found, entity_types_of({"train": pooled})


def _fold(
    number: int,
    split: tuple[Dataset, Dataset],
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> list[Posteriors]:
    """Return the posteriors of the documents of a fold, read from its file if there is one."""
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
    documents = list(documents_from_dataset(test_rows))
    posteriors = list(span_posteriors(pipe, documents, training_args.per_device_eval_batch_size, total=len(documents)))
    rows = [[[*span, float(f"{value:.6g}")] for span, value in one.items()] for one in posteriors]
    write_json(file, {"arguments": arguments, "posteriors": rows})
    shutil.rmtree(work, ignore_errors=True)
    return _as_posteriors(rows)


def _finished(file: Path, arguments: dict[str, Any]) -> list[Posteriors]:
    content = read_json(file)
    if not isinstance(content.get("posteriors"), list) or not isinstance(content.get("arguments"), dict):
        raise ValueError(f"{file} does not hold the posteriors of a fold; remove it to train the fold again")
    if changed := [name for name, value in content["arguments"].items() if arguments.get(name) != value]:
        told = ", ".join(changed)
        raise ValueError(f"{file} was made with other arguments ({told}); choose another --output-dir or remove it")
    return _as_posteriors(content["posteriors"])


def _as_posteriors(rows: Sequence[Sequence[Sequence[Any]]]) -> list[Posteriors]:
    return [{(start, end, label): value for start, end, label, value in row} for row in rows]
