"""AdnerPipeline: equal however it is called, exact scores, nothing lost at window edges, clear refusals."""

import copy
import itertools
import logging
import random
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForTokenClassification, BertTokenizer, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Lexicon
from hf_adner.model.labels_adner import allowed_transitions, bioes_to_bio, spans_to_bio, tags_to_spans
from hf_adner.model.windows_adner import prediction_windows

WORDS = {"红斑": "Symptom", "丘疹": "Symptom", "瘙痒": "Symptom", "他克莫司": "Drug", "氯雷他定": "Drug", "药": "Drug"}
FILLERS = ["患者", "反复", "出现", "三年", "，", "。", "外用", "口服", "好转", "司", "红", "定期", "B P 12"]
KEYS = ["entity_group", "score", "start_score", "end_score", "word", "start", "end"]
ENCODER = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}


def compose(seed: int, pieces: int) -> tuple[str, list[tuple[int, int, str]]]:
    """A text of words and fillers, and the spans of the words."""
    rng, text, spans = random.Random(seed), "", []
    for _ in range(pieces):
        piece = rng.choice([*WORDS, *FILLERS])
        if piece in WORDS:
            spans.append((len(text), len(text) + len(piece), WORDS[piece]))
        text += piece
    return text, spans


TEXTS = [compose(seed, seed % 12)[0] for seed in range(60)]


def tokenizer_for_words(**kwargs) -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(["".join([*WORDS, *FILLERS])], **kwargs)


def tiny_model(tokenizer, architecture="bert-crf", scale=30.0, seed=0, types=("Symptom", "Drug"), **kwargs):
    """Random weights, the classifier's enlarged so that paths hold entities."""
    torch.manual_seed(seed)
    encoder = {} if architecture == "bilstm-crf" else {"encoder_config": {**ENCODER, **kwargs.pop("encoder", {})}}
    model = AdnerForTokenClassification.from_scratch(tokenizer, list(types), architecture, **encoder, **kwargs)
    with torch.no_grad():
        model.head.classifier.weight.mul_(scale)
    return model


