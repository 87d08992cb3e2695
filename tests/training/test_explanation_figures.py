"""Figures of explanations, entity by entity."""

import math

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.audit.prediction import scored_spans
from hf_adner.comparison.record import MEASURES, common_difference, explanation_figures, mean_figure
from hf_adner.data.records import Document, Entity

from .corpus import note

A = {"occlusion": {"agreement": {"0/0": 0.5, "0/1": 0.1}}}
B = {"occlusion": {"agreement": {"0/0": 0.2, "1/0": 0.9}}}


def test_only_common_entities_are_compared():
    assert common_difference(A, B, "occlusion", "agreement") == pytest.approx(0.3)
    assert mean_figure(A, "occlusion", "agreement") == pytest.approx(0.3)
    assert math.isnan(common_difference(A, {}, "occlusion", "agreement"))
    assert math.isnan(mean_figure(A, "lime", "agreement"))


def test_figures_of_a_model_name_its_entities():
    texts = [note(number).text for number in range(3)]
    tokenizer = AdnerTokenizer.from_texts(texts)
    torch.manual_seed(0)
    encoder = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
               "intermediate_size": 24}  # fmt: skip
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["Disease", "Symptom"], "bert-crf", encoder_config=encoder
    )
    found = scored_spans(model, tokenizer, texts)
    documents = [
        Document(str(number), text, tuple(Entity(one.start, one.end, one.label) for one in ones))
        for number, (text, ones) in enumerate(zip(texts, found, strict=True))
    ]
    names = {f"{number}/{index}" for number, one in enumerate(documents) for index in range(len(one.entities))}
    figures = explanation_figures(model, tokenizer, documents, ["grad-x-input"], entities=4)
    assert set(figures) == {"grad-x-input"} and set(figures["grad-x-input"]) == set(MEASURES)
    agreement = figures["grad-x-input"]["agreement"]
    assert agreement and set(agreement) <= names and all(-1 <= value <= 1 for value in agreement.values())
