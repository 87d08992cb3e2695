"""Guided runs: equality with other runs, figures, files, and refused arguments."""

import copy
import json
from functools import wraps

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch import nn
from transformers import Trainer, set_seed

from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import AdnerDataCollator, encode_dataset
from hf_adner.data.records import Document
from hf_adner.guided.arguments import CONTROLS, FUSIONS
from hf_adner.guided.trainer import CACHE_FILE, STATE_FILE, ExplanationGuidedTrainer
from hf_adner.training.trainer import AdnerTrainer

from ..corpora import InterruptAfterSave, largest_difference, note
from . import english
from .guided import PLAIN, WITHOUT_DROPOUT, Setting, arguments, logged, setting, weights

PLAIN_DESCENT = {"optim": "sgd", "learning_rate": 0.01, "head_learning_rate": 0.01, "crf_learning_rate": 0.01}
"""Adam divides by gradients' sizes, and so makes differences of rounding in tiny ones as large as the rate."""

FIGURES = (
    "consistency_divergence", "consistency_tokens", "edge_norm_share", "loss_added", "perturbed_share", "token_weight",
)  # fmt: skip


@pytest.fixture(scope="module", params=["bert-crf", "m-dscmg"])
def family(request) -> Setting:
    return fitted(request.param)


@pytest.fixture(scope="module")
def crf() -> Setting:
    return fitted("bert-crf")


@pytest.fixture(scope="module")
def whole(crf, tmp_path_factory) -> ExplanationGuidedTrainer:
    """A finished run."""
    return crf.trained(tmp_path_factory.mktemp("whole"))


