"""Training on from a calibrated checkpoint: what is saved carries no calibration that was fitted for other weights."""

import json
import logging
import shutil

import pytest
import torch
from transformers import Trainer, TrainingArguments

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.cli import main
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import AdnerDataCollator, encode_dataset
from hf_adner.data.formats import write_documents
from hf_adner.guided.trainer import ExplanationGuidedTrainer
from hf_adner.training.trainer import AdnerTrainer

from ..corpora import QUICK, note, quick
from ..guided.guided import arguments as guided_arguments

SIZES = {"encoder-size": 32, "encoder-layers": 1, "architecture": "bert-crf", "config-overrides": "bilstm_size=16"}
RUN = {"max-steps": 24, "learning-rate": 3e-3, "use-cpu": True, "disable-tqdm": True, "eval-strategy": "no"}
RUN |= {"save-strategy": "no", "load-best-model-at-end": False, "validation-share": 0.25}
WARNING = "its calibration"


def options(values) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A checkpoint of `adner train` and `adner calibrate`."""
    folder = tmp_path_factory.mktemp("calibrated")
    for name, numbers in {"train": range(32), "dev": range(100, 164)}.items():
        write_documents(map(note, numbers), folder / f"{name}.jsonl")
    run = {"dataset": folder / "train.jsonl", "output-dir": folder / "run", **SIZES, **RUN}
    assert main(["train", *options(run)]) == 0
    model = folder / "run" / "model"
    fitted = ["--coverage", "0.5", "--review-budget", "0.2", "--device", "cpu"]
    assert main(["calibrate", str(model), str(folder / "dev.jsonl"), *fitted]) == 0
    assert calibration_of(model) is not None
    return model


def calibration_of(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["calibration"]


def loaded(folder, count: int = 8):
    """The model of a checkpoint, its tokenizer, and training rows."""
    model, tokenizer = (kind.from_pretrained(folder) for kind in (AdnerForTokenClassification, AdnerTokenizer))
    rows = encode_dataset(dataset_from_documents(map(note, range(count))), tokenizer, model.config.label2id)
    return model, tokenizer, rows


@pytest.mark.parametrize("kind", [AdnerTrainer, ExplanationGuidedTrainer, Trainer])
def test_a_trainer_drops_it_and_says_so_once(kind, calibrated, tmp_path, caplog):
    model, tokenizer, rows = loaded(calibrated)
    stock = {name: value for name, value in QUICK.items() if name != "head_learning_rate"} | {"max_steps": 2}
    args = {
        AdnerTrainer: lambda: quick(tmp_path, max_steps=2),
        ExplanationGuidedTrainer: lambda: guided_arguments(tmp_path, max_steps=2),
        Trainer: lambda: TrainingArguments(output_dir=str(tmp_path), **stock),
    }[kind]()
    trainer = kind(
        model=model,
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=AdnerDataCollator(tokenizer),
    )
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert [WARNING in one.getMessage() for one in caplog.records].count(True) == 1
    trainer.save_model(str(tmp_path / "saved"))
    assert calibration_of(tmp_path / "saved") is None
    (entities,) = AdnerPipeline(model=trainer.model, tokenizer=tokenizer, device="cpu")([note(0).text])
    assert entities and "posterior" not in entities[0]  # scores are posteriors again


def test_a_loop_of_ones_own_drops_it_with_the_first_step(calibrated, caplog):
    model, tokenizer, _ = loaded(calibrated)
    inputs = tokenizer([note(0).text], return_tensors="pt")
    for _ in range(2):
        model.train()
        model(**inputs).logits.exp().sum().backward()  # distillation needs no gold labels
    assert model.config.calibration is None
    assert sum(WARNING in one.getMessage() for one in caplog.records) == 1


def test_what_does_not_train_keeps_it(calibrated, tmp_path):
    model, tokenizer, rows = loaded(calibrated)
    trainer = AdnerTrainer(model=model, args=quick(tmp_path), eval_dataset=rows, processing_class=tokenizer)
    trainer.evaluate()
    inputs = tokenizer([note(0).text], return_tensors="pt")
    model.train()
    with torch.no_grad():
        model(**inputs)  # dropout for an ensemble of predictions
    model.eval()
    model(**inputs).logits.sum().backward()  # an explanation
    model.save_pretrained(tmp_path / "saved")
    assert calibration_of(tmp_path / "saved") == calibration_of(calibrated)


def test_a_tagger_is_no_encoder(calibrated, tmp_path, capsys):
    """The commands train new models; a tagger is trained on in Python."""
    run = {"dataset": calibrated.parents[1] / "train.jsonl", "output-dir": tmp_path, **RUN, "architecture": "bert-crf"}
    assert main(["train", *options({**run, "encoder": calibrated})]) == 1
    assert "is a trained tagger, expected an encoder; to train it on, load it with" in capsys.readouterr().err


@pytest.mark.parametrize("side", ["checkpoint", "model"])
def test_a_calibration_is_no_reason_not_to_resume(side, calibrated, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 1}

    def trainer(folder, steps):
        model, tokenizer, rows = loaded(folder)
        args = quick(tmp_path / "run", **{**saving, "max_steps": steps})
        return AdnerTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)

    plain = shutil.copytree(calibrated, tmp_path / "plain")
    config = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    (plain / "config.json").write_text(json.dumps({**config, "calibration": None}), encoding="utf-8")
    trainer(plain if side == "checkpoint" else calibrated, 1).train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    assert calibration_of(checkpoint) is None
    if side == "checkpoint":  # calibrated where it lies
        written = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        written["calibration"] = config["calibration"]
        (checkpoint / "config.json").write_text(json.dumps(written), encoding="utf-8")
    trainer(plain if side == "checkpoint" else calibrated, 2).train(resume_from_checkpoint=str(checkpoint))
    assert calibration_of(tmp_path / "run" / "checkpoint-2") is None
