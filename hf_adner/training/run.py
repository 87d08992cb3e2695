"""Whole training runs: documents in, a checkpoint and its scores out.

`run_training` is behind `adner train`; `run_demo` is the quickstart, which trains a small model from scratch on the
synthetic corpus and shows it on a sample note.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm
from transformers import EarlyStoppingCallback, set_seed

from hf_adner.audit.calibration import calibration_report
from hf_adner.audit.evaluation import EvaluationReport, compare_documents
from hf_adner.audit.prediction import predict_documents
from hf_adner.cards.examples import example_texts
from hf_adner.cards.record import CardOptions, public_name
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.encoding import AdnerDataCollator, encode_dataset
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document
from hf_adner.data.statistics import corpus_statistics
from hf_adner.files import write_json
from hf_adner.highlighting import painted, tones_of
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.reporting import code_points, plain
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments, TrainCommandArguments
from hf_adner.training.preparation import build_model, build_tokenizer, entity_types_of, load_splits
from hf_adner.training.resume import METRICS_FILE, MODEL_FOLDER, checkpoint_to_resume
from hf_adner.training.trainer import AdnerTrainer, predicted_labels, span_scores, trainer_facts

logger = logging.getLogger(__name__)

REPORT_FILE = "report.html"

METRICS = ("f1", "precision", "recall", "loss")
"""Validation metrics that may choose the best checkpoint."""

SAMPLE_NOTE = (
    "患儿，男，6岁，因“四肢屈侧反复红斑、丘疹伴瘙痒3年，加重1周”就诊。患儿3年前无明显诱因肘窝、腘窝出现红斑、丘疹，"
    "搔抓后渗出、结痂，夜间瘙痒明显，影响睡眠。曾外用糠酸莫米松乳膏、他克莫司软膏，口服氯雷他定，症状好转，停药后反复。"
    "进食海鲜、接触尘螨后加重。既往有过敏性鼻炎病史，否认哮喘。父亲患荨麻疹。"
    "查体：面部、颈部及四肢屈侧可见对称分布的暗红斑、抓痕，局部苔藓样变，皮肤干燥，可见鳞屑。"
    "SCORAD评分42分，EASI 18分。"
    "辅助检查：血常规示嗜酸性粒细胞升高，总IgE 860 IU/mL。诊断：特应性皮炎。"
    "予保湿润肤，湿敷，外用0.03%他克莫司软膏，口服西替利嗪，必要时窄谱UVB照射，避免辛辣食物及搔抓，两周后复诊。"
)
"""Clinical note for the demonstration; invented, not of a real patient."""


def run_training(
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
    card_options: CardOptions | None = None,
) -> dict[str, Any]:
    """Train, save the best checkpoint to `output_dir/model`, score the test split and write `output_dir/metrics.json`.

    The checkpoint gets a model card with the measured figures.

    Args:
        dataset_args: documents and splits.
        model_args: model to build.
        training_args: training arguments.
        card_options: statements of the card that no run can measure.

    Returns:
        The content of `metrics.json`: arguments, sizes, training figures, and the reports of validation and test.

    Raises:
        FileExistsError: `output_dir` holds another run and `resume_from_checkpoint` is not set.
        FileNotFoundError: there is no such checkpoint to resume from.
        ValueError, DataFormatError: invalid data, lexicon or arguments, or an example text for the card that shows a
            sentence of the data.
    """
    checkpoint = checkpoint_to_resume(training_args)
    card_options = card_options or CardOptions()
    set_seed(training_args.seed)
    splits = load_splits(dataset_args)
    examples = example_texts(card_options.example_texts, itertools.chain(*(split["text"] for split in splits.values())))
    tokenizer = build_tokenizer(model_args, splits["train"])
    model = build_model(model_args, tokenizer, entity_types_of(splits))
    trainer = train(model, tokenizer, splits, dataset_args, training_args, checkpoint)
    folder = Path(training_args.output_dir)
    trainer.save_model(str(folder / MODEL_FOLDER))
    facts = trainer_facts(trainer)
    metrics = {
        **facts,
        "dataset": asdict(dataset_args),
        "model": asdict(model_args),
        "base_model": public_name(model_args.encoder),
        "dataset_name": public_name(dataset_args.dataset),
        "documents": {name: len(split) for name, split in splits.items()},
        "script_characters": len(tokenizer.script_map or ()),
        "lexicon_words": len(tokenizer.lexicon or ()),
        "lexicon_origin": tokenizer.lexicon.origin if tokenizer.lexicon else None,
        "train_seconds": round(facts["train_seconds"], 1),
        "history": [entry for entry in trainer.state.log_history if "eval_f1" in entry],
    }
    if trainer.is_world_process_zero():
        metrics |= _final_scores(model, tokenizer, splits, training_args.per_device_eval_batch_size)
        metrics["statistics"] = _statistics(splits)
        metrics["examples"] = tagged_texts(model, tokenizer, examples)
        write_json(folder / METRICS_FILE, metrics)
        trainer.measured, trainer.card_options = metrics, card_options
        trainer.write_model_card(folder / MODEL_FOLDER)
    if training_args.push_to_hub:
        trainer.push_to_hub()  # again, now with the measured figures in the card
    return metrics


def train(
    model: AdnerForTokenClassification,
    tokenizer: AdnerTokenizer,
    splits: DatasetDict,
    dataset_args: DatasetArguments,
    training_args: AdnerTrainingArguments,
    checkpoint: str | None = None,
) -> AdnerTrainer:
    """Train `model` on the splits and return the trainer, with the best model if `load_best_model_at_end` is set."""
    encoded = {
        name: encode_split(splits[name], tokenizer, model, dataset_args)
        for name in ("train", "validation")
        if name in splits
    }
    _check_evaluation(training_args, "validation" in splits)
    patience = training_args.early_stopping_patience
    trainer = resolve_name(training_args.trainer_class)(
        args=training_args,
        model=model,
        train_dataset=encoded["train"],
        eval_dataset=encoded.get("validation"),
        processing_class=tokenizer,
        data_collator=AdnerDataCollator(tokenizer),
        compute_metrics=span_scores(model.config.labels),
        preprocess_logits_for_metrics=predicted_labels,
        callbacks=[] if patience is None else [EarlyStoppingCallback(patience)],
    )
    trainer.data_settings = asdict(dataset_args)
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


def _check_evaluation(args: AdnerTrainingArguments, has_validation: bool) -> None:
    """Refuse, before training, what would fail after an epoch or train nothing."""
    if args.max_steps <= 0 and args.num_train_epochs <= 0:
        raise ValueError(f"num_train_epochs (--num-train-epochs) is {args.num_train_epochs}: nothing would be trained")
    if args.eval_strategy == "no":
        return
    if not has_validation:
        raise ValueError(
            "there are no validation documents to choose the best epoch by; give a split (--validation) or a share "
            "(--validation-share), or leave evaluation out (--eval-strategy no --load-best-model-at-end false)"
        )
    metric = (args.metric_for_best_model or "loss").removeprefix("eval_")
    if metric not in METRICS:
        raise ValueError(
            f"metric_for_best_model (--metric-for-best-model) is {metric!r}, expected one of {', '.join(METRICS)}"
        )


def encode_split(
    split: Dataset, tokenizer: AdnerTokenizer, model: AdnerForTokenClassification, args: DatasetArguments
) -> Dataset:
    """Encode a split as model inputs, with a column of window lengths for the sampler."""
    encoded = encode_dataset(
        split,
        tokenizer,
        model.config.label2id,
        max_length=args.max_length,
        overlap=args.window_overlap,
        tagging=model.config.tagging,
    )
    return encoded.map(lambda batch: {"length": [len(ids) for ids in batch["input_ids"]]}, batched=True)


def evaluate_split(
    model: AdnerForTokenClassification, tokenizer: AdnerTokenizer, split: Dataset, batch_size: int
) -> EvaluationReport:
    """Score the predictions for whole documents; nested gold entities all count."""
    return compare_documents(*tag_split(model, tokenizer, split, batch_size))


def tag_split(
    model: AdnerForTokenClassification, tokenizer: AdnerTokenizer, split: Dataset, batch_size: int
) -> tuple[list[Document], list[Document]]:
    """Return the documents of a split with predicted entities, and with their gold entities."""
    pipe, gold = AdnerPipeline(model=model, tokenizer=tokenizer), list(documents_from_dataset(split))
    predicted = predict_documents(pipe, gold, batch_size)
    return list(tqdm(predicted, total=len(gold), unit="document", desc="evaluating")), gold


def _final_scores(model, tokenizer, splits: DatasetDict, batch_size: int) -> dict[str, Any]:
    """Score validation and test; `calibration` is that of the test split, or of validation without a test split."""
    scores: dict[str, Any] = {}
    for name in ("validation", "test"):
        if name in splits:
            tagged = tag_split(model, tokenizer, splits[name], batch_size)
            scores |= {name: compare_documents(*tagged).to_dict()}
            scores["calibration"] = plain(calibration_report(*tagged).to_dict())
    return scores


def _statistics(splits: DatasetDict) -> dict[str, Any]:
    return corpus_statistics({name: list(documents_from_dataset(split)) for name, split in splits.items()}).to_dict()


def tagged_texts(
    model: AdnerForTokenClassification, tokenizer: AdnerTokenizer, texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Return texts with `word`, `entity_group` and `score` of their predicted entities, for a model card."""
    predictions = AdnerPipeline(model=model, tokenizer=tokenizer)(list(texts))
    keys = ("word", "entity_group", "score")
    return [
        {"text": text, "entities": [{key: entity[key] for key in keys} for entity in entities]}
        for text, entities in zip(texts, predictions, strict=True)
    ]


