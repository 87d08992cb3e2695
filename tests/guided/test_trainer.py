"""Guided runs: equality with other runs, files, and refused arguments."""

import copy
import logging
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer, set_seed
from transformers.trainer_utils import HPSearchBackend

from hf_adner import AdnerForTokenClassification, make_explainer
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import AdnerDataCollator, encode_dataset
from hf_adner.data.records import Document, Entity
from hf_adner.explain.amortised import HEAD_FILE, ExplainerHead
from hf_adner.explain.global_table import GlobalTable
from hf_adner.guided.batches import GUIDANCE
from hf_adner.guided.trainer import ExplanationCallback, ExplanationGuidedTrainer
from hf_adner.training.trainer import AdnerTrainer

from ..corpora import InterruptAfterSave, largest_difference, note
from . import english
from .guided import NO_TERMS, WITHOUT_DROPOUT, Setting, arguments, setting, weights

TERMS = ("stability", "boundary", "consistency", "ner", "view_ner")
PLAIN_DESCENT = {"optim": "sgd", "learning_rate": 0.01, "head_learning_rate": 0.01, "crf_learning_rate": 0.01}
"""Adam divides by gradients' sizes, and so makes differences of rounding in tiny ones as large as the rate."""


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
    """A model without dropout that already finds most entities, so that no term is zero for lack of a teacher."""
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


def logged(trainer, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


# ---- every model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert-softmax", "bilstm-crf", "m-dscmg"])
def test_every_family_is_taught_by_every_term(architecture, tmp_path):
    given = fitted(architecture)
    trainer = given.trained(tmp_path)
    for name in TERMS:
        values = logged(trainer, f"loss_{name}")
        assert values and all(math.isfinite(value) and value >= -1e-6 for value in values) and max(values) > 0, name
    assert len(logged(trainer, "loss_stability")) == 4 and len(logged(trainer, "loss_ner")) == 6
    before, after = given.model.state_dict(), trainer.model.state_dict()
    still = {name for name, _ in trainer.model.named_parameters() if torch.equal(after[name], before[name])}
    assert not {name for name in still if "embeddings" not in name}
    assert len(trainer.guidance.cache) == 16 and trainer.guidance.is_ready
    assert not trainer.model.base_model._forward_hooks


def test_accumulated_batches_equal_one_batch(family, tmp_path):
    one = family.trained(tmp_path, **PLAIN_DESCENT)
    halves = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    two = family.trained(tmp_path, **PLAIN_DESCENT, **halves)
    assert largest_difference(weights(one), weights(two)) < 1e-6
    plain = family.trained(tmp_path, **PLAIN_DESCENT, **NO_TERMS)
    assert largest_difference(without_head(one), weights(plain)) > 1e-4
    for name in ("loss_stability", "loss_boundary", "loss_consistency"):
        assert logged(two, name) == pytest.approx(logged(one, name), abs=1e-5) and max(logged(one, name)) > 0


def without_head(trainer) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights(trainer).items() if not name.startswith("explainer_head")}


def test_workers_and_checkpointed_activations_change_nothing(crf, whole, tmp_path):
    workers = crf.trained(tmp_path, dataloader_num_workers=2)
    assert largest_difference(weights(whole), weights(workers)) == 0.0
    checkpointed = crf.trained(tmp_path, activation_checkpointing=True)
    assert largest_difference(weights(whole), weights(checkpointed)) < 1e-6


@pytest.mark.parametrize("kind", sorted(english.MODELS))
def test_stock_models_on_english_words(kind, tmp_path):
    words = english.byte_tokenizer() if kind == "roberta" else english.tokenizer(tmp_path)
    model = english.model(kind, words)
    options = {"model": model, "train_documents": english.documents(), "processing_class": words}
    rates = {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "head_learning_rate": 1e-2}
    plain = arguments(tmp_path / "plain", max_steps=80, **rates, **NO_TERMS)
    ExplanationGuidedTrainer(args=plain, **options).train()  # finds some entities, so there is something to explain
    before = copy.deepcopy(model.state_dict())
    trainer = ExplanationGuidedTrainer(args=arguments(tmp_path / "run", max_steps=8, **rates), **options)
    trainer.train()
    for name in TERMS:
        found = logged(trainer, f"loss_{name}")
        assert found and max(found) > 0 and all(map(math.isfinite, found)), name
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any("word_embeddings" in name for name in changed) and any("classifier" in name for name in changed)
    text = english.NOTES[0][0]
    explain = make_explainer("amortised", model.eval(), words, head=trainer.head)
    [[one]] = explain([text], [[(16, 29, "Disease")]])
    assert len(one.scores) == len(text) and sum(one.scores) == pytest.approx(1, abs=1e-5)