def fitted(architecture: str) -> Setting:
    """A model without dropout that already finds most entities."""
    given = setting(architecture, **WITHOUT_DROPOUT)
    optimizer = torch.optim.Adam(given.model.parameters(), lr=5e-3)
    rows = given.rows.remove_columns(["document", "window_start", "window_end"])
    batch = AdnerDataCollator(given.tokenizer)(list(rows))
    for _ in range(40):
        optimizer.zero_grad()
        given.model.train()(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(given.model.parameters(), 1.0)
        optimizer.step()
    return given


# ---- every model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert-softmax", "bilstm-crf", "m-dscmg"])
def test_every_family_is_perturbed_and_says_so(architecture, tmp_path):
    given = fitted(architecture)
    trainer = given.trained(tmp_path)
    for name in FIGURES:
        values = logged(trainer, name)
        assert len(values) >= 4 and all(abs(value) < 100 for value in values), name
    assert logged(trainer, "perturbed_share") == [1.0] * 4  # all but the first epoch
    assert max(logged(trainer, "loss_added")) > 0 and 0 < min(logged(trainer, "edge_norm_share")) < 1
    assert len(trainer.cache) == 16
    plain = given.trained(tmp_path, **PLAIN)
    assert largest_difference(weights(trainer), weights(plain)) > 1e-4


def test_a_perturbation_is_the_gradient_of_the_last_visit(crf, tmp_path):
    """By hand: the gradient of the tagging loss at the embeddings, before anything is learned."""
    trainer = crf.trained(tmp_path, learning_rate=0.0, head_learning_rate=0.0, max_steps=2)
    batch = AdnerDataCollator(crf.tokenizer)([crf.rows[5]])
    ids = batch.pop("input_ids")
    embeddings = crf.model.get_input_embeddings()(ids).detach().requires_grad_()
    kept = ("attention_mask", "token_type_ids", "labels")
    crf.model.train()(inputs_embeds=embeddings, **{name: batch[name] for name in kept}).loss.backward()
    gradient = embeddings.grad[0, 1:-1].flatten()
    seen = trainer.cache.pending[5].direction.read().flatten()
    assert torch.nn.functional.cosine_similarity(gradient, seen, dim=0) > 0.9999


def test_accumulated_batches_equal_one_batch(family, tmp_path):
    large = {**PLAIN_DESCENT, "perturbation_size": 0.5}
    one = family.trained(tmp_path, **large)
    halves = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    two = family.trained(tmp_path, **large, **halves)
    assert largest_difference(weights(one), weights(two)) < 1e-6
    plain = family.trained(tmp_path, **PLAIN_DESCENT, **PLAIN)
    assert largest_difference(weights(one), weights(plain)) > 1e-5


def test_workers_and_checkpointed_activations_change_nothing(crf, whole, tmp_path):
    workers = crf.trained(tmp_path, dataloader_num_workers=2)
    assert largest_difference(weights(whole), weights(workers)) == 0.0
    checkpointed = crf.trained(tmp_path, activation_checkpointing=True)
    assert largest_difference(weights(whole), weights(checkpointed)) < 1e-6


@pytest.mark.parametrize("kind", sorted(english.MODELS))
def test_stock_models_on_english_words(kind, tmp_path):
    words = english.byte_tokenizer() if kind == "roberta" else english.tokenizer(tmp_path)
    model = english.model(kind, words)
    rows = encode_dataset(dataset_from_documents(english.documents()), words, model.config.label2id)
    options = {"train_dataset": rows, "processing_class": words, "data_collator": AdnerDataCollator(words)}
    rates = {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "head_learning_rate": 1e-2, "max_steps": 8}
    trainers = []
    for name, parts in (("guided", {}), ("plain", PLAIN)):
        set_seed(0)
        given = arguments(tmp_path / name, **rates, **parts)
        trainers.append(ExplanationGuidedTrainer(model=copy.deepcopy(model), args=given, **options))
        trainers[-1].train()
    shares = logged(trainers[0], "perturbed_share")
    assert len(shares) >= 4 and set(shares) == {1.0}
    assert largest_difference(*map(weights, trainers)) > 1e-4


# ---- plain runs --------------------------------------------------------------------------------------------------


ONE_RATE = {**dict.fromkeys(("learning_rate", "head_learning_rate", "crf_learning_rate"), 1e-3), "weight_decay": 0.0}


@pytest.mark.parametrize("plain_class, rates", [(AdnerTrainer, {}), (Trainer, ONE_RATE)])
def test_with_all_parts_off_it_is_the_plain_trainer(crf, tmp_path, plain_class, rates):
    given = arguments(tmp_path, **PLAIN, **rates)
    set_seed(0)
    options = {"train_dataset": crf.rows, "processing_class": crf.tokenizer}
    options["data_collator"] = AdnerDataCollator(crf.tokenizer)
    plain = plain_class(model=copy.deepcopy(crf.model), args=given, **options)
    plain.train()
    assert largest_difference(weights(plain), weights(crf.trained(tmp_path, **PLAIN, **rates))) == 0.0


@pytest.mark.parametrize(
    "off",
    [
        {"perturbation_size": 0.0},
        {"stability_share": 0.0},
        {"stability_share": 0.0, "explanation_control": "prediction-gradient"},
    ],
)
def test_without_a_perturbation_only_consistency_is_left(crf, tmp_path, off):
    trainer = crf.trained(tmp_path, **off)
    assert logged(trainer, "consistency_divergence") and not logged(trainer, "perturbed_share")
    assert all(memory.direction is None for memory in trainer.cache.remembered.values())
    alone = crf.trained(tmp_path, **off, consistency_weight=0.0)
    assert not alone.is_guided and largest_difference(weights(trainer), weights(alone)) > 1e-5


# ---- parts, controls and arms ------------------------------------------------------------------------------------


def test_every_part_changes_the_run(crf, whole, tmp_path):
    for part in ({"boundary_scale": 1.0}, {"consistency_weight": 0.0}, {"ramp_share": 1.0}, {"stability_share": 0.5}):
        changed = crf.trained(tmp_path, **part)
        assert largest_difference(weights(changed), weights(whole)) > 1e-6, part


@pytest.mark.parametrize("name, names", [("fusion", FUSIONS), ("explanation_control", CONTROLS)])
def test_every_fusion_and_every_control_is_a_run_of_its_own(crf, tmp_path, name, names):
    runs = [weights(crf.trained(tmp_path, **{name: value})) for value in names]
    for number, run in enumerate(runs):
        assert all(largest_difference(run, other) > 1e-7 for other in runs[:number]), names[number]


def test_signs_are_nearly_as_good_as_halves(crf, whole, tmp_path):
    signs = crf.trained(tmp_path, cache_precision="sign")
    assert 0 < largest_difference(weights(signs), weights(whole)) < 0.05
    assert signs.cache.remembered[0].direction.values.dtype == torch.uint8


def test_fgm_is_the_mean_of_both_passes(crf, tmp_path):
    """One step by hand: half the gradient of the text, half of the text moved along that gradient."""
    once = {**PLAIN, **PLAIN_DESCENT, "adversarial": "fgm", "max_steps": 1, "max_grad_norm": 0.0, "weight_decay": 0.0}
    trainer = crf.trained(tmp_path, **once)
    model = copy.deepcopy(crf.model).train()
    rows = crf.rows.remove_columns(["document", "window_start", "window_end"])
    batch = AdnerDataCollator(crf.tokenizer)([rows[number] for number in range(8)])
    ids = batch.pop("input_ids")
    text = (batch["labels"] != -100)[..., None]
    embeddings = model.get_input_embeddings()(ids)
    embeddings.retain_grad()
    (model(inputs_embeds=embeddings, **batch).loss / 2).backward()
    gradient = embeddings.grad * text
    size = 0.05 * model.get_input_embeddings().weight.norm(dim=1).mean() * text.sum((1, 2)).sqrt()
    offset = gradient * (size / gradient.flatten(1).norm(dim=1))[:, None, None]
    (model(inputs_embeds=model.get_input_embeddings()(ids) + offset.detach(), **batch).loss / 2).backward()
    expected = {name: value - 0.01 * value.grad for name, value in model.named_parameters() if value.grad is not None}
    for name, value in expected.items():
        assert value.detach() == pytest.approx(trainer.model.state_dict()[name], abs=1e-6), name


def test_free_adversarial_training_replays_each_batch(crf, tmp_path):
    trainer = crf.trained(tmp_path, **PLAIN, adversarial="free", free_replays=2, max_steps=-1, num_train_epochs=4)
    assert trainer.state.global_step == 8  # as many as without replays
    assert largest_difference(weights(trainer), weights(crf.trained(tmp_path, **PLAIN, max_steps=8))) > 1e-4
    sampler, seen = trainer._guided_sampler(), []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert order[:8] == order[8:] and len(order) == len(sampler) == 16
        seen.append(set(order))
    assert seen[0] | seen[1] == seen[2] | seen[3] == set(range(16))


def test_r_drop_of_a_model_without_dropout_is_the_plain_run(crf, tmp_path):
    plain = crf.trained(tmp_path, **PLAIN_DESCENT, **PLAIN)
    dropped = crf.trained(tmp_path, **PLAIN_DESCENT, **PLAIN, r_drop_weight=1.0)
    assert largest_difference(weights(plain), weights(dropped)) < 1e-6


def test_r_drop_sees_dropout(tmp_path):
    given = setting("bert-crf")
    without, dropped = (given.trained(tmp_path, **PLAIN, r_drop_weight=weight) for weight in (1e-6, 3.0))
    assert largest_difference(weights(without), weights(dropped)) > 1e-5


def test_edits_leave_entities_alone(crf, tmp_path):
    seen = []
    trainer = crf.trainer(tmp_path, **PLAIN, edited_share=0.5)
    forward = trainer.model.forward

    @wraps(forward)
    def watched(**inputs):
        seen.append(inputs)
        return forward(**inputs)

    trainer.model.forward = watched
    trainer.train()
    changed = 0
    for step, inputs in enumerate(seen):
        for row in range(len(inputs["input_ids"])):
            source = crf.rows[(step % 2) * 8 + row]
            length = len(source["input_ids"])
            ids = inputs["input_ids"][row, :length].tolist()
            different = [place for place in range(length) if ids[place] != source["input_ids"][place]]
            assert all(source["labels"][place] == 0 for place in different)
            changed += bool(different)
    assert 0.2 * 48 < changed < 0.8 * 48


# ---- checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", pytest.param("group_by_length", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "parts", [pytest.param({}, marks=pytest.mark.slow), {"fusion": "adaptive-direction", "cache_precision": "sign"}]
)
def test_an_interrupted_run_resumed_ends_with_the_same_bits(tmp_path, sampler, parts):
    """Killed at the end of the first epoch, and within a later one; with dropout."""
    given = setting("bert-crf")
    order = {"train_sampling_strategy": sampler, "ramp_share": 0.5, "stability_share": 0.7, **parts}
    whole = given.trained(tmp_path / "whole", **order)
    for step in (2, 5):
        saving = {**order, "save_strategy": "steps", "save_steps": step}
        interrupted = given.trainer(tmp_path / f"interrupted-{step}", **saving)
        interrupted.add_callback(InterruptAfterSave(step))
        with pytest.raises(KeyboardInterrupt):
            interrupted.train()
        resumed = given.trainer(tmp_path / f"interrupted-{step}", **saving)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"interrupted-{step}" / f"checkpoint-{step}"))
        assert largest_difference(weights(whole), weights(resumed)) == 0.0
        tensors = resumed.cache.to_tensors()
        for name, value in whole.cache.to_tensors().items():
            assert torch.equal(value.nan_to_num(-1), tensors[name].nan_to_num(-1)), name


