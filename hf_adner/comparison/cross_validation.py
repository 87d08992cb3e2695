"""k-fold cross-validation by document, with the protocol of M-DSCMG: five folds, strict entity F1."""

import json
import logging
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import set_seed

from hf_adner.comparison.corpus import documents_digest
from hf_adner.comparison.run import training_settings
from hf_adner.data.splits import dataset_groups, k_folds
from hf_adner.files import read_json, write_file, write_json
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.preparation import build_model, build_tokenizer, entity_types_of, hold_out, load_splits
from hf_adner.training.run import evaluate_split, train

logger = logging.getLogger(__name__)

TABLE_FILE = "cross_validation.md"
RESULTS_FILE = "cross_validation.json"


@dataclass
class CrossValidationArguments:
    """Folds and architectures of a cross-validation."""

    architectures: list[str] = field(
        default_factory=lambda: ["bert-crf", "m-dscmg"], metadata={"help": "architectures to compare"}
    )
    folds: int = field(default=5, metadata={"help": "number of folds"})


def cross_validate(
    folds: CrossValidationArguments,
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> dict[str, list[dict[str, Any]]]:
    """Train every architecture on every fold and score the held-out fold.

    All documents are pooled. The epoch is chosen on a validation share of the training documents, so the held-out fold
    is used once. Folds that have a result file are skipped.

    Returns:
        Scores of the folds by architecture; also written to `output_dir` as JSON and as a Markdown table.

    Raises:
        ValueError: fewer than two folds, fewer documents than folds, or results in `output_dir` of other arguments.
    """
    output = Path(training_args.output_dir)
    pooled = concatenate_datasets(list(load_splits(dataset_args).values()))
    groups = dataset_groups(pooled, dataset_args.group_key)
    indices = list(k_folds(groups, folds.folds, seed=dataset_args.sample_seed))
    results: dict[str, list[dict[str, Any]]] = {}
    for architecture in folds.architectures:
        arguments = replace(model_args, architecture=architecture)
        results[architecture] = [
            _fold(number, (pooled.select(inner), pooled.select(outer)), arguments, dataset_args, training_args, output)
            for number, (inner, outer) in enumerate(indices)
        ]
        write_json(output / RESULTS_FILE, results)
        write_file(output / TABLE_FILE, [cross_validation_table(results)], "utf-8")
    return results


def _fold(
    number: int,
    split: tuple[Dataset, Dataset],
    model_args: ModelArguments,
    dataset_args: DatasetArguments,
    training_args: AdnerTrainingArguments,
    output: Path,
) -> dict[str, Any]:
    folder = output / model_args.architecture / f"fold-{number}"
    arguments = {"dataset": asdict(dataset_args), "model": asdict(model_args), "seed": training_args.seed}
    arguments |= {"training": training_settings(training_args)}
    arguments |= {"documents": documents_digest({"train": split[0], "test": split[1]})}
    done = folder / "scores.json"
    if done.exists():
        return _load_finished(done, arguments)
    train_rows, test_rows = split
    splits = DatasetDict({**hold_out(train_rows, dataset_args), "test": test_rows})
    set_seed(training_args.seed)
    tokenizer = build_tokenizer(model_args, splits["train"])
    model = build_model(model_args, tokenizer, entity_types_of(splits))
    fold_args = replace(training_args, output_dir=str(folder))
    train(model, tokenizer, splits, dataset_args, fold_args)
    report = evaluate_split(model, tokenizer, test_rows, training_args.per_device_eval_batch_size)
    scores = {"arguments": arguments, "fold": number, "test_documents": len(test_rows), **report.to_dict()}
    write_json(done, scores)
    return scores


def _load_finished(path: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    scores = read_json(path)
    if not isinstance(scores.get("strict"), dict) or not isinstance(scores.get("arguments"), dict):
        raise ValueError(f"{path} does not hold the scores of a fold; remove it to score the fold again")
    known = scores["arguments"]  # of an older version it has fewer
    changed = [name for name in known if known[name] != json.loads(json.dumps(arguments.get(name)))]
    if changed:
        told = ", ".join(changed)
        raise ValueError(f"{path} was made with other arguments ({told}); choose another --output-dir or remove it")
    logger.info("%s exists, fold skipped", path)
    return scores


def cross_validation_table(results: dict[str, Sequence[dict[str, Any]]]) -> str:
    """Return a Markdown table: mean ± sample standard deviation of strict precision, recall and F1, in percent."""
    rows = []
    for architecture, folds in results.items():
        scores = [_mean_sd([100 * fold["strict"][name] for fold in folds]) for name in ("precision", "recall", "f1")]
        per_fold = " ".join(f"{100 * fold['strict']['f1']:.2f}" for fold in folds)
        rows.append((architecture, len(folds), *scores, per_fold))
    return markdown_table(("architecture", "folds", "precision", "recall", "F1", "per fold"), rows) + "\n"


def _mean_sd(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"