# ---- plain runs --------------------------------------------------------------------------------------------------


ONE_RATE = {**dict.fromkeys(("learning_rate", "head_learning_rate", "crf_learning_rate"), 1e-3), "weight_decay": 0.0}


@pytest.mark.parametrize(("plain_class", "rates"), [(AdnerTrainer, {}), (Trainer, ONE_RATE)])
def test_with_all_weights_zero_it_is_the_plain_trainer(crf, tmp_path, plain_class, rates):
    """And with one learning rate for all weights, that of transformers."""
    given = crf._replace(model=setting("bert-crf").model)  # with dropout: the random numbers must be the same too
    guided = given.trained(tmp_path, **NO_TERMS, **rates)
    assert guided.head is None and guided.guidance is None
    assert not any("loss_" in name for entry in guided.state.log_history for name in entry)
    set_seed(0)
    plain = plain_class(
        model=copy.deepcopy(given.model),
        args=arguments(tmp_path, **NO_TERMS, **rates),
        train_dataset=given.rows,
        processing_class=given.tokenizer,
        data_collator=AdnerDataCollator(given.tokenizer),
    )
    plain.train()
    assert largest_difference(weights(guided), plain.model.state_dict()) == 0.0
    assert logged(guided, "loss") == logged(plain, "loss")


def test_heads_that_nothing_teaches_are_not_kept(crf, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 3}
    taught = crf.trained(tmp_path / "taught", **options)
    assert not (tmp_path / "taught" / "checkpoint-2" / HEAD_FILE).exists()  # the plain phase ends here
    assert (tmp_path / "taught" / "checkpoint-4" / HEAD_FILE).exists() and taught.head is not None
    crf.trained(tmp_path / "untaught", stability_weight=0.0, **options)
    assert not (tmp_path / "untaught" / "checkpoint-6" / HEAD_FILE).exists()
    assert (tmp_path / "untaught" / "checkpoint-6" / "global_table").is_dir()


def test_an_optimizer_of_ones_own_steps_the_head_too(crf, tmp_path):
    model = copy.deepcopy(crf.model)
    options = {"model": model, "args": arguments(tmp_path), "train_dataset": crf.rows, "train_documents": crf.documents,
               "processing_class": crf.tokenizer}  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    trainer = ExplanationGuidedTrainer(**options, optimizers=(optimizer, None))
    before = copy.deepcopy(trainer.head.state_dict())
    trainer.train()
    assert any(not torch.equal(value, before[name]) for name, value in trainer.head.state_dict().items())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    with pytest.raises(ValueError, match="a scheduler of your own"):
        ExplanationGuidedTrainer(**options, optimizers=(optimizer, schedule))


def test_a_new_head_draws_no_random_number_of_the_run(crf, tmp_path):
    crf.trainer(tmp_path, **NO_TERMS)
    without = torch.rand(3)
    crf.trainer(tmp_path)
    assert torch.equal(torch.rand(3), without)


# ---- other arms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["shuffled", "other-sentence", "random"])
def test_controls_replace_the_explanation_and_nothing_else(crf, whole, tmp_path, control):
    other = crf.trained(tmp_path, explanation_control=control)
    assert logged(whole, "loss_ner")[:2] == logged(other, "loss_ner")[:2]  # the plain phase is the same
    assert logged(whole, "loss_stability") != logged(other, "loss_stability")
    keys = sorted(other.guidance.cache.remembered)
    known = other.guidance.recall(keys)
    shares, again = other.guidance.shares(keys, known), other.guidance.shares(keys, known)
    for one, same, true, (window, _) in zip(shares, again, other.guidance._plain_shares(keys, known), keys):
        is_text = other.guidance.windows[window].tokens.is_text
        assert one.sum() == pytest.approx(1, abs=1e-4) and not one[~is_text].any() and (one == same).all()
        assert (sorted(one[is_text]) == pytest.approx(sorted(true[is_text]))) == (control == "shuffled")


