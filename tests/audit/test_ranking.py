"""Ranking: doubt is what the enumerated posteriors say, and doubtful documents come first."""

import json
import math

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.audit.ranking import (
    DocumentDoubt,
    PathDoubt,
    document_doubt,
    rank_documents,
    reasons,
    write_ranked,
)
from hf_adner.data.formats import read_documents
from hf_adner.data.records import Document, Entity

SURE, UNSURE, PLAIN = "瘙痒重", "红斑重", "无"


@pytest.fixture(scope="module", params=["bert-crf", "bert-softmax"])
def pipe(request) -> AdnerPipeline:
    """A tagger that reads each character by itself: sure of 瘙 and 痒, unsure of 红 and 斑."""
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts([SURE, UNSURE, PLAIN])
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = {"model_type": "bert", "max_position_embeddings": 12, **sizes}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["症状"], request.param, encoder_config=encoder)
    with torch.no_grad():
        for parameter in model.adner.parameters():
            parameter.zero_()
        for name, parameter in model.named_parameters():
            if "LayerNorm.weight" in name:
                parameter.fill_(1.0)
        embedding, states = model.get_input_embeddings().weight, model.config.states
        model.head.classifier.weight.zero_()
        model.head.classifier.bias.copy_(torch.tensor([8.0] + [0.0] * (len(states) - 1)))
        last = "E-症状" if "E-症状" in states else "I-症状"
        wanted = {"瘙": ("B-症状", 16.0), "痒": (last, 16.0), "红": ("B-症状", 7.7), "斑": (last, 7.7)}
        for place, (character, (state, strength)) in enumerate(wanted.items()):
            embedding[tokenizer.convert_tokens_to_ids(character), place] = 1.0
            model.head.classifier.weight[states.index(state), place] = strength / 3
    return AdnerPipeline(model, tokenizer, device="cpu")


def documents() -> list[Document]:
    texts = {"sure": SURE, "plain": PLAIN, "empty": "", "unsure": UNSURE, "long": SURE * 6}
    return [Document(name, text, meta={"ward": 3}) for name, text in texts.items()]


def test_a_document_with_an_uncertain_entity_comes_first(pipe):
    ranked = rank_documents(pipe, documents(), progress=False)
    assert [one.meta["adner_rank"] for one in ranked] == [1, 2, 3, 4, 5]
    order = [one.id for one in ranked]
    assert order[0] == "unsure" and order[-1] == "empty"
    first = ranked[0]
    assert first.text == UNSURE and first.spans == [(0, 2, "症状")] and first.meta["ward"] == 3
    score = first.entities[0].meta["score"]
    assert first.meta["adner_reasons"][0] == f"症状 at 0-2 has posterior {score:.2f}"
    priorities = [one.meta["adner_priority"] for one in ranked]
    assert priorities == sorted(priorities, reverse=True) and priorities[0] > 1 - score > priorities[1]
    assert priorities[-1] == 0.0


def test_the_first_of_many_are_kept_in_the_same_order(pipe):
    whole = rank_documents(pipe, documents(), progress=False)
    assert rank_documents(pipe, iter(documents()), count=2, batch_size=1, progress=False) == whole[:2]
    with pytest.raises(ValueError, match="count must be at least 1, found 0"):
        rank_documents(pipe, documents(), count=0)


def test_pre_annotations_below_the_threshold_are_left_out_but_count(pipe):
    with_all = rank_documents(pipe, documents(), progress=False)
    without = rank_documents(pipe, documents(), threshold=1.0, progress=False)
    assert [one.id for one in without] == [one.id for one in with_all]
    assert not without[0].entities


def observed(pipe, texts, batch_size: int = 2) -> PathDoubt:
    """The paths of texts, read from the pass in which the pipeline tags them."""
    paths = PathDoubt(pipe, len(texts))
    pipe(texts, batch_size=batch_size, observer=paths.add)
    return paths


def test_the_path_posterior_is_that_of_the_best_labelling(pipe):
    texts = [UNSURE, "", PLAIN]
    paths = observed(pipe, texts)
    found = paths.log_posteriors
    assert found[1] == 0.0 and paths.characters == [3, 0, 1]
    assert [paths.by_character(number) for number in range(3)] == [found[0] / 3, 0.0, found[2]]
    for text, value in ((UNSURE, found[0]), (PLAIN, found[2])):
        outputs = pipe.model(**pipe.tokenizer([text], return_tensors="pt"))
        length = len(text)
        if pipe.model.config.use_crf:
            crf, emissions = pipe.model.head.crf, outputs.emissions[:, :length]
            expected = (crf.viterbi(emissions)[1] - crf.log_partition(emissions)).item()
        else:
            expected = outputs.emissions[0, :length].amax(-1).sum().item()
        assert value == pytest.approx(expected, abs=1e-4)


