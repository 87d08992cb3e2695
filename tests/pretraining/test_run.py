"""Pretraining runs: falling loss, bitwise resume, use by every architecture, and checks of encoders."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    TrainerCallback,
)

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.cli import main
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.tokenization_adner import SPACE, UNUSED
from hf_adner.pretraining import run as pretraining
from hf_adner.pretraining.arguments import PretrainingArguments, PretrainingTrainingArguments
from hf_adner.pretraining.collator import MacBertCollator
from hf_adner.pretraining.run import (
    block_length,
    build_masked_lm,
    build_trainer,
    check_text,
    divide_text,
    given_vectors,
    load_masked_lm,
    load_tokenizer,
    make_masked_lm,
    run_pretraining,
    save_vocabulary,
    texts_of,
)
from hf_adner.pretraining.trainer import PretrainingTrainer
from hf_adner.settings import parse_pretraining

from ..corpora import note


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("".join(f"{note(number).text}\n" for number in range(200)), encoding="utf-8")
    return str(path)


def small(**options) -> PretrainingArguments:
    return PretrainingArguments(
        **{"encoder_size": 32, "encoder_layers": 1, "max_length": 64, "validation_share": 0.1, **options}
    )


def quick(output, **options) -> PretrainingTrainingArguments:
    defaults = {
        "max_steps": 8,
        "per_device_train_batch_size": 8,
        "learning_rate": 5e-3,
        "use_cpu": True,
        "disable_tqdm": True,
        "eval_strategy": "no",
        "save_strategy": "no",
        "dataloader_num_workers": 0,
    }
    return PretrainingTrainingArguments(output_dir=str(output), **{**defaults, **options})


@pytest.fixture(scope="module")
def pretrained(lines, tmp_path_factory):
    """An encoder from scratch and what its run measured."""
    folder = tmp_path_factory.mktemp("run") / "encoder"
    return folder, run_pretraining(None, [lines], small(), quick(folder, max_steps=60))


def test_perplexity_falls_on_a_tiny_text(pretrained):
    folder, metrics = pretrained
    before, after = (metrics["held_out"][when]["perplexity"] for when in ("before", "after"))
    assert after < before / 3
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == json.loads(json.dumps(metrics))
    assert metrics["texts"]["held_out"] > 5 and metrics["steps"] == 60


def test_the_encoder_loads_alone_and_in_every_architecture(pretrained):
    folder, _ = pretrained
    encoder = AutoModel.from_pretrained(folder)
    weights = encoder.embeddings.word_embeddings.weight
    tokenizer = AdnerTokenizer.from_pretrained(folder)
    assert (folder / "vocab.txt").exists() and len(tokenizer) == encoder.config.vocab_size
    for architecture in ARCHITECTURES:
        if architecture == "bilstm-crf":
            continue
        model = AdnerForTokenClassification.from_encoder_pretrained(str(folder), tokenizer, ["Symptom"], architecture)
        tables = [value for name, value in model.named_parameters() if name.endswith("word_embeddings.weight")]
        assert any(torch.equal(table, weights) for table in tables), architecture


def test_another_run_goes_on_from_it_and_the_folder_is_not_overwritten(pretrained, lines, tmp_path):
    folder, first = pretrained
    args = small(encoder_layers=None)
    metrics = run_pretraining(str(folder), [lines], args, quick(tmp_path / "more", max_steps=2))
    assert metrics["held_out"]["before"] == pytest.approx(first["held_out"]["after"], rel=1e-4)
    with pytest.raises(FileExistsError, match="earlier run"):
        run_pretraining(None, [lines], small(), quick(folder))


class Kill(TrainerCallback):
    """Ends training as a kill would, right after a checkpoint."""

    def on_save(self, args, state, control, **kwargs):
        if state.global_step == 4:
            raise KeyboardInterrupt


def test_a_killed_run_resumed_ends_with_the_same_bits(lines, tmp_path, monkeypatch):
    saving = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 3}
    run_pretraining(None, [lines], small(), quick(tmp_path / "whole", **saving))

    class Killed(PretrainingTrainer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.add_callback(Kill())

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretraining, "PretrainingTrainer", Killed)
        run_pretraining(None, [lines], small(), quick(tmp_path / "killed", **saving))
    resumed = quick(tmp_path / "killed", resume_from_checkpoint="auto", **saving)
    run_pretraining(None, [lines], small(), resumed)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


CHANGED = {
    "text": ({"validation_share": 0.3}, "train data: .*validation_share: 0.1 → 0.3"),
    "blocks": ({"max_length": 32}, "train data: .*max_length: 64 → 32"),
    "masks": ({"masked_share": 0.3}, "share: 0.15 → 0.3"),
    "words": ({"lexicon": None}, "lexicon: [0-9a-f]+ → None"),
}


@pytest.fixture(scope="module")
def saved(lines, tmp_path_factory):
    """The folder of a run of a step, with its checkpoint."""
    folder = tmp_path_factory.mktemp("saved")
    run_pretraining(None, [lines], small(), quick(folder, max_steps=1, save_strategy="steps", save_steps=1))
    return folder


@pytest.mark.parametrize("change", CHANGED)
def test_a_run_with_other_text_or_masks_is_not_resumed(change, saved, lines, tmp_path):
    options, told = CHANGED[change]
    resumed = quick(tmp_path, max_steps=2, resume_from_checkpoint=str(saved / "checkpoint-1"))
    with pytest.raises(ValueError, match=f"is of another run.*{told}"):
        run_pretraining(None, [lines], small(**options), resumed)


def test_evaluation_may_change_when_a_run_is_resumed(saved, lines, tmp_path):
    options = {"max_steps": 2, "resume_from_checkpoint": str(saved / "checkpoint-1")}
    found = run_pretraining(None, [lines], small(), quick(tmp_path, eval_strategy="steps", eval_steps=1, **options))
    assert found["steps"] == 2


def without_dropout(encoder: Path, folder: Path) -> Path:
    """A copy of an encoder that has no chance in it."""
    shutil.copytree(encoder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_two_processes_with_workers_equal_one_that_accumulates(pretrained, lines, tmp_path):
    encoder = without_dropout(pretrained[0], tmp_path / "encoder")
    common = ["--max_length", "64", "--max_steps", "4", "--learning_rate", "0.1", "--optim", "sgd", "--use_cpu",
              "--validation_share", "0.1", "--per_device_train_batch_size", "4", "--save_strategy", "no"]  # fmt: skip
    one = [str(encoder), lines, "--output", str(tmp_path / "one"), *common, "--gradient_accumulation_steps", "2"]
    assert main(["pretrain", *one, "--dataloader_num_workers", "0"]) == 0
    two = [str(encoder), lines, "--output", str(tmp_path / "two"), *common, "--dataloader_num_workers", "1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run([*command, "-m", "hf_adner.cli", "pretrain", *two], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, begun = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "one", tmp_path / "two", encoder)
    )
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 2e-6
    assert max((first[name] - begun[name]).abs().max().item() for name in first) > 1e-3
    found = [json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8")) for name in ("one", "two")]
    assert found[0]["held_out"]["after"] == pytest.approx(found[1]["held_out"]["after"], rel=1e-4)


def test_every_epoch_has_its_masks(lines, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(MacBertCollator, "set_epoch", lambda self, epoch: calls.append((id(self), epoch)))
    run_pretraining(None, [lines], small(), quick(tmp_path, max_steps=-1, num_train_epochs=3))
    held_out, training = calls[0], calls[1:]
    assert held_out[1] == 0 and [epoch for _, epoch in training] == [0, 1, 2]
    assert len({own for own, _ in training}) == 1 and held_out[0] != training[0][0]


def test_bfloat16_learns_as_well(pretrained, lines, tmp_path):
    encoder = without_dropout(pretrained[0], tmp_path / "encoder")
    losses = {}
    for half in (False, True):
        options = quick(tmp_path / str(half), bf16=half, max_steps=12, learning_rate=1e-3)
        metrics = run_pretraining(str(encoder), [lines], small(), options)
        losses[half] = metrics["held_out"]["after"]["masked_loss"]
        assert losses[half] < metrics["held_out"]["before"]["masked_loss"]
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


def test_losses_of_parts_add_up_to_that_of_the_whole(lines, tmp_path):
    args = small(replacement="mask", ngram_shares=[1.0], lexicon="none")
    texts = Path(lines).read_text(encoding="utf-8").splitlines()
    tokenizer = load_tokenizer(None, texts, args)
    model = build_masked_lm(None, tokenizer, args).eval()
    trainer = build_trainer(model, tokenizer, divide_text(texts, tokenizer, args), args, quick(tmp_path))
    batch = trainer.data_collator([trainer.train_dataset[number] for number in range(4)])
    items = (batch["labels"] != -100).sum()
    parts = [{name: value[row : row + 1] for name, value in batch.items()} for row in range(4)]
    whole = trainer.compute_loss(model, batch, num_items_in_batch=items).item()
    assert whole == pytest.approx(model(**batch).loss.item(), rel=1e-5)
    split = [trainer.compute_loss(model, part, num_items_in_batch=items).item() for part in parts]
    assert sum(split) == pytest.approx(whole, rel=1e-5)


def test_given_vectors_and_vectors_of_another_language(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("2 2\n红斑 1 0\n瘙痒 0.9 0.1\n", encoding="utf-8")
    vectors = given_vectors(["患", "红斑", "瘙痒"], str(path))
    assert vectors.shape == (3, 2) and vectors[0].tolist() == [0, 0] and vectors[1].tolist() == [1, 0]
    with pytest.raises(ValueError, match="has none of the text's 1 words"):
        given_vectors(["患"], str(path))
    path.write_text("IgE 1 0\n", encoding="utf-8")
    assert given_vectors(["ige"], str(path), lower_case=True).tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="none of the text's"):
        given_vectors(["ige"], str(path))


def test_a_vocabulary_that_does_not_know_the_text_is_refused_and_checked(pretrained, tmp_path, capsys):
    folder, _ = pretrained
    path = tmp_path / "other.txt"
    path.write_text("дерматит\nэкзема患者\n", encoding="utf-8")
    assert check_text(str(folder), [str(path)], small()).unknown_rate == pytest.approx(14 / 16)
    with pytest.raises(ValueError, match="87.5 % of the characters are not in the vocabulary"):
        run_pretraining(str(folder), [str(path)], small(), quick(tmp_path / "run"))
    assert main(["pretrain", str(folder), "--check", str(path)]) == 0
    output = capsys.readouterr().out
    assert "87.500 %" in output and "would be refused: more than 30 %" in output


def test_texts_of_test_documents_are_left_out_and_told(lines, tmp_path, caplog):
    held = [note(number).text for number in range(40)]
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps({"text": text, "entities": []}) + "\n" for text in held), encoding="utf-8"
    )
    every, rest = (set(texts_of([lines], small(exclude=files))) for files in (None, [f"{tmp_path}/*.jsonl"]))
    assert rest == every - set(held) and len(rest) < len(every)
    assert "of 200 texts are left out" in caplog.text


def test_the_command_line(capsys):
    command = parse_pretraining(
        ["encoder", "a.txt", "b.txt", "--output", "out", "--replacement", "mask", "--bf16", "False"]
    )
    assert (command.encoder, command.texts, command.training.output_dir) == ("encoder", ["a.txt", "b.txt"], "out")
    assert command.arguments.replacement == "mask" and not command.check
    scratch = parse_pretraining(["a.txt", "--from-scratch", "--output-dir", "out", "--lexicon", "none"])
    assert scratch.encoder is None and scratch.texts == ["a.txt"] and scratch.arguments.lexicon is None
    between = parse_pretraining(["encoder", "--output", "out", "a.txt", "--max-steps", "3", "b.txt"])
    assert (between.encoder, between.texts, between.training.max_steps) == ("encoder", ["a.txt", "b.txt"], 3)
    for options, message in ((["--lexicon", "ad+train"], "no entities"), (["--longest-word", "0"], "1 or more")):
        with pytest.raises(SystemExit):
            parse_pretraining(["encoder", "a.txt", "--output", "out", *options])
        assert message in capsys.readouterr().err


VOCABULARY = ["[PAD]", UNUSED, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"面部红斑伴瘙痒"]


def config(**options) -> BertConfig:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(**{"vocab_size": len(VOCABULARY), "max_position_embeddings": 64, **small, **options})


@pytest.fixture
def tokenizer() -> AdnerTokenizer:
    return AdnerTokenizer({token: index for index, token in enumerate(VOCABULARY)})


def test_a_missing_head_is_made_and_told_and_an_existing_one_kept(tmp_path, tokenizer, caplog):
    encoder = BertModel(config())
    encoder.save_pretrained(tmp_path / "encoder")
    with caplog.at_level(logging.WARNING):
        model = load_masked_lm(str(tmp_path / "encoder"), tokenizer)
    assert "no masked-language-model head" in caplog.text
    assert torch.equal(model.bert.encoder.layer[1].output.dense.weight, encoder.encoder.layer[1].output.dense.weight)
    model.save_pretrained(tmp_path / "headed")
    caplog.clear()
    again = load_masked_lm(str(tmp_path / "headed"), tokenizer)
    assert "head" not in caplog.text
    assert torch.equal(again.cls.predictions.transform.dense.weight, model.cls.predictions.transform.dense.weight)


def test_layers_are_cut_and_not_made_up(tmp_path, tokenizer):
    BertModel(config()).save_pretrained(tmp_path)
    assert len(load_masked_lm(str(tmp_path), tokenizer, layers=1).bert.encoder.layer) == 1
    with pytest.raises(ValueError, match="encoder_layers=3, expected 1 to 2"):
        load_masked_lm(str(tmp_path), tokenizer, layers=3)


def test_a_vocabulary_of_another_encoder_is_refused(tmp_path, tokenizer):
    BertModel(config(vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="id 12, but the encoder only 9 embeddings"):
        load_masked_lm(str(tmp_path), tokenizer)


def test_weights_that_lack_layers_are_refused(tmp_path, tokenizer):
    BertModel(config(num_hidden_layers=1)).save_pretrained(tmp_path)
    config(num_hidden_layers=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks \d+ weights of the encoder, the first is bert\.encoder\.layer\.1"):
        load_masked_lm(str(tmp_path), tokenizer)


def test_the_vocabulary_is_written_as_bert_has_it(tmp_path, tokenizer):
    model = make_masked_lm(tokenizer, 32, 1, 0)
    model.save_pretrained(tmp_path)
    save_vocabulary(tokenizer, tmp_path, max_length=64)
    assert (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines() == VOCABULARY
    again, stock = AdnerTokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert (
        again.get_vocab() == tokenizer.get_vocab()
        and again(["红 斑"])["input_ids"] == tokenizer(["红 斑"])["input_ids"]
    )
    assert stock("面部红斑")["input_ids"] == tokenizer("面部红斑")["input_ids"] and stock.mask_token_id == 5
    assert AutoModel.from_pretrained(tmp_path).config.vocab_size == len(VOCABULARY)
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path)) is type(model)


def test_a_vocabulary_from_text_survives_too(tmp_path):
    made = AdnerTokenizer.from_texts(["红 斑"])
    save_vocabulary(made, tmp_path, max_length=64)
    make_masked_lm(made, 32, 1, 0).config.save_pretrained(tmp_path)
    again = AdnerTokenizer.from_pretrained(tmp_path)
    assert again("红 斑x")["input_ids"] == made("红 斑x")["input_ids"] and SPACE in again.get_vocab()


def test_blocks_are_no_longer_than_the_encoder():
    model = BertForMaskedLM(config())
    assert block_length(None, model) == 64 and block_length(16, model) == 16
    assert block_length(None, BertForMaskedLM(config(max_position_embeddings=2048))) == 512
    with pytest.raises(ValueError, match="max_length=65 .*, but the encoder has only 64 positions"):
        block_length(65, model)