@pytest.mark.parametrize(("fusion", "weight"), [("local", 1.0), ("global", 0.0), ("equal", 0.5)])
def test_every_fusion_guides(crf, tmp_path, fusion, weight):
    trainer = crf.trained(tmp_path, fusion=fusion, saliency_interval=4)
    assert all(math.isfinite(value) for value in logged(trainer, "loss"))
    assert max(logged(trainer, "loss_stability")) > 0
    assert logged(trainer, "local_weight") == pytest.approx([weight] * 4)


def test_r_drop_of_a_model_without_dropout_is_the_plain_run(crf, tmp_path):
    r_drop = crf.trained(tmp_path, **NO_TERMS, r_drop_weight=1.0)
    plain = crf.trained(tmp_path, **NO_TERMS)
    assert max(logged(r_drop, "loss_r_drop")) < 1e-6 and r_drop.guided_dataset.maker is None
    assert logged(r_drop, "loss_ner") == pytest.approx(logged(plain, "loss"), abs=1e-4)
    smooth = crf.trained(tmp_path, **NO_TERMS, boundary_smoothing=0.2)
    assert logged(smooth, "loss_ner")[0] > logged(plain, "loss")[0]
    assert largest_difference(without_head(smooth), weights(plain)) > 1e-5


def test_r_drop_sees_dropout_and_augmentation_alone_explains_nothing(tmp_path):
    given = setting("bert-crf")
    options = {**NO_TERMS, "view_ner_weight": 1.0, "r_drop_weight": 1.0}
    trainer = given.trained(tmp_path, **options)
    assert min(logged(trainer, "loss_r_drop")) > 0 and len(logged(trainer, "loss_view_ner")) == 6
    assert not trainer.guidance.is_ready and not logged(trainer, "loss_stability")


# ---- checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", "group_by_length"])
def test_a_interrupted_run_resumed_ends_with_the_same_bits(tmp_path, sampler):
    """Killed at the end of the plain phase, and in the midst of an epoch with explanations; with dropout."""
    given = setting("bert-crf")
    order = {"train_sampling_strategy": sampler}
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
        for name in ("loss_ner", "loss_view_ner"):
            assert logged(resumed, name) == logged(whole, name)
        assert resumed.guidance.state() == whole.guidance.state()
        assert torch.equal(whole.guidance.fusion.moments, resumed.guidance.fusion.moments)
        tensors = resumed.guidance.cache.to_tensors()
        for name, value in whole.guidance.cache.to_tensors().items():
            assert torch.equal(value.nan_to_num(-1), tensors[name].nan_to_num(-1)), name


def test_a_checkpoint_has_all_that_belongs_to_it(crf, tmp_path):
    trainer = crf.trained(tmp_path / "run", save_strategy="steps", save_steps=6)
    trainer.save_model(str(tmp_path / "model"))
    for folder in (tmp_path / "model", tmp_path / "run" / "checkpoint-6"):
        assert GlobalTable.load(folder / "global_table").min_documents == 5
        assert GlobalTable.load(folder / "private" / "global_table").labels
        loaded = ExplainerHead.from_pretrained(folder)
        assert torch.equal(loaded.key.weight, trainer.head.key.weight)
    assert (tmp_path / "run" / "checkpoint-6" / "private" / "saliency_cache.safetensors").exists()
    model = AdnerForTokenClassification.from_pretrained(tmp_path / "model")
    text = note(0).text
    for name in ("amortised", "fused", "global"):
        explanations = make_explainer(name, model, crf.tokenizer)([text], [note(0).spans])[0]
        assert [len(one.scores) for one in explanations] == [len(text)] * 2


def test_the_best_model_comes_back_with_its_head(crf, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2,
               "load_best_model_at_end": True, "metric_for_best_model": "loss"}  # fmt: skip
    trainer = crf.trained(tmp_path / "run", eval_dataset=crf.rows, **options)
    best = trainer.state.best_model_checkpoint
    assert torch.equal(ExplainerHead.from_pretrained(best).key.weight, trainer.head.key.weight)


# ---- batches -----------------------------------------------------------------------------------------------------


