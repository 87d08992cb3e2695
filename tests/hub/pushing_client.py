"""Pushes checkpoints in every way there is, and tries what must fail; run by `conftest.run_client`."""

import contextlib
import io
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from huggingface_hub import HfApi, constants
from transformers import AutoModelForTokenClassification, pipeline

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.cards.card import PLACEHOLDER_ID
from hf_adner.cli import main
from hf_adner.explain.global_table import GlobalTable
from hf_adner.hub.push import push_checkpoint
from hf_adner.training.arguments import AdnerTrainingArguments
from hf_adner.training.trainer import AdnerTrainer

TEXTS = ["四肢红斑块", "", "他克莫司软膏", "痒", "反复红斑伴瘙痒3年"]
WORDS = ["红斑", "瘙痒", "他克莫司", "反复红斑"]
ENCODER = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
SIZES = {"stream_size": 12, "num_stream_heads": 2, "lexicon_embedding_size": 6}


def model_of(architecture: str, tokenizer: AdnerTokenizer) -> AdnerForTokenClassification:
    torch.manual_seed(0)
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["Disease", "Drug"], architecture, encoder_config=ENCODER, **SIZES
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower() and parameter.dim() > 1:
                parameter.normal_(std=0.4)
    return model


def table() -> GlobalTable:
    made = GlobalTable()
    for number in range(6):
        made.add("红斑", (0, 2, "Disease"), [0.5, -0.5], document=f"secret-patient-{number}")
    return made


