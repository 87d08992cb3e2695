"""A small corpus, tiny models that learn it in a few steps, and helpers to run and compare trainings."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments

QUICK = {
    "max_steps": 6,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-3,
    "head_learning_rate": 3e-3,
    "use_cpu": True,
    "disable_tqdm": True,
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": False,
}
"""Training arguments of a few silent steps on the CPU."""

HIDDEN = "\u202e\u2066\u200b\ufeff\x9b\x1b"
"""Characters that reorder a line, have no width, or control a terminal."""

DISEASES, SYMPTOMS = ("湿疹", "特应性皮炎", "荨麻疹"), ("瘙痒", "红斑", "丘疹")


def note(number: int) -> Document:
    """Return a sentence with a symptom and a disease, drawn by its number."""
    draw = random.Random(number)
    symptom, disease = draw.choice(SYMPTOMS), draw.choice(DISEASES)
    text = f"患者{'反复' * draw.randrange(3)}{symptom}{draw.randrange(1, 30)}天，诊断{disease}。"
    spans = [(text.index(symptom), symptom, "Symptom"), (text.index(disease), disease, "Disease")]
    entities = tuple(Entity(start, start + len(word), label) for start, word, label in spans)
    return Document(f"note-{number}", text, entities, {"patient": number // 2})


def write_corpus(folder: Path, train: int = 32, test: int = 8) -> DatasetArguments:
    """Write `train.jsonl` and `test.jsonl` and return the arguments that name them."""
    write_documents(map(note, range(train)), folder / "train.jsonl")
    write_documents(map(note, range(1000, 1000 + test)), folder / "test.jsonl")
    return DatasetArguments(str(folder / "train.jsonl"), test=str(folder / "test.jsonl"), validation_share=0.25)


def tiny_model(**options) -> ModelArguments:
    """Return arguments of an m-dscmg with a one-layer encoder and the training entities as lexicon."""
    return ModelArguments(**{"encoder_size": 32, "encoder_layers": 1, "lexicon": "train", **options})


def quick(output: Path, **options) -> AdnerTrainingArguments:
    """Return training arguments with the defaults of `QUICK`."""
    return AdnerTrainingArguments(output_dir=str(output), **{**QUICK, **options})


class InterruptAfterSave(TrainerCallback):
    """Interrupt training right after the checkpoint of a step."""

    def __init__(self, step: int):
        self.step = step

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Return the largest absolute difference over all tensors; NaN if there is any NaN."""
    assert first.keys() == second.keys()
    return torch.stack([(first[name].double() - second[name].double()).abs().max() for name in first]).max().item()


def run_distributed(command: str, flags: dict[str, Any], processes: int) -> subprocess.CompletedProcess:
    """Run a command of `adner` in one or more processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    options = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    return subprocess.run([*launcher, "-m", "hf_adner.cli", command, *options], capture_output=True, text=True)