def on(given: Setting, documents: list[Document], **options) -> Setting:
    """The same model on other documents."""
    data = dataset_from_documents(documents)
    rows = encode_dataset(data, given.tokenizer, given.model.config.label2id, **options)
    return given._replace(documents=data, rows=rows)


def test_a_batch_without_entities_has_zero_terms(crf, tmp_path):
    healthy = [Document("a", "患者反复十天，来诊。"), Document("b", "未见异常。")]
    with pytest.raises(ValueError, match="none of the 2 training windows holds an entity"):
        on(crf, healthy).trainer(tmp_path)
    mixed = on(crf, [healthy[0], note(0), note(1)])
    alone = mixed.trained(tmp_path, per_device_train_batch_size=1, max_steps=9, saliency_interval=1)
    for name in ("loss_stability", "loss_boundary"):
        values = logged(alone, name)
        assert len(values) == 6 and values[::3] == [0, 0] and max(values) > 0


def test_long_texts_are_guided_window_by_window(crf, tmp_path):
    """Four notes make one text, three windows and more."""
    parts = [note(number) for number in range(4)]
    places = [sum(len(one.text) for one in parts[:number]) for number in range(4)]
    entities = tuple(
        Entity(place + entity.start, place + entity.end, entity.label)
        for place, one in zip(places, parts)
        for entity in one.entities
    )
    long = Document("long", "".join(one.text for one in parts), entities)
    cut = on(crf, [long, note(7)], max_length=32, overlap=8)
    trainer = cut.trained(tmp_path, per_device_train_batch_size=2)
    windows = trainer.guidance.windows
    names = {window.document.id for window in windows}
    assert len(names) == len(cut.rows) > 3 and {name.split("#")[0] for name in names} == {"long", "note-7"}
    for window in windows:
        for (start, end, label), entity in zip(window.spans, window.document.entities, strict=True):
            assert (entity.start, entity.end, entity.label) == (start - 1, end - 1, label)
    assert max(logged(trainer, "loss_stability")) > 0


def test_masked_characters_reach_the_model_as_mask_tokens(crf, tmp_path):
    trainer = crf.trainer(tmp_path, view_share=1.0)
    examples = [trainer.guided_dataset[number] for number in range(16)]
    masked = [
        one.view for one in examples if one.view and crf.tokenizer.mask_token_id in one.view.features["input_ids"]
    ]
    assert masked
    for one in examples:
        row = crf.rows[one.window]
        for token, place in enumerate(one.view.aligned if one.view else ()):
            if place >= 0:
                assert row["input_ids"][token] == one.view.features["input_ids"][place]
                assert row["labels"][token] == one.view.features["labels"][place]


def test_views_recompute_the_lexicons_words(tmp_path):
    given = setting("m-dscmg")
    trainer = given.trainer(tmp_path, view_share=1.0)
    views = [example.view for example in map(trainer.guided_dataset.__getitem__, range(16)) if example.view]
    assert views
    special = set(given.tokenizer.all_special_ids)
    compared = 0
    for view in views:
        ids = view.features["input_ids"][1:-1]
        if special.isdisjoint(ids):  # then the tokens are the text
            own = given.tokenizer("".join(given.tokenizer.convert_ids_to_tokens(ids)))
            for name in ("lexicon_ids", "lexicon_starts", "lexicon_ends"):
                assert view.features[name] == own[name]
            compared += bool(own["lexicon_ids"])
    assert compared > 2
    batch = next(iter(trainer.get_train_dataloader()))
    rows = 8 + sum(one.view is not None for one in batch[GUIDANCE])
    assert len(batch["lexicon_ids"]) == len(batch["labels"]) == rows


# ---- a model for every trial -------------------------------------------------------------------------------------


def test_every_training_with_model_init_begins_anew(crf, tmp_path):
    def trainer_of(**model):
        options = {"train_dataset": crf.rows, "train_documents": list(map(note, range(16)))}
        set_seed(0)
        return ExplanationGuidedTrainer(
            args=arguments(tmp_path), processing_class=crf.tokenizer, **options, **model
        )  # fmt: skip

    plain = trainer_of(model=copy.deepcopy(crf.model))
    plain.train()
    expected = weights(plain)
    trainer = trainer_of(model_init=lambda: copy.deepcopy(crf.model))
    for _ in range(2):
        trainer.train()
        assert largest_difference(weights(trainer), expected) == 0.0