def demo_arguments(output: str, seed: int = 42) -> tuple[DatasetArguments, ModelArguments, AdnerTrainingArguments]:
    """Return the arguments of the quickstart: m-dscmg with a two-layer encoder and the built-in lexicon.

    An interrupted run resumes from its last epoch.
    """
    return (
        DatasetArguments(dataset="ad-synthetic"),
        ModelArguments(architecture="m-dscmg", lexicon="ad", encoder_size=128, encoder_layers=2),
        TrainCommandArguments(
            output_dir=output,
            learning_rate=1e-3,
            head_learning_rate=1e-3,
            num_train_epochs=3,
            per_device_train_batch_size=32,
            seed=seed,
            resume_from_checkpoint="auto",
        ),
    )


def run_demo(output: str, seed: int = 42) -> dict[str, Any]:
    """Train on `ad-synthetic`, score its test split, tag `SAMPLE_NOTE` and write `report.html`.

    Returns:
        The content of `output/metrics.json`.
    """
    metrics = run_training(*demo_arguments(output, seed))
    write_report(output)
    return metrics


def write_report(output: str) -> Document:
    """Tag `SAMPLE_NOTE` with the saved checkpoint of a run and write `output/report.html`."""
    folder = Path(output) / MODEL_FOLDER
    model = AdnerForTokenClassification.from_pretrained(folder)
    pipe = AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(folder))
    note = next(predict_documents(pipe, [Document(id="sample-note", text=SAMPLE_NOTE)]))
    write_documents([note], Path(output) / REPORT_FILE, format="html", labels=model.config.entity_types)
    return note


def entity_lines(document: Document, labels: Sequence[str] = (), in_colour: bool = False) -> list[str]:
    """Format one line per entity: label, offsets, score and surface form.

    Args:
        document: with predicted entities.
        labels: of the model, in its order.
        in_colour: show the labels in their colours, for a terminal.
    """
    tones = tones_of({entity.label for entity in document.entities}, labels)
    lines = []
    for entity in document.entities:
        label = f"{code_points(entity.label):<10}"
        label = painted(label, tones[entity.label]) if in_colour else label
        score = entity.meta["score"]
        lines.append(f"{label} {entity.start:>4}-{entity.end:<4} {score:.3f}  {code_points(entity.text)}")
    return lines
