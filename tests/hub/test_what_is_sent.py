"""Every byte that a push sends, of a guided run whose folders, files, ids and texts have marks that must not leave."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import BertConfig, BertForMaskedLM, Trainer

from hf_adner.cli import main
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.hub import push as push_module
from hf_adner.hub.trainer_push import CheckpointPush
from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.run import run_training

from ..corpora import DISEASES, QUICK, SYMPTOMS, note, tiny_model
from ..guided.guided import SMALL

FOLDER, ID, NAME = "patient-zhang", "record-4711", "欧阳某某"
"""What is in the name of every folder and file, in every id, and at the start of every text."""

CHARACTERS = sorted({character for number in range(40) for character in NAME + note(number).text})


class FakeHub:
    """Keeps what would be uploaded, in place of `HfApi`."""

    sent: dict[str, bytes]

    def __init__(self, **options: Any):
        self.options = options

    def model_info(self, repo_id: str, revision: str | None = None) -> SimpleNamespace:
        return SimpleNamespace(id=repo_id, private=False, config=None, siblings=[], sha="0")

    def create_commit(self, repo_id: str, operations: list, commit_message: str, **options: Any) -> Any:
        for number, operation in enumerate(operations, len(self.sent)):
            with operation.as_file() as file:
                self.sent[f"{number} {operation.path_in_repo}"] = file.read()
        self.sent[f"message {len(self.sent)}"] = f"{repo_id} {commit_message}".encode()
        done: Future = Future()
        done.set_result(SimpleNamespace(pr_url=None, commit_url="", oid="0"))
        return done if options.get("run_as_future") else done.result()


def marked(number: int) -> Document:
    told = note(number)
    entities = tuple(
        replace(entity, start=entity.start + len(NAME), end=entity.end + len(NAME)) for entity in told.entities
    )
    return Document(f"{ID}-{number}", NAME + told.text, entities, {"ward": FOLDER})


def write_inputs(folder: Path) -> None:
    """Write documents, an encoder, a word list and word vectors."""
    write_documents(map(marked, range(24)), folder / f"{FOLDER}.jsonl")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS]
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMaskedLM(BertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(folder / "encoder")
    (folder / "encoder" / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "words.txt").write_text("\n".join([*DISEASES, *SYMPTOMS]), encoding="utf-8")
    vectors = [f"{word} 0.1 0.2 0.3 0.4" for word in (*DISEASES, *SYMPTOMS)]
    (folder / f"{FOLDER}.vec").write_text("\n".join([f"{len(vectors)} 4", *vectors]), encoding="utf-8")


def run_and_push(folder: Path) -> None:
    """Train with a push of every checkpoint, write the card again as the command does, and push again."""
    training = ExplanationGuidedTrainingArguments(
        **{**QUICK, "max_steps": 4, "save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps"},
        eval_steps=2,
        output_dir=str(folder / "run"),
        push_to_hub=True,
        hub_model_id="me/derma",
        hub_strategy="all_checkpoints",
        hub_always_push=True,
    )
    model = tiny_model(
        encoder=str(folder / "encoder"),
        lexicon=str(folder / "words.txt"),
        word_vectors=str(folder / f"{FOLDER}.vec"),
        config_overrides=SMALL.replace("lexicon_embedding_size=8", "lexicon_embedding_size=4"),
    )
    run_training(DatasetArguments(str(folder / f"{FOLDER}.jsonl"), validation_share=0.25), model, training)
    checkpoint = str(folder / "run" / "model")
    assert main(["card", checkpoint, "--training", str(folder / f"{FOLDER}.jsonl")]) == 0
    assert main(["push", checkpoint, "me/derma"]) == 0


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """Name -> content of every file that pushes sent."""
    folder = tmp_path_factory.mktemp(FOLDER) / FOLDER
    folder.mkdir()
    FakeHub.sent = {}

    def init_hf_repo(trainer: Trainer, token: str | None = None, private: bool | None = None) -> None:
        trainer.hub_model_id, trainer.push_in_progress = trainer.args.hub_model_id, None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "init_hf_repo", init_hf_repo)
        patch.setattr(CheckpointPush, "_hub", FakeHub())
        patch.setattr(push_module, "HfApi", FakeHub)
        write_inputs(folder)
        run_and_push(folder)
    return FakeHub.sent


def test_everything_was_pushed(sent):
    names = {name.partition(" ")[2] for name in sent}
    assert {
        "README.md",
        "config.json",
        "lexicon.json",
        "script_map.json",
        "assertion_rules.tsv",
        "tokenizer.json",
    } <= names
    assert {"checkpoint-2/trainer_state.json", "checkpoint-4/optimizer.pt"} <= names


@pytest.mark.parametrize("mark", [FOLDER, ID, NAME, str(Path.home()), "/tmp"])
def test_no_name_id_text_or_path_of_the_machine_leaves(mark, sent):
    forms = [mark.encode(), mark.encode("unicode_escape"), mark.encode("utf-16-le")]
    found = {name for name, content in sent.items() for form in forms if form in content}
    assert not found