def test_only_training_checkpoints_hold_visits(crf, tmp_path):
    trainer = crf.trained(tmp_path / "run", save_strategy="steps", save_steps=6)
    trainer.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model" / "private").exists()
    folder = tmp_path / "run" / "checkpoint-6"
    assert {name.split(".")[0] for name in load_file(folder / CACHE_FILE)} == {"remembered", "pending"}
    assert json.loads((folder / STATE_FILE).read_text())["epoch"] == 2


@pytest.mark.parametrize("file, content", [(STATE_FILE, b"{"), (STATE_FILE, b"{}"), (CACHE_FILE, b"\0" * 9)])
def test_damaged_visits_are_named(crf, tmp_path, file, content):
    saving = {"save_strategy": "steps", "save_steps": 4}
    crf.trained(tmp_path, **saving, max_steps=4)
    checkpoint = tmp_path / "checkpoint-4"
    (checkpoint / file).write_bytes(content)
    with pytest.raises(ValueError, match=r"visits.safetensors or .* is damaged"):
        crf.trainer(tmp_path, **saving).train(resume_from_checkpoint=str(checkpoint))
    for name in (STATE_FILE, CACHE_FILE):
        (checkpoint / name).unlink()
    crf.trainer(tmp_path, **saving).train(resume_from_checkpoint=str(checkpoint))


