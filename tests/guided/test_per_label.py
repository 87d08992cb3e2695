"""Guided training of nested entities: that of the flat model where there is one label, and every part with several."""

from dataclasses import replace

import pytest
import torch
from transformers import set_seed

from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.records import Entity
from hf_adner.guided.consistency import label_log_probs, label_places, read_outputs
from hf_adner.guided.roles import AFTER, BEFORE, FIRST, LAST, MIDDLE, ROLES, RoleFinder
from hf_adner.model.labels_adner import bio_labels
from hf_adner.model.layers_adner import locate_text
from hf_adner.training.preparation import build_model, build_tokenizer

from ..corpora import note, tiny_model
from .guided import SMALL, Setting, encoded, logged, weights

OFF = {"lexicon": None, "encoder_dropout": 0.0, "config_overrides": f"{SMALL},head_dropout=0.0"}


def nested_note(number: int):
    """A sentence whose symptom is inside a finding."""
    document = note(number)
    symptom = next(entity for entity in document.entities if entity.label == "Symptom")
    return replace(document, entities=(*document.entities, Entity(symptom.start - 1, symptom.end + 1, "Finding")))


def setting(documents, types: list[str], tagging: str) -> Setting:
    data = dataset_from_documents(documents)
    args = tiny_model(architecture="bert-crf", tagging=tagging, **OFF)
    set_seed(0)
    tokenizer = build_tokenizer(args, data)
    model = build_model(args, tokenizer, types)
    return Setting(model, tokenizer, data, encoded(data, tokenizer, model))


@pytest.fixture(scope="module")
def nested() -> Setting:
    return setting(map(nested_note, range(16)), ["Disease", "Finding", "Symptom"], "per-label")


@pytest.mark.parametrize("options", [{}, {"fusion": "none", "gradient_accumulation_steps": 2}, {"edited_share": 0.3}])
def test_a_run_with_one_label_is_that_of_the_flat_model(options, tmp_path):
    """All terms of the loss, directions, roles and marginals: equal weights after three epochs."""
    documents = [replace(one, entities=one.entities[-1:]) for one in map(note, range(16))]
    documents = [replace(one, entities=tuple(replace(e, label="Disease") for e in one.entities)) for one in documents]
    runs = [
        setting(documents, ["Disease"], tagging).trained(tmp_path / tagging, **options)
        for tagging in ("flat", "per-label")
    ]
    flat, per_label = map(weights, runs)
    assert flat.keys() == per_label.keys()
    for name, value in flat.items():
        torch.testing.assert_close(per_label[name], value, atol=1e-6, rtol=0, msg=name)
    for figure in ("loss", "consistency_divergence", "consistency_tokens", "edge_norm_share"):
        assert logged(runs[0], figure) == pytest.approx(logged(runs[1], figure), abs=1e-6)
    assert logged(runs[0], "consistency_divergence")[-1] > 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stability_share": 0.0, "consistency_weight": 0.0, "r_drop_weight": 1.0},
        {"stability_share": 0.0, "consistency_weight": 0.0, "adversarial": "fgm"},
        {"explanation_control": "prediction-gradient"},
    ],
)
def test_every_part_guides_nested_runs(options, nested, tmp_path):
    trainer = nested.trained(tmp_path, **options)
    assert all(torch.isfinite(torch.tensor(value)) for value in logged(trainer, "loss"))
    before = nested.model.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in weights(trainer).items())
    if not options:
        assert trainer.cache.remembered and 0 < logged(trainer, "consistency_tokens")[-1] <= 1
        for window, memory in trainer.cache.remembered.items():
            assert memory.marginals.shape == (len(nested.rows[window]["input_ids"]) - 2, 3, 3)
            sums = memory.marginals.float().sum(-1)
            torch.testing.assert_close(sums, torch.ones_like(sums), atol=5e-3, rtol=0)


def test_an_interrupted_nested_run_goes_on(nested, tmp_path):
    whole = nested.trained(tmp_path / "whole", save_strategy="steps", save_steps=3)
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    resumed = nested.trainer(tmp_path / "again", save_strategy="steps", save_steps=3)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, value in weights(whole).items():
        assert torch.equal(weights(resumed)[name], value), name


def test_scores_have_the_gradient_of_the_chains_labels(nested):
    """Of one state per label the scores are the emissions; the marginals are those of the model's output."""
    model = nested.model.eval()
    inputs = nested.tokenizer(["患者瘙痒3天，诊断湿疹。", "红斑"], padding=True, return_tensors="pt")
    outputs = model(**inputs)
    positions = locate_text(inputs["attention_mask"])
    reading, marginals = read_outputs(model, outputs, positions), label_log_probs(model, outputs, positions)
    torch.testing.assert_close(reading.log_probs, positions.take(outputs.chain_log_probs).detach())
    mask = positions.mask
    torch.testing.assert_close(marginals[mask], reading.log_probs[mask], atol=1e-4, rtol=1e-4)
    assert marginals.requires_grad and reading.scores.requires_grad
    torch.testing.assert_close(reading.scores[..., 0], outputs.emissions.unflatten(-1, (3, -1))[..., 0])
    gold = torch.full((2, 1, 3), -100)
    gold[0, 0] = torch.tensor([2, 0, 5])
    assert label_places(model, gold)[0, 0].tolist() == [2, 0, 1]


def test_roles_in_nested_entities():
    """Edges of every entity; the cell of the nearest entity, of several that hold a token that of the first label."""
    labels = bio_labels(["x", "y"])
    finder, ids = RoleFinder(labels), {name: index for index, name in enumerate(labels)}
    outer = [ids[tag] for tag in "O O B-x I-x I-x I-x O O O O".split()]
    inner = [ids[tag] for tag in "O O O B-y I-y O O O O B-y".split()]
    columns = torch.tensor([outer, inner]).T[None]
    roles = finder(columns, torch.ones(1, 10, dtype=torch.bool))
    assert roles.edges[0].tolist() == [False, True, True, True, True, True, True, False, True, True]
    x, y = ROLES, 2 * ROLES
    expected = [x + BEFORE, x + BEFORE, x + FIRST, x + MIDDLE, x + MIDDLE, x + LAST, x + AFTER, x + AFTER]
    assert roles.cells[0].tolist() == [*expected, y + BEFORE, y + FIRST]
    alone = finder(columns[..., 1], torch.ones(1, 10, dtype=torch.bool))
    column = finder(torch.stack([torch.zeros_like(columns[..., 1]), columns[..., 1]], 2), torch.ones(1, 10).bool())
    assert torch.equal(alone.edges, column.edges) and torch.equal(alone.cells, column.cells)