def test_the_path_posterior_of_a_nested_tagger_is_that_of_all_labels():
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts([UNSURE, PLAIN])
    sizes = {"character_embedding_size": 8, "bilstm_size": 8, "tagging": "per-label"}
    pipe = AdnerPipeline(
        AdnerForTokenClassification.from_scratch(tokenizer, ["病", "药", "部"], "bilstm-crf", **sizes), tokenizer
    )
    for text, found in zip((UNSURE, PLAIN), observed(pipe, [UNSURE, PLAIN]).log_posteriors):
        with torch.no_grad():
            emissions = pipe.model(**pipe.tokenizer([text], return_tensors="pt")).emissions.unflatten(-1, (3, -1))
        crf = pipe.model.head.crf
        sides = [(crf.viterbi(one)[1] - crf.log_partition(one)).item() for one in emissions.unbind(2)]
        assert found == pytest.approx(sum(sides), abs=1e-4) and len(set(sides)) == 3


def test_windows_of_a_long_text_are_summed(pipe):
    longest = SURE * 6  # 18 characters, 10 at a time, 5 shared
    parts = observed(pipe, [longest[0:10], longest[5:15], longest[8:18]])
    whole = observed(pipe, [longest])
    assert whole.log_posteriors == pytest.approx([sum(parts.log_posteriors)], abs=1e-5)
    assert whole.characters == [30]


def test_every_window_runs_through_the_model_once(pipe):
    rows = []  # of each forward pass
    handle = pipe.model.register_forward_hook(lambda *call: rows.append(len(call[-1].logits)))
    try:
        rank_documents(pipe, documents(), batch_size=1, progress=False)
    finally:
        handle.remove()
    assert sum(rows) == 6  # three short texts, and three windows of the long one; the empty text has none


def test_the_bar_counts_ranked_documents(pipe, monkeypatch):
    """Not those that are read, which are far ahead."""
    seen = []

    def watched(scored, **options):
        assert options["total"] == len(documents())
        for document in scored:
            seen.append(document.meta["adner_priority"])
            yield document

    monkeypatch.setattr("hf_adner.audit.ranking.tqdm", watched)
    ranked = rank_documents(pipe, documents())
    assert sorted(seen, reverse=True) == [one.meta["adner_priority"] for one in ranked]


def test_doubt_joins_its_parts():
    entity = {"entity_group": "药", "start": 4, "end": 6, "score": 0.9}
    doubt = document_doubt([entity, {**entity, "score": 0.6}], math.log(0.5))
    assert (doubt.entity, doubt.path, doubt.priority) == pytest.approx((0.4, 0.5, 0.7))
    assert document_doubt([], 0.0) == DocumentDoubt(0.0, 0.0)
    assert reasons(doubt, [entity]) == ["the best labelling has posterior 0.500 per character"]


def test_annotation_tools_get_what_they_import(pipe, tmp_path):
    ranked = rank_documents(pipe, documents()[:4], progress=False)
    write_ranked(ranked, tmp_path / "doccano.jsonl")
    record = json.loads((tmp_path / "doccano.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert record["label"] == [[0, 2, "症状"]] and record["adner_rank"] == 1
    assert [one.spans for one in read_documents(tmp_path / "doccano.jsonl")] == [one.spans for one in ranked]
    write_ranked(ranked, tmp_path / "tasks.json", "label-studio", "mine")
    tasks = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["document_id"] for task in tasks] == [one.id for one in ranked]
    assert "annotations" not in tasks[0] and tasks[0]["predictions"][0]["model_version"] == "mine"
    region = tasks[0]["predictions"][0]["result"][0]
    assert region["value"]["labels"] == ["症状"] and region["score"] == ranked[0].entities[0].meta["score"]
    with pytest.raises(ValueError, match="'brat' is unknown; expected one of"):
        write_ranked(ranked, tmp_path / "x", "brat")


def test_only_documents(pipe):
    with pytest.raises(TypeError, match="found a str, expected a Document"):
        rank_documents(pipe, ["红斑"], progress=False)


def test_gold_entities_are_replaced(pipe):
    document = Document("a", UNSURE, (Entity(2, 3, "old"),))
    assert rank_documents(pipe, [document], progress=False)[0].spans == [(0, 2, "症状")]
