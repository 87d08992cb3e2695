"""A small corpus on which a tiny model learns something in a few steps."""

import random
from pathlib import Path

from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments

DISEASES, SYMPTOMS = ("湿疹", "特应性皮炎", "荨麻疹"), ("瘙痒", "红斑", "丘疹")


def note(number: int) -> Document:
    """A sentence with a symptom and a disease, drawn by its number."""
    draw = random.Random(number)
    symptom, disease = draw.choice(SYMPTOMS), draw.choice(DISEASES)
    text = f"患者{'反复' * draw.randrange(3)}{symptom}{draw.randrange(1, 30)}天，诊断{disease}。"
    spans = [(text.index(symptom), symptom, "Symptom"), (text.index(disease), disease, "Disease")]
    entities = tuple(Entity(start, start + len(word), label) for start, word, label in spans)
    return Document(f"note-{number}", text, entities, {"patient": number // 2})


def write_corpus(folder: Path, train: int = 32, test: int = 8) -> DatasetArguments:
    """Files `train.jsonl` and `test.jsonl` and the arguments that name them."""
    write_documents(map(note, range(train)), folder / "train.jsonl")
    write_documents(map(note, range(1000, 1000 + test)), folder / "test.jsonl")
    return DatasetArguments(str(folder / "train.jsonl"), test=str(folder / "test.jsonl"), validation_share=0.25)


def tiny_model(**options) -> ModelArguments:
    """An m-dscmg with a one-layer encoder and the training entities as lexicon."""
    return ModelArguments(**{"encoder_size": 32, "encoder_layers": 1, "lexicon": "train", **options})


def quick(output: Path, **options) -> AdnerTrainingArguments:
    """A few silent steps on the CPU."""
    defaults = {
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
    return AdnerTrainingArguments(output_dir=str(output), **{**defaults, **options})