def train(model, tokenizer, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for step in range(steps):
        texts, golds = zip(*(compose(seed, 10) for seed in range(16 * step, 16 * step + 16)))
        inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
        labels = torch.full_like(inputs["input_ids"], -100)
        for row, (text, spans) in enumerate(zip(texts, golds)):
            tags = [model.config.label2id[tag] for tag in spans_to_bio(spans, len(text))]
            labels[row, 1 : len(text) + 1] = torch.tensor(tags)
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
    model.eval()


def local_model(tokenizer):
    """A trained model that reads each character by itself, so that a window can change little of what it says."""
    encoder = {"num_hidden_layers": 0, "hidden_dropout_prob": 0.0, "max_position_embeddings": 512}
    model = tiny_model(tokenizer, encoder=encoder, scale=1.0)
    positions = model.adner.encoder.embeddings.position_embeddings.weight
    with torch.no_grad():
        positions.zero_()
    positions.requires_grad_(False)
    train(model, tokenizer, 40)
    return model


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_for_words()


@pytest.fixture(scope="module")
def random_pipe(tokenizer):
    return AdnerPipeline(tiny_model(tokenizer), tokenizer, device="cpu")


@pytest.fixture(scope="module")
def trained_pipe(tokenizer):
    model = tiny_model(tokenizer, scale=1.0, encoder={"hidden_dropout_prob": 0.0})
    train(model, tokenizer, 60)
    return AdnerPipeline(model, tokenizer, device="cpu")


@pytest.fixture(scope="module")
def local_pipe(tokenizer):
    return AdnerPipeline(local_model(tokenizer), tokenizer, device="cpu")


def spans(entities):
    return [(entity["start"], entity["end"], entity["entity_group"]) for entity in entities]


def assert_same(found, expected, tolerance=1e-5):
    assert [spans(entities) for entities in found] == [spans(entities) for entities in expected]
    for entity, reference in zip(itertools.chain(*found), itertools.chain(*expected)):
        for key in ("score", "start_score", "end_score"):
            assert entity[key] == pytest.approx(reference[key], abs=tolerance)


def test_entities_of_a_trained_model(trained_pipe):
    text, gold = compose(100_000, 20)
    found = trained_pipe(text)
    assert spans(found) == gold and len(gold) > 3
    assert all(list(entity) == KEYS and entity["word"] == text[entity["start"] : entity["end"]] for entity in found)
    for entity in found:
        assert type(entity["score"]) is float and type(entity["start"]) is int
        assert 0 <= entity["score"] <= min(entity["start_score"], entity["end_score"]) + 1e-6 <= 1 + 1e-6


@pytest.mark.parametrize("architecture", ["bert-crf", "bert-softmax", "bilstm-crf", "bert-bilstm-crf"])
def test_one_by_one_batched_and_streamed_are_equal(tokenizer, architecture):
    pipe = AdnerPipeline(tiny_model(tokenizer, architecture), tokenizer, device="cpu")
    single = [pipe(text) for text in TEXTS]
    assert sum(map(len, single)) > 100
    assert_same(pipe(TEXTS, batch_size=8), single)
    assert_same(pipe(tuple(TEXTS), batch_size=1), single)
    assert_same(list(pipe((text for text in TEXTS), batch_size=3)), single)


def test_lexicon_model_is_equal_batched_and_single():
    tokenizer = tokenizer_for_words(lexicon=Lexicon(list(WORDS)))
    model = tiny_model(tokenizer, "m-dscmg", stream_size=16, lexicon_embedding_size=8)
    pipe = AdnerPipeline(model, tokenizer, device="cpu")
    assert_same(pipe(TEXTS, batch_size=7), [pipe(text) for text in TEXTS])


def test_datasets_stream(random_pipe):
    dataset = Dataset.from_dict({"text": TEXTS})
    expected = random_pipe(TEXTS)
    for inputs in (dataset["text"], KeyDataset(dataset, "text")):
        results = random_pipe(inputs)
        assert not isinstance(results, list)
        assert_same(list(results), expected)


def test_stream_reads_only_some_batches_ahead(random_pipe, monkeypatch):
    monkeypatch.setattr(AdnerPipeline, "buffer_batches", 2)
    read = []
    results = random_pipe((read.append(text) or text for text in itertools.cycle(TEXTS)), batch_size=3)
    assert read == []
    expected = random_pipe(TEXTS)
    assert_same([next(results) for _ in range(len(TEXTS))], expected)
    assert len(read) < len(TEXTS) + 2 * 3


def test_left_padding_changes_nothing(random_pipe, tokenizer):
    other = tokenizer_for_words(padding_side="left")
    assert other(["红斑", "红"], padding=True)["attention_mask"][1][0] == 0
    assert_same(AdnerPipeline(random_pipe.model, other, device="cpu")(TEXTS), random_pipe(TEXTS))


def test_a_list_of_characters_is_a_list_of_texts(random_pipe):
    characters = list("红斑。")
    assert_same(random_pipe(characters), [random_pipe(character) for character in characters])


def test_nothing_in_nothing_out(random_pipe):
    assert random_pipe("") == []
    assert random_pipe([]) == []
    assert random_pipe(["", ""]) == [[], []]
    assert list(random_pipe(iter(()))) == []


@pytest.mark.parametrize("inputs", [None, 3, b"text", {"text": "红斑"}])
def test_refuses_what_is_no_text(random_pipe, inputs):
    with pytest.raises(TypeError, match=f"inputs is {type(inputs).__name__}, expected str"):
        random_pipe(inputs)


@pytest.mark.parametrize("wrong", [None, 3, b"text", ["红", "斑"], {"text": "红斑"}])
def test_says_which_text_is_wrong(random_pipe, wrong):
    with pytest.raises(TypeError, match=f"text 2 is {type(wrong).__name__}, expected str"):
        random_pipe(["红斑", "", wrong])
    with pytest.raises(TypeError, match=f"text 2 is {type(wrong).__name__}, expected str"):
        list(random_pipe(iter(["红斑", "", wrong])))


def test_a_dataset_row_gets_a_hint(random_pipe):
    with pytest.raises(TypeError, match=r'dataset\["text"\]'):
        list(random_pipe(Dataset.from_dict({"text": TEXTS})))


def readings(model, tokenizer, text):
    """Each allowed reading of a text as its set of entities, with its probability, by enumeration of all paths."""
    with torch.no_grad():
        emissions = model(**tokenizer(text, return_tensors="pt")).emissions[0].tolist()
    names, crf = model.config.states, model.head.crf
    starts, ends, steps = (side.tolist() for side in (crf.start_transitions, crf.end_transitions, crf.transitions))
    allowed, readings, scores = allowed_transitions(names), [], []
    for path in itertools.product(range(len(names)), repeat=len(text)):
        pairs = list(zip(path, path[1:]))
        if allowed.starts[path[0]] and allowed.ends[path[-1]] and all(allowed.transitions[i][j] for i, j in pairs):
            unary = sum(emissions[place][state] for place, state in enumerate(path))
            scores.append(unary + starts[path[0]] + ends[path[-1]] + sum(steps[i][j] for i, j in pairs))
            readings.append(set(tags_to_spans(bioes_to_bio([names[state] for state in path]))))
    return list(zip(readings, torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()))


@pytest.mark.parametrize("scheme", ["bioes", "bio"])
def test_scores_are_exact_posteriors(tokenizer, scheme):
    model = tiny_model(tokenizer, tag_scheme=scheme, scale=1.0)
    train(model, tokenizer, 12)
    pipe, unsure = AdnerPipeline(model, tokenizer, device="cpu"), 0
    for text in ("红斑丘疹", "患红药他", "瘙药痒", "莫司氯药", "药"):
        every, entities = readings(model, tokenizer, text), pipe(text)
        assert set(spans(entities)) == max(every, key=lambda reading: reading[1])[0]
        for entity in entities:
            span, start, end = spans([entity])[0], entity["start"], entity["end"]
            expected = {
                "score": sum(p for reading, p in every if span in reading),
                "start_score": sum(p for reading, p in every if start in {first for first, _, _ in reading}),
                "end_score": sum(p for reading, p in every if end in {last for _, last, _ in reading}),
            }
            assert {key: entity[key] for key in expected} == pytest.approx(expected, abs=1e-5)
            unsure += entity["score"] < 0.99
    assert unsure > 1


def test_softmax_score_is_the_product_of_its_tokens(tokenizer):
    model = tiny_model(tokenizer, "bert-softmax", scale=1.0)
    train(model, tokenizer, 25)
    text = max(TEXTS, key=len)[:64]
    with torch.no_grad():
        probabilities = model(**tokenizer(text, return_tensors="pt")).logits[0, 1:-1].exp()
    found = AdnerPipeline(model, tokenizer, device="cpu")(text)
    assert any(entity["end"] - entity["start"] > 1 for entity in found)
    for entity in found:
        begin, inside = (model.config.label2id[f"{prefix}-{entity['entity_group']}"] for prefix in "BI")
        labels = [begin] + [inside] * (entity["end"] - entity["start"] - 1)
        expected = probabilities[range(entity["start"], entity["end"]), labels].prod().item()
        assert entity["score"] == pytest.approx(expected, abs=1e-6)


def test_threshold_filters_and_review_flags(random_pipe, tokenizer):
    everything = random_pipe(TEXTS)
    scores = sorted(entity["score"] for entities in everything for entity in entities)
    middle = scores[len(scores) // 2]
    assert scores[0] < middle < scores[-1]
    confident = random_pipe(TEXTS, threshold=middle)
    assert_same(confident, [[entity for entity in entities if entity["score"] >= middle] for entities in everything])
    flagged = random_pipe(TEXTS, needs_review=True, review_threshold=middle)
    assert [e["needs_review"] for entities in flagged for e in entities] == [
        e["score"] < middle for entities in everything for e in entities
    ]
    assert all("needs_review" not in entity for entities in confident for entity in entities)
    fixed = AdnerPipeline(random_pipe.model, tokenizer, device="cpu", threshold=middle, needs_review=True)
    assert [spans(entities) for entities in fixed(TEXTS)] == [spans(entities) for entities in confident]
    assert [e["needs_review"] for e in itertools.chain(*fixed(TEXTS))] == [
        e["score"] < 0.8 for e in itertools.chain(*confident)
    ]
    assert_same(fixed(TEXTS, threshold=0.0), everything)


def test_stock_pipeline_agrees_where_argmax_is_viterbi(trained_pipe):
    texts = [compose(200_000 + seed, 9)[0] for seed in range(60)]
    stock = pipeline(
        "token-classification",
        model=trained_pipe.model,
        tokenizer=trained_pipe.tokenizer,
        aggregation_strategy="simple",
        stride=8,
        device="cpu",
    )
    agreeing = []
    for text in texts:
        with torch.no_grad():
            outputs = trained_pipe.model(**trained_pipe.tokenizer(text, return_tensors="pt"))
        if torch.equal(outputs.logits[0, 1:-1].argmax(-1), outputs.predictions[0, 1:-1]):
            agreeing.append(text)
    ours, theirs = trained_pipe(agreeing), stock(agreeing)
    assert len(agreeing) > 50 and sum(map(len, ours)) > 100
    assert [spans(entities) for entities in ours] == [spans(entities) for entities in theirs]
    assert [e["word"] for e in itertools.chain(*ours)] == [e["word"] for e in itertools.chain(*theirs)]


def test_windows_give_what_the_whole_text_gives(local_pipe):
    for seed in range(5):
        text, gold = compose(300_000 + seed, 30)
        text, gold = text[:64], [span for span in gold if span[1] <= 64]
        whole = local_pipe(text)
        assert len(prediction_windows(len(text), 64, 0)) == 1 < len(prediction_windows(len(text), 24, 12))
        assert set(gold) <= set(spans(whole)) and len(gold) > 3
        assert_same([local_pipe(text, window_size=24, window_overlap=12)], [whole], tolerance=0.02)


def test_entities_at_every_place_of_a_window_are_found(local_pipe):
    for shift in range(30):
        text = "，" * shift + "外用他克莫司好转。" * 20
        expected = [(start, start + 4, "Drug") for start in range(shift + 2, len(text), 9)]
        assert spans(local_pipe(text, window_size=30, window_overlap=10)) == expected


def test_a_record_of_300_000_characters(local_pipe):
    note = "患者反复出现红斑。外用他克莫司好转，" * 3 + "，" * 90
    record = note * -(-300_000 // len(note))
    places = {"红斑": [], "他克莫司": []}
    for word, starts in places.items():
        start = record.find(word)
        while start >= 0:
            starts.append((start, start + len(word), WORDS[word]))
            start = record.find(word, start + 1)
    found = local_pipe(record, batch_size=32)
    assert spans(found) == sorted(itertools.chain(*places.values()))
    assert all(entity["word"] == record[entity["start"] : entity["end"]] for entity in found)


@given(st.lists(st.text(max_size=90), max_size=4))
@settings(max_examples=30)
def test_any_unicode(random_pipe, texts):
    for text, entities in zip(texts, random_pipe(texts, window_size=40, window_overlap=8), strict=True):
        end = 0
        for entity in entities:
            assert end <= entity["start"] < entity["end"] <= len(text)
            assert entity["word"] == text[entity["start"] : entity["end"]]
            end = entity["end"]


@pytest.mark.parametrize("odd", ["[SEP][CLS]", "👩\u200d⚕️", "\ud800", "e\u0301", "İ", "\n\t\u3000 ", "\x00", "[PAD]"])
def test_odd_characters_move_no_offset(local_pipe, odd):
    assert (len(odd), len(odd) + 2, "Symptom") in spans(local_pipe(f"{odd}红斑{odd}"))


@pytest.mark.parametrize(
    "parameters",
    [
        {"threshold": 1.5},
        {"threshold": "high"},
        {"review_threshold": -0.1},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"window_size": 0},
        {"window_size": 65},
        {"window_size": 10, "window_overlap": 10},
        {"window_overlap": -1},
    ],
)
def test_parameters_out_of_range(random_pipe, parameters):
    with pytest.raises(ValueError, match="|".join(parameters)):
        random_pipe("红斑", **parameters)
    with pytest.raises(ValueError, match="|".join(parameters)):
        AdnerPipeline(random_pipe.model, random_pipe.tokenizer, device="cpu", **parameters)


def test_unknown_parameter(random_pipe):
    with pytest.raises(TypeError, match="aggregation_strategy"):
        random_pipe("红斑", aggregation_strategy="simple")


def test_window_follows_tokenizer_and_encoder(tokenizer):
    shorter = tokenizer_for_words(model_max_length=34)
    model = tiny_model(tokenizer)
    with pytest.raises(ValueError, match="64 at most"):
        AdnerPipeline(model, tokenizer, device="cpu", window_size=65)
    with pytest.raises(ValueError, match="32 at most"):
        AdnerPipeline(model, shorter, device="cpu", window_size=33)
    unlimited = AdnerPipeline(tiny_model(tokenizer, "bilstm-crf"), tokenizer, device="cpu")
    assert unlimited("红斑" * 600, window_size=1200) != []


def test_a_stock_model_or_no_tokenizer_is_refused(tokenizer):
    config = BertConfig(**{**ENCODER, "vocab_size": len(tokenizer)})
    with pytest.raises(TypeError, match='BertForTokenClassification.*pipeline\\("token-classification"'):
        AdnerPipeline(BertForTokenClassification(config), tokenizer)
    with pytest.raises(TypeError, match="needs a tokenizer"):
        AdnerPipeline(tiny_model(tokenizer))


def test_another_lexicon_is_refused():
    tokenizer = tokenizer_for_words(lexicon=Lexicon(list(WORDS)))
    model = tiny_model(tokenizer, "m-dscmg", stream_size=16)
    with pytest.raises(ValueError, match="lexicon"):
        AdnerPipeline(model, tokenizer_for_words(lexicon=Lexicon(["红斑"])), device="cpu")


def test_a_tokenizer_that_joins_characters_is_refused(random_pipe):
    vocab = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bp", "红"])}
    model = copy.deepcopy(random_pipe.model)
    with pytest.raises(ValueError, match="script map"):
        AdnerPipeline(model, BertTokenizer(vocab=vocab), device="cpu")
    model.config.script_hash = None
    pipe = AdnerPipeline(model, BertTokenizer(vocab=vocab), device="cpu")
    with pytest.raises(ValueError, match="2 tokens of 3 characters"):
        pipe("红bp")


@pytest.mark.parametrize("architecture", ["bert-crf", "bert-softmax"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_is_not_finite(tokenizer, architecture, value):
    model = tiny_model(tokenizer, architecture)
    with torch.no_grad():
        model.head.classifier.bias[1] = value
    with pytest.raises(ValueError, match="(?i)nan or infinity") as caught:
        AdnerPipeline(model, tokenizer, device="cpu")(["", "红斑"])
    assert any("texts 1 " in note for note in caught.value.__notes__)


def test_a_model_in_training_mode_is_put_into_evaluation_mode(tokenizer, random_pipe):
    model = tiny_model(tokenizer).train()
    pipe = AdnerPipeline(model, tokenizer, device="cpu")
    assert_same(pipe(TEXTS), random_pipe(TEXTS))
    model.train()
    assert_same(pipe(TEXTS), random_pipe(TEXTS))
    assert not any(module.training for module in model.modules())


def test_half_precision(tokenizer, random_pipe):
    expected = [spans(entities) for entities in random_pipe(TEXTS)]
    model = tiny_model(tokenizer).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = random_pipe(TEXTS)
    for found in (AdnerPipeline(model, tokenizer, device="cpu")(TEXTS), autocast):
        equal = sum(spans(entities) == gold for entities, gold in zip(found, expected))
        assert equal > len(TEXTS) / 2
        assert all(0 <= entity["score"] <= 1 for entity in itertools.chain(*found))


def test_explaining_needs_the_package(random_pipe, monkeypatch):
    monkeypatch.setattr(AdnerPipeline, "explainer_factory", None)
    with pytest.raises(ImportError, match="hf_adner"):
        random_pipe("红斑", explain=True)


def test_explanations_come_from_the_factory(random_pipe, tokenizer, monkeypatch):
    def factory(pipe, explain):
        assert pipe.tokenizer is tokenizer
        return lambda texts, entities: [
            [(explain, text, place) for place in places] for text, places in zip(texts, entities)
        ]

    monkeypatch.setattr(AdnerPipeline, "explainer_factory", factory)
    expected = random_pipe(TEXTS)
    always = AdnerPipeline(random_pipe.model, tokenizer, device="cpu", explain="mine")
    for found in (always(TEXTS), random_pipe(TEXTS, explain="mine")):
        assert_same(found, expected)
        for text, entities in zip(TEXTS, found):
            assert [e["explanation"] for e in entities] == [("mine", text, place) for place in spans(entities)]
    assert "explanation" not in always(TEXTS[11], explain=False)[0]


def test_explaining_changes_no_flag(random_pipe, monkeypatch):
    def factory(pipe, explain):
        return lambda texts, entities: [[SimpleNamespace(stability=0.0) for _ in places] for places in entities]

    monkeypatch.setattr(AdnerPipeline, "explainer_factory", factory)
    for limit in (0.0, 0.5, 1.0):
        options = {"needs_review": True, "review_threshold": limit}
        plain, explained = random_pipe(TEXTS, **options), random_pipe(TEXTS, explain=True, **options)
        flags = [[one["needs_review"] for entities in found for one in entities] for found in (plain, explained)]
        assert flags[0] == flags[1]
    with pytest.raises(TypeError, match="stability_threshold"):
        random_pipe("红斑", stability_threshold=0.5)


def test_the_task_is_registered(random_pipe, tmp_path, caplog):
    random_pipe.model.save_pretrained(tmp_path)
    random_pipe.tokenizer.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        pipe = pipeline("adner-ner", model=str(tmp_path), device="cpu", dtype=torch.float32, threshold=0.5)
    assert type(pipe) is AdnerPipeline
    assert not [record for record in caplog.records if "not supported" in record.getMessage()]
    assert_same(pipe(TEXTS), random_pipe(TEXTS, threshold=0.5))