def test_a_trial_has_its_own_terms_and_head(crf, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.hp_params", lambda trial: trial.params)  # without a search package
    trainer = ExplanationGuidedTrainer(
        model_init=lambda trial: copy.deepcopy(crf.model),
        args=arguments(tmp_path),
        train_documents=crf.documents,
        processing_class=crf.tokenizer,
    )
    trainer.hp_search_backend, trainer.hp_space = HPSearchBackend.OPTUNA, lambda trial: trial.params
    found = []
    for number, params in enumerate((NO_TERMS, {"stability_weight": 0.1, "explainer_learning_rate": 1e-3}, NO_TERMS)):
        trainer.train(trial=SimpleNamespace(number=number, params=params))
        heads = {id(one) for one in trainer.head.parameters()} if trainer.is_guided else set()
        rates = {group["initial_lr"] for group in trainer.optimizer.param_groups
                 if heads & {id(one) for one in group["params"]}}  # fmt: skip
        callbacks = [one for one in trainer.callback_handler.callbacks if isinstance(one, ExplanationCallback)]
        found.append((trainer.is_guided, trainer.guidance is not None, rates, len(callbacks)))
    assert found == [(False, False, set(), 0), (True, True, {1e-3}, 1), (False, False, set(), 0)]


# ---- bad input ---------------------------------------------------------------------------------------------------


def test_what_does_not_go_together_is_refused(crf, tmp_path):
    for options, found in (
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor"),
        ({"dataloader_persistent_workers": True, "dataloader_num_workers": 1}, "dataloader_persistent_workers"),
    ):
        with pytest.raises(ValueError, match=found):
            crf.trainer(tmp_path, **options)
    with pytest.raises(ValueError, match="needs train_documents"):
        ExplanationGuidedTrainer(
            model=crf.model, args=arguments(tmp_path), train_dataset=crf.rows, processing_class=crf.tokenizer
        )
    with pytest.raises(ValueError, match="train_documents are not those of train_dataset"):
        crf._replace(documents=dataset_from_documents([note(5), *map(note, range(15))])).trainer(tmp_path)
    with pytest.raises(ValueError, match="of 16 documents, train_documents are 3"):
        crf._replace(documents=crf.documents.select(range(3))).trainer(tmp_path)
    with pytest.raises(ValueError, match=r"has no columns \['window_end'\]"):
        crf._replace(rows=crf.rows.remove_columns("window_end")).trainer(tmp_path)


def test_a_model_without_word_embeddings_is_refused(crf, tmp_path):
    class Wordless(AdnerForTokenClassification):
        def get_input_embeddings(self) -> nn.Module:
            raise NotImplementedError

    model = Wordless(copy.deepcopy(crf.model.config))
    with pytest.raises(ValueError, match="Wordless has no word embeddings"):
        crf._replace(model=model).trainer(tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    given = setting("bert-softmax", **WITHOUT_DROPOUT)
    with pytest.raises((FloatingPointError, ValueError), match="not finite|must be finite"):
        given.trained(tmp_path, learning_rate=1e30, head_learning_rate=1e30, max_grad_norm=0.0)


def test_a_loss_that_is_no_number_elsewhere_ends_this_process_too(crf, tmp_path, monkeypatch):
    trainer = crf.trainer(tmp_path)
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", property(lambda self: 2))
    for others, ends in ((0.0, False), (1.0, True)):
        monkeypatch.setattr(trainer.accelerator, "reduce", lambda own, how, others=others: own + others)
        with pytest.raises(FloatingPointError, match="not finite") if ends else nullcontext():
            trainer._check_finite(torch.tensor(1.0))


def test_a_run_without_a_guided_phase_says_so(crf, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = crf.trained(tmp_path, max_steps=2)
    assert "explanations will not be used: the first 2 steps are plain" in caplog.text
    assert not trainer.guidance.is_ready


def test_plain_columns_do_not_stand_for_documents(tmp_path, crf):
    rows = Dataset.from_dict({"input_ids": [[2, 3]], "labels": [[-100, -100]]})
    with pytest.raises(ValueError, match="make it with hf_adner.data.encode_dataset"):
        crf._replace(rows=rows).trainer(tmp_path)
