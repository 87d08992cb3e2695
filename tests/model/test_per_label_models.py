"""Models with a label sequence per entity type: nested entities from texts to pipelines, however they are batched."""

import json

import pytest
import torch
from transformers import Trainer, TrainingArguments, pipeline

from hf_adner import AdnerForTokenClassification, AdnerPipeline, Document, Entity, encode_dataset
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import AdnerDataCollator
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import tags_to_spans
from hf_adner.model.windows_adner import Window, merge_by_label

TYPES = ("Disease", "Drug", "Site")
CRF = [name for name, switches in ARCHITECTURES.items() if switches["use_crf"]]
EVERY = pytest.mark.parametrize("architecture", CRF)
SOME = pytest.mark.parametrize("architecture", ["m-dscmg", "bert-crf", "bilstm-crf"])
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GOLD = {
    "四肢红斑块": [(0, 5, "Disease"), (0, 2, "Site"), (2, 4, "Site"), (2, 3, "Drug")],
    "他克莫司软膏": [(0, 4, "Drug"), (4, 6, "Drug"), (3, 5, "Disease")],
    "痒": [(0, 1, "Disease"), (0, 1, "Site")],
    "反复红斑伴瘙痒3年": [(2, 7, "Disease"), (5, 7, "Disease")],
    "": [],
}


def documents() -> list[Document]:
    return [
        Document(str(number), text, tuple(Entity(*span) for span in spans))
        for number, (text, spans) in enumerate(GOLD.items())
    ]


def encoded(tokenizer, model):
    data = dataset_from_documents(documents())
    return encode_dataset(data, tokenizer, model.config.label2id, tagging=model.config.tagging)


def batch_of(tokenizer, model, rows=None) -> dict[str, torch.Tensor]:
    features = [*encoded(tokenizer, model)]
    names = (*tokenizer(""), "labels")
    chosen = [features[row] for row in (range(len(features)) if rows is None else rows)]
    return AdnerDataCollator(tokenizer)([{name: row[name] for name in names} for row in chosen])


@pytest.fixture(scope="module")
def nested(build):
    """Per architecture a per-label model."""
    made = {}

    def make(architecture: str, **kwargs):
        key = (architecture, *kwargs)
        if key not in made:
            made[key] = build(architecture, TYPES, tagging="per-label", encoder=STILL, head_dropout=0.0, **kwargs)
        return made[key]

    return make


@EVERY
def test_every_parameter_learns(architecture, nested, tokenizer):
    model = nested(architecture).train()
    model.zero_grad()
    model(**batch_of(tokenizer, model)).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@SOME
def test_loss_is_the_likelihood_of_all_labels_per_token(architecture, nested, tokenizer):
    """The divisor of a single batch is the number of its tokens, not of its labels; a sum is taken over the chains."""
    model = nested(architecture).eval()
    singles = [model(**batch_of(tokenizer, model, [row])).loss.item() * len(text) for row, text in enumerate(GOLD)]
    assert model(**batch_of(tokenizer, model)).loss.item() == pytest.approx(sum(singles) / 21, abs=1e-5)
    inputs = batch_of(tokenizer, model, [0])
    output = model(**inputs)
    likelihood = model.head.read_chains(
        output.emissions.unflatten(-1, (3, -1))[0].transpose(0, 1),
        torch.ones(3, 5, dtype=torch.bool),
        model.head.chain_labels.to_chains(inputs["labels"][:, 1:-1])[0].T,
    ).likelihood
    assert output.loss.item() == pytest.approx(-likelihood.sum().item() / 5, abs=1e-5)


def test_batches_of_two_and_three_give_the_gradient_of_five(nested, tokenizer):
    """With the Trainer's `num_items_in_batch`, which counts the labels of all columns."""
    model = nested("m-dscmg").train()

    def gradients(*rows):
        model.zero_grad()
        for chosen in rows:
            inputs = batch_of(tokenizer, model, chosen)
            model(**inputs, num_items_in_batch=21 * len(TYPES)).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    whole, parts = gradients(range(5)), gradients(range(2), range(2, 5))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-5, rtol=0, msg=name)
    model.zero_grad()
    model(**batch_of(tokenizer, model)).loss.backward()  # the same number, counted by the model
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name], atol=1e-5, rtol=0, msg=name)