def test_a_search_begins_every_trial_anew(crf, tmp_path):
    options = {"train_dataset": crf.rows, "processing_class": crf.tokenizer}
    options["data_collator"] = AdnerDataCollator(crf.tokenizer)
    trainer = ExplanationGuidedTrainer(model_init=lambda: copy.deepcopy(crf.model), args=arguments(tmp_path), **options)
    runs = []
    for _ in range(2):
        trainer.train()
        runs.append(weights(trainer))
    assert largest_difference(*runs) == 0.0
    assert largest_difference(runs[0], weights(crf.trained(tmp_path))) == 0.0


# ---- bad input ---------------------------------------------------------------------------------------------------


def test_a_dataset_without_entities_is_refused(crf, tmp_path):
    healthy = dataset_from_documents([Document("a", "患者反复十天，来诊。"), Document("b", "未见异常。")])
    rows = encode_dataset(healthy, crf.tokenizer, crf.model.config.label2id)
    with pytest.raises(ValueError, match="none of the 2 training windows has an entity"):
        crf._replace(rows=rows).trainer(tmp_path)
    mixed = dataset_from_documents([healthy_row(healthy), note(0), note(1)])
    rows = encode_dataset(mixed, crf.tokenizer, crf.model.config.label2id)
    alone = crf._replace(rows=rows).trained(tmp_path, per_device_train_batch_size=1, max_steps=9)
    assert alone.state.global_step == 9


def healthy_row(rows: Dataset) -> Document:
    return Document(rows[0]["id"], rows[0]["text"], ())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fusion": "mean"}, "fusion is 'mean', expected one of none, token-weight"),
        ({"stability_share": 1.5}, "stability_share is 1.5, expected 0 to 1"),
        ({"perturbation_size": -1.0}, "perturbation_size is -1.0, expected 0 or more"),
        ({"boundary_scale": 0.0}, "boundary_scale is 0.0, expected more than 0"),
        ({"r_drop_weight": 1.0}, "does not go with r_drop_weight: set stability_share and consistency_weight to 0"),
        ({"adversarial": "fgm"}, "does not go with adversarial training: set consistency_weight to 0"),
    ],
)
def test_what_does_not_go_together_is_refused(crf, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        crf.trainer(tmp_path, **options)


def test_a_model_without_word_embeddings_is_refused(crf, tmp_path):
    given = crf._replace(model=copy.deepcopy(crf.model))
    given.model.get_input_embeddings = lambda: nn.Linear(2, 2)
    given.model.__class__ = type(
        "Other", (given.model.__class__,), {"get_input_embeddings": lambda self: nn.Identity()}
    )
    del given.model.__dict__["get_input_embeddings"]
    with pytest.raises(ValueError, match="has no word embeddings that could be given as inputs_embeds"):
        given.trainer(tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    given = setting("bert-softmax")
    with pytest.raises((FloatingPointError, ValueError), match="finite"):
        given.trained(tmp_path, learning_rate=1e30, head_learning_rate=1e30, max_grad_norm=0)


def test_a_loss_that_is_no_number_elsewhere_ends_this_process_too(crf, tmp_path, monkeypatch):
    trainer = crf.trainer(tmp_path)
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 2)
    monkeypatch.setattr(trainer.accelerator, "reduce", lambda tensor, *_: tensor + 1)
    with pytest.raises(FloatingPointError, match="the loss of step 0 is not finite"):
        trainer._check_finite(torch.tensor(1.0))
    monkeypatch.setattr(trainer.accelerator, "reduce", lambda tensor, *_: tensor)
    trainer._check_finite(torch.tensor(1.0))


@pytest.mark.parametrize(("steps", "few", "warned"), [(4, 4, True), (12, 13, True), (12, 12, False)])
def test_few_visits_or_steps_are_warned_of(steps, few, warned, crf, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("hf_adner.guided.trainer.FEW_STEPS", few)
    crf.trained(tmp_path, max_steps=steps)
    told = f"the run has {steps} steps and sees every window {steps / 2:.1f} times"
    assert (told in caplog.text) == warned
