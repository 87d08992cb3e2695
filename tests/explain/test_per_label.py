"""Explanations of nested entities: those of a flat tagger which knows the entity's label alone."""

import numpy as np
import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Explanation, make_explainer
from hf_adner.explain.tagger import Tagger, entity_posteriors
from hf_adner.explain.targets import TARGETS

TYPES = ["Disease", "Site"]
TEXTS = ["面部皮炎反复三年", "颈部瘙痒"]
ENTITIES = [[(0, 4, "Disease"), (0, 2, "Site"), (2, 4, "Disease")], [(0, 4, "Disease"), (0, 2, "Site")]]
ENCODER = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}


def build(tokenizer, types, tagging):
    torch.manual_seed(0)
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, types, "bert-crf", encoder_config=ENCODER, tagging=tagging
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in name.lower():
                parameter.normal_(std=0.4)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AdnerTokenizer.from_texts(TEXTS)


@pytest.fixture(scope="module")
def nested(tokenizer):
    return build(tokenizer, TYPES, "per-label")


@pytest.fixture(scope="module")
def alone(tokenizer, nested):
    """Per label a flat model with the weights of its chain."""
    models = {}
    for number, label in enumerate(TYPES):
        weights = nested.state_dict()
        for name in ("head.classifier.weight", "head.classifier.bias"):
            weights[name] = weights[name].unflatten(0, (len(TYPES), -1))[number]
        models[label] = build(tokenizer, [label], "flat")
        models[label].load_state_dict(weights)
    return models


def of_label(label):
    return [[span for span in spans if span[2] == label] for spans in ENTITIES]


def by_span(explanations):
    return {(text, *one.span): one for text, found in enumerate(explanations) for one in found}


@pytest.mark.parametrize("name", ["grad-x-input", "integrated-gradients", "occlusion"])
@pytest.mark.parametrize("target", TARGETS)
def test_explanations_are_those_of_the_label_alone(name, target, nested, alone, tokenizer):
    found = by_span(make_explainer(name, nested, tokenizer, target=target)(TEXTS, ENTITIES))
    assert len(found) == 5
    for label, model in alone.items():
        expected = by_span(make_explainer(name, model, tokenizer, target=target)(TEXTS, of_label(label)))
        for key, one in expected.items():
            np.testing.assert_allclose(found[key].scores, one.scores, atol=1e-4)
            for side in ("start_profile", "end_profile", "posterior", "value"):
                if hasattr(one, side) and getattr(one, side) is not None:
                    np.testing.assert_allclose(getattr(found[key], side), getattr(one, side), atol=1e-4)


def test_predicted_entities_are_explained_nested(nested, tokenizer, tmp_path):
    found = make_explainer("grad-x-input", nested, tokenizer)(TEXTS)
    pipe = AdnerPipeline(nested, tokenizer, device="cpu")
    expected = [[(one["start"], one["end"], one["entity_group"]) for one in entities] for entities in pipe(TEXTS)]
    assert [[one.span for one in explanations] for explanations in found] == expected
    assert any(one[1] > two[0] for spans in expected for one, two in zip(spans, spans[1:]))
    with_pipe = pipe(TEXTS, explain="grad-x-input")
    for explanations, entities in zip(found, with_pipe):
        for one, entity in zip(explanations, entities):
            assert entity["explanation"].span == one.span
            np.testing.assert_allclose(entity["explanation"].scores, one.scores, atol=1e-5)
    found[0][0].save(tmp_path / "one.json")
    assert Explanation.load(tmp_path / "one.json").span == found[0][0].span


def test_posteriors_are_those_of_the_pipeline(nested, tokenizer):
    pipe = AdnerPipeline(nested, tokenizer, device="cpu")
    entities = pipe(TEXTS)
    spans = [[(one["start"], one["end"], one["entity_group"]) for one in found] for found in entities]
    values = entity_posteriors(Tagger(nested, tokenizer), TEXTS, spans)
    for found, own in zip(entities, values):
        assert own == pytest.approx([one["score"] for one in found], abs=1e-5)