@SOME
def test_padding_changes_nothing(architecture, nested, tokenizer, texts):
    model = nested(architecture).eval()
    tokenizer_sides = [
        tokenizer(texts, padding=True, padding_side=side, return_tensors="pt") for side in ("right", "left")
    ]
    with torch.no_grad():
        right, left = (model(**inputs) for inputs in tokenizer_sides)
        for row, text in enumerate(texts):
            alone, tokens = model(**tokenizer(text, return_tensors="pt")), len(text) + 2
            for name in ("logits", "start_probs", "end_probs", "chain_log_probs", "predictions"):
                expected = alone[name][0]
                tolerance = {"atol": 1e-4, "rtol": 1e-4}
                torch.testing.assert_close(right[name][row, :tokens], expected, **tolerance, msg=name)
                torch.testing.assert_close(left[name][row, -tokens:], expected, **tolerance, msg=name)


def test_logits_are_distributions_that_stock_pipelines_read(nested, tokenizer, texts):
    model = nested("m-dscmg").eval()
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    assert logits.shape[-1] == 1 + 2 * len(TYPES)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(logits.shape[:2]), atol=1e-5, rtol=0)
    stock = pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device="cpu"
    )
    for text, found in zip(texts, stock([text or "无" for text in texts])):
        ends = [0, *(entity["end"] for entity in found)]
        assert all(entity["start"] >= end for entity, end in zip(found, ends))  # disjoint
        assert not text or all(entity["word"] == text[entity["start"] : entity["end"]] for entity in found)


def test_the_trainer_collects_paths_of_batches_of_different_lengths(nested, tokenizer, tmp_path):
    model = nested("bert-crf").eval()
    rows = encoded(tokenizer, model)
    args = TrainingArguments(tmp_path, per_device_eval_batch_size=1, report_to=[], use_cpu=True)
    (logits, path), labels, _ = Trainer(model, args, data_collator=AdnerDataCollator(tokenizer)).predict(rows)
    assert logits.shape == (5, 11, 7) and path.shape == labels.shape == (5, 11, 3)
    for row, text in enumerate(GOLD):
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt"))
        assert path[row, : len(text) + 2].tolist() == alone.predictions[0].tolist()


def test_encoding_keeps_entities_of_different_labels(nested, tokenizer):
    """Of one label the longest of overlapping entities is gold, as in flat encoding."""
    model = nested("bert-crf")
    for row, (text, spans) in zip(encoded(tokenizer, model), GOLD.items(), strict=True):
        assert row["labels"][0] == row["labels"][-1] == [-100] * 3 and len(row["labels"]) == len(text) + 2
        columns = zip(*([model.config.labels[index] for index in labels] for labels in row["labels"][1:-1]))
        found = {span for column in columns for span in tags_to_spans(column)}
        assert found == {span for span in spans if span != (5, 7, "Disease")}


def test_labels_of_the_other_tagging_are_refused(nested, build, tokenizer):
    inputs = batch_of(tokenizer, nested("bert-crf"))
    flat = build("bert-crf", TYPES)
    with pytest.raises(ValueError, match=r"labels has the shape \(5, 11, 3\), expected \(5, 11\): .* is 'flat'"):
        flat(**inputs)
    with pytest.raises(ValueError, match=r"labels has the shape \(5, 11\), expected \(5, 11, 3\): .* 'per-label'"):
        nested("bert-crf")(**{**inputs, "labels": inputs["labels"][..., 0]})


@SOME
def test_a_checkpoint_answers_as_before(architecture, nested, tokenizer, texts, tmp_path):
    pipe = AdnerPipeline(model=nested(architecture).eval(), tokenizer=tokenizer, device="cpu")
    pipe.save_pretrained(tmp_path)
    again = pipeline("adner-ner", model=str(tmp_path), device="cpu")
    assert json.loads((tmp_path / "config.json").read_text())["tagging"] == "per-label"
    assert again(texts) == pipe(texts)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        for name, value in pipe.model(**inputs).items():
            assert torch.equal(again.model(**inputs)[name], value), name