def write_private(folder: Path) -> None:
    """What lies in a checkpoint's folder and must not leave."""
    for name in ("private/cache.json", "private/table/global_table.json", "training_args.bin", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret-patient", encoding="utf-8")


def save(architecture: str, tokenizer: AdnerTokenizer, folder: Path) -> AdnerForTokenClassification:
    model = model_of(architecture, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    table().publish().save(folder / "global_table")
    card = f"---\nlicense: apache-2.0\n---\n# A card of {PLACEHOLDER_ID}\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "optimizer.pt").write_bytes(b"momenta")
    write_private(folder)
    return model


def error_of(call: Callable[[], Any]) -> str:
    """Return type and message of the error that a call raises, empty if it succeeds."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def shell(*argv: str) -> tuple[int, str]:
    """Status and output of an `adner` command."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(argv)
    return status, output.getvalue()


def push_everything(folder: Path, tokenizer: AdnerTokenizer, record: dict[str, Any]) -> None:
    model = save("m-dscmg", tokenizer, folder / "m-dscmg")
    save("bert-crf", tokenizer, folder / "bert-crf")
    record["shell"] = shell("push", str(folder / "m-dscmg"), "alice/m-dscmg", "--message", "First")
    record["private"] = push_checkpoint(folder / "bert-crf", "bert-crf", private=True).oid
    push_checkpoint(folder / "bert-crf", "alice/m-dscmg", revision="small")
    model.push_to_hub("alice/model-only")
    pipe = pipeline("adner-ner", model=model, tokenizer=tokenizer, device="cpu")
    pipe.push_to_hub("alice/pipeline")
    record["from the Hub"] = pipeline("adner-ner", model="alice/m-dscmg", device="cpu")(TEXTS) == pipe(TEXTS)
    for architecture in ("m-dscmg", "bert-crf"):
        options = {"model": str(folder / architecture), "device": "cpu"}
        ours = pipeline("adner-ner", **options)
        stock = pipeline("token-classification", aggregation_strategy="simple", stride=8, **options)
        with torch.no_grad():
            logits = ours.model(**ours.tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
        answers = pickle.dumps((TEXTS, logits, ours(TEXTS), stock(TEXTS)))
        (folder / f"{architecture}.pickle").write_bytes(answers)


class KeepsSecrets(AdnerTrainer):
    """Writes private files beside every model that it saves, as guided training does."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        write_private(Path(output_dir or self.args.output_dir))
        super().save_model(output_dir, _internal_call)


def train(folder: Path, tokenizer: AdnerTokenizer, strategy: str, **arguments: Any) -> None:
    encoded = tokenizer(["四肢红斑块", "反复红斑伴"])
    rows = Dataset.from_dict({**encoded, "labels": [[-100, 0, 0, 1, 2, 0, -100]] * 2})
    args = AdnerTrainingArguments(
        output_dir=str(folder / strategy),
        push_to_hub=True,
        hub_model_id=f"alice/trained-{strategy}",
        hub_token="hf_alice",
        hub_strategy=strategy,
        hub_always_push=True,
        max_steps=2,
        save_strategy="steps",
        save_steps=1,
        save_total_limit=1,
        eval_strategy="no",
        load_best_model_at_end=False,
        train_sampling_strategy="random",
        disable_tqdm=True,
        use_cpu=True,
        **arguments,
    )
    trainer = KeepsSecrets(model_of("bert-crf", tokenizer), args, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.push_to_hub()


def refused_checkpoints(folder: Path, tokenizer: AdnerTokenizer) -> dict[str, str]:
    """What cannot be pushed, whoever asks."""

    def changed(name: str, change: Callable[[Path], None]) -> str:
        shutil.copytree(folder / "m-dscmg", folder / name)
        change(folder / name)
        return error_of(lambda: push_checkpoint(folder / name, "alice/refused"))

    private = AdnerTokenizer(tokenizer.get_vocab(), lexicon=Lexicon.from_documents(WORDS))
    pipe = pipeline("adner-ner", model=model_of("bert-crf", private), tokenizer=private, device="cpu")

    def save_private(path: Path) -> None:
        model_of("m-dscmg", private).save_pretrained(path)
        private.save_pretrained(path)

    allowed = {"revision": "documents", "allow_document_lexicon": True}
    return {
        "document lexicon": changed("documents", save_private),
        "document lexicon, allowed": error_of(
            lambda: push_checkpoint(folder / "documents", "alice/m-dscmg", **allowed)
        ),
        "document lexicon of a tokenizer": error_of(lambda: private.push_to_hub("alice/refused")),
        "document lexicon of a saved tokenizer": error_of(
            lambda: private.save_pretrained(folder / "own", push_to_hub=True, repo_id="alice/refused")
        ),
        "document lexicon of a pipeline": error_of(lambda: pipe.push_to_hub("alice/refused")),
        "document lexicon of a trainer": error_of(lambda: train(folder, private, "end")),
        "raw table": changed("raw", lambda path: table().save(path / "global_table")),
        "no code": changed("no-code", lambda path: (path / "crf_adner.py").unlink()),
        "no weights": changed("no-weights", lambda path: (path / "model.safetensors").unlink()),
        "damaged": changed("damaged", lambda path: os.truncate(path / "model.safetensors", 1000)),
        "no lexicon": changed("no-lexicon", lambda path: (path / "lexicon.json").unlink()),
        "another model": changed("other", lambda path: (path / "config.json").write_text('{"model_type": "bert"}')),
    }


def refused_by_the_hub(folder: Path) -> dict[str, str]:
    """Pushes that the Hub, the network or a repository's content forbids."""
    checkpoint, api = folder / "m-dscmg", HfApi()
    api.create_repo("alice/bert")
    api.upload_file(path_or_fileobj=b'{"model_type": "bert"}', path_in_repo="config.json", repo_id="alice/bert")
    errors = {
        "wrong token": error_of(lambda: push_checkpoint(checkpoint, "alice/m-dscmg", token="hf_wrong")),
        "someone else's": error_of(lambda: push_checkpoint(checkpoint, "alice/m-dscmg", token="hf_bob")),
        "someone else's, private": error_of(lambda: push_checkpoint(checkpoint, "alice/bert-crf", token="hf_bob")),
        "public": error_of(lambda: push_checkpoint(checkpoint, "alice/m-dscmg", private=True)),
        "another kind": error_of(lambda: push_checkpoint(checkpoint, "alice/bert")),
        "no name": error_of(lambda: push_checkpoint(checkpoint, "alice/a/b")),
        "shell": shell("push", str(checkpoint), "alice/m-dscmg", "--private"),
    }
    address, constants.ENDPOINT = constants.ENDPOINT, "http://127.0.0.1:9"
    errors["no network"] = error_of(lambda: push_checkpoint(checkpoint, "alice/m-dscmg"))
    constants.ENDPOINT, constants.HF_HUB_OFFLINE = address, True
    errors["offline"] = error_of(lambda: push_checkpoint(checkpoint, "alice/m-dscmg"))
    constants.HF_HUB_OFFLINE = False
    return errors


def refused_loads(folder: Path) -> dict[str, Any]:
    """Names and revisions that are not there, and a checkpoint of the future."""
    load, api = AutoModelForTokenClassification.from_pretrained, HfApi()
    config = json.loads((folder / "m-dscmg" / "config.json").read_text(encoding="utf-8"))
    future = json.dumps({**config, "format_version": "2.0"}).encode()
    api.create_branch("alice/m-dscmg", branch="future")
    api.upload_file(path_or_fileobj=future, path_in_repo="config.json", repo_id="alice/m-dscmg", revision="future")
    errors = {
        "missing repository": error_of(lambda: load("alice/nothing")),
        "missing revision": error_of(lambda: load("alice/m-dscmg", revision="nowhere")),
        "missing revision, shell": shell("predict", "alice/m-dscmg", "--revision", "nowhere", "--text", "红斑"),
        "wrong token": error_of(lambda: load("alice/bert-crf", token="hf_wrong")),
        "someone else's": error_of(lambda: load("alice/bert-crf", token="hf_bob")),
        "future": error_of(lambda: load("alice/m-dscmg", revision="future")),
    }
    constants.HF_HUB_OFFLINE = True
    errors["offline"] = error_of(lambda: load("alice/model-only"))
    constants.HF_HUB_OFFLINE = False
    return errors


def interrupt(folder: Path, tokenizer: AdnerTokenizer) -> dict[str, str]:
    """Lose the connection between uploads and commit, be refused an upload, and replace a checkpoint in the end."""
    (folder / "m-dscmg" / "README.md").write_text("# Another card\n", encoding="utf-8")
    model = model_of("m-dscmg", tokenizer)
    model.head.classifier.weight.data.zero_()
    model.save_pretrained(folder / "m-dscmg")
    shutil.rmtree(folder / "m-dscmg" / "global_table")
    push = {"checkpoint": folder / "m-dscmg", "repo_id": "alice/m-dscmg", "revision": "next"}
    HfApi().create_branch("alice/m-dscmg", branch="next")
    return {
        "upload": error_of(lambda: push_checkpoint(folder / "m-dscmg", "alice/no-uploads")),
        "commit": error_of(lambda: push_checkpoint(**push, commit_message="lose the connection")),
        "again": error_of(lambda: push_checkpoint(**push, commit_message="Second")),
    }


def run(folder: Path) -> dict[str, Any]:
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(WORDS, [3, 0, 1, 2]))
    record: dict[str, Any] = {}
    push_everything(folder, tokenizer, record)
    for strategy in ("end", "every_save", "checkpoint", "all_checkpoints"):
        train(folder, tokenizer, strategy)
    record["checkpoints"] = refused_checkpoints(folder, tokenizer)
    record["pushes"] = refused_by_the_hub(folder)
    record["loads"] = refused_loads(folder)
    record["interrupted"] = interrupt(folder, tokenizer)
    return record


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(Path(sys.argv[1])), ensure_ascii=False), encoding="utf-8")
