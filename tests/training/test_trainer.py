"""The card that a run writes into its checkpoint, and the one that a push sends."""

import json
import re

import pytest
from huggingface_hub import ModelCard
from transformers import BertConfig, BertForTokenClassification

from hf_adner.cards.examples import sentences
from hf_adner.cards.record import CardOptions
from hf_adner.training.run import run_training
from hf_adner.training.trainer import AdnerTrainer

from .corpus import note, quick, tiny_model, write_corpus


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run: its folder and what it returned."""
    folder = tmp_path_factory.mktemp("run")
    options = CardOptions(model_title="Skin tagger", model_license="mit", example_texts=["一篇没有见过的新短文。"])
    metrics = run_training(write_corpus(folder), tiny_model(), quick(folder / "out", max_steps=2), options)
    return folder / "out", metrics


def test_the_card_tells_what_was_measured(run):
    folder, metrics = run
    card = ModelCard.load(folder / "model" / "README.md")
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert results["F1 (strict)"] == round(metrics["test"]["strict"]["f1"], 4)
    assert card.data.license == "mit" and "# Skin tagger\n" in card.text
    assert card.data.widget == [{"text": "一篇没有见过的新短文。"}]
    assert (
        f"| steps | {metrics['steps']} |" in card.text and f"| train | {metrics['documents']['train']} |" in card.text
    )
    assert "words of the training documents" in card.text  # the lexicon was made from them
    assert "## Calibration\n\nNot measured" not in card.text
    assert re.search(r"## Robustness\n\nNot measured", card.text)


def test_neither_card_nor_figures_show_a_document(run):
    folder, metrics = run
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    figures = json.dumps({**metrics, "dataset": None}, ensure_ascii=False)
    texts = [note(number).text for number in [*range(32), *range(1000, 1008)]]
    assert not any(sentence in card or sentence in figures for text in texts for sentence in sentences(text))
    assert str(folder.parent) not in card


def test_an_example_from_the_documents_stops_the_run_before_it_starts(tmp_path):
    options = CardOptions(example_texts=[note(1002).text])
    with pytest.raises(ValueError, match="shows a sentence of the training data"):
        run_training(write_corpus(tmp_path), tiny_model(), quick(tmp_path / "out"), options)
    assert not (tmp_path / "out" / "model").exists()


def test_a_push_asks_for_our_card(tmp_path):
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config.id2label = {0: "O", 1: "B-Drug", 2: "I-Drug"}
    trainer = AdnerTrainer(model=BertForTokenClassification(config), args=quick(tmp_path, hub_model_id="me/drugs"))
    trainer.card_options = CardOptions(dataset_title="Drug notes")
    trainer.create_model_card(
        model_name="drugs", tags=["extra"], finetuned_from="hfl/base", dataset_tags="me/notes", license="mit"
    )
    card = ModelCard.load(tmp_path / "README.md")
    assert "# drugs\n" in card.text and '"me/drugs"' in card.text and "| trained on | Drug notes |" in card.text
    assert "Finds entities in Chinese medical text: Drug." in card.text
    head = card.data
    assert (head.base_model, head.datasets, head.license) == ("hfl/base", ["me/notes"], "mit")
    assert {"extra", "BertForTokenClassification"} <= set(head.tags)