def test_a_flat_checkpoint_without_the_field_stays_flat(build, tokenizer, texts, tmp_path):
    """As the versions before this tagging wrote it."""
    model = build("bert-crf")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["tagging"]
    (tmp_path / "config.json").write_text(json.dumps({**config, "format_version": "1.1"}))
    old = AdnerForTokenClassification.from_pretrained(tmp_path)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    assert old.config.tagging == "flat"
    with torch.no_grad():
        assert all(torch.equal(old(**inputs)[name], value) for name, value in model(**inputs).items())


# ---- the pipeline -------------------------------------------------------------------------------------------------


def test_pipeline_returns_the_entities_of_every_path(nested, tokenizer, texts):
    model = nested("m-dscmg").eval()
    overlapping = 0
    for text, entities in zip(texts, AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")(texts)):
        with torch.no_grad():
            output = model(**tokenizer(text, return_tensors="pt"))
        expected = {}
        for number, name in enumerate(TYPES):
            path = [model.config.labels[index] for index in output.predictions[0, 1:-1, number]]
            for start, end, label in tags_to_spans(path):
                assert label == name
                boundaries = output.start_probs[0, start + 1, number], output.end_probs[0, end, number]
                expected[start, end, name] = [value.item() for value in boundaries]
        spans = [(one["start"], one["end"], one["entity_group"]) for one in entities]
        assert spans == sorted(expected, key=lambda span: (span[0], -span[1], span[2]))
        for one, span in zip(entities, spans):
            assert one["word"] == text[one["start"] : one["end"]]
            assert [one["start_score"], one["end_score"]] == pytest.approx(expected[span], abs=1e-5)
            posterior = model.entity_log_posteriors(output.emissions, output.text_mask, [(0, *span)]).exp().item()
            assert one["score"] == pytest.approx(posterior, abs=1e-5)
        overlapping += sum(first[1] > second[0] for first, second in zip(spans, spans[1:]))
    assert overlapping


def test_windows_are_joined_label_by_label(nested, tokenizer, texts):
    """No entity of another label decides which of a label are kept, and text that fits one window is not touched."""
    pipe = AdnerPipeline(model=nested("bert-crf").eval(), tokenizer=tokenizer, device="cpu")
    text = "".join(texts) * 6
    options = {"window_size": 30, "window_overlap": 10}
    together = pipe(text, **options)
    batches = [pipe(text, batch_size=size, **options) for size in (1, 3)]
    for other in batches:
        assert [one["word"] for one in other] == [one["word"] for one in together]
    for label in TYPES:
        own = [one for one in together if one["entity_group"] == label]
        assert own and all(first["end"] <= second["start"] for first, second in zip(own, own[1:]))
    assert any(first["end"] > second["start"] for first, second in zip(together, together[1:]))


def test_merging_by_label():
    windows = [Window(0, 8), Window(4, 12)]
    found = [[(0, 3, "a"), (2, 6, "b"), (5, 8, "a")], [(6, 8, "b"), (5, 12, "a"), (6, 7, "c")]]
    merged = merge_by_label(windows, found, lambda entity: entity[2])
    assert merged == [(0, 3, "a"), (2, 6, "b"), (5, 12, "a"), (6, 8, "b"), (6, 7, "c")]
    assert merge_by_label([Window(0, 8)], found[:1], lambda entity: entity[2]) == [*found[0]]
    assert merge_by_label([], [], lambda entity: entity[2]) == []


def test_candidates_of_every_label(nested, tokenizer):
    pipe = AdnerPipeline(model=nested("m-dscmg").eval(), tokenizer=tokenizer, device="cpu")
    text = "反复红斑伴瘙痒"
    best, likely = pipe(text), pipe(text, candidates=0.05)
    assert len({one["entity_group"] for one in likely if not one["on_path"]}) > 1
    assert [{**one, "on_path": True} for one in best] == sorted(
        (one for one in likely if one["on_path"]), key=lambda one: (one["start"], -one["end"])
    )
    assert all(one["score"] > 0.05 for one in likely if not one["on_path"])
