"""An ONNX export and its NumPy heads find the entities of the pipeline, with the same scores."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Lexicon
from hf_adner.cli import main
from hf_adner.model.codes_adner import CodeEntry, CodeTable
from hf_adner.model.conditioned_adner import condition_head
from hf_adner.model.configuration_adner import AdnerConfig
from hf_adner.model.constraints_adner import Constraints
from hf_adner.model.crf_adner import AdnerCRF
from hf_adner.model.heads_adner import CrfHead, SoftmaxHead
from hf_adner.model.labels_adner import allowed_transitions, bio_labels, span_states, state_names, tags_to_spans
from hf_adner.model.per_label_adner import PerLabelHead
from hf_adner.model.span_tracks_adner import SpanCondition
from hf_adner.model.windows_adner import Window
from hf_adner.serve.onnx_export import DECODER_FILE, decoder_record, export_onnx
from hf_adner.serve.onnx_head import ExportedHead
from hf_adner.serve.onnx_tagger import NumpyCrf, OnnxTagger, make_head

TEXTS = ["患者反复红斑三年", "瘙痒", "", "丘疹，" * 12, "痒", "外用他克莫司软膏后好转", "红斑"]


def make_checkpoint(architecture: str, **tagging: str) -> tuple[AdnerForTokenClassification, AdnerTokenizer]:
    torch.manual_seed(0)
    lexicon = Lexicon(["红斑", "反复红斑", "他克莫司软膏", "软膏"]) if "m-dscmg" in architecture else None
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=lexicon)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = {"model_type": "bert", "max_position_embeddings": 22, **sizes}
    options = {} if architecture == "bilstm-crf" else {"encoder_config": encoder, "stream_size": 16}
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], architecture, bilstm_size=16, character_embedding_size=16, **options, **tagging
    )
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    return model, tokenizer


def assert_equal_entities(found, expected, tolerance):
    for entities, others in zip(found, expected, strict=True):
        for name in ("entity_group", "word", "start", "end"):
            assert [entity[name] for entity in entities] == [entity[name] for entity in others]
        for name in ("score", "start_score", "end_score"):
            values, reference = ([entity[name] for entity in side] for side in (entities, others))
            np.testing.assert_allclose(values, reference, atol=tolerance)


def assert_equal_candidates(found, expected):
    """All that is known of an entity, on the best path or off it."""
    assert sum(not one["on_path"] for row in expected for one in row) > 5
    for name in expected[0][0].keys() - {"score", "start_score", "end_score", "posterior"}:
        assert [[one[name] for one in row] for row in found] == [[one[name] for one in row] for row in expected]
    assert_equal_entities(found, expected, 1e-4)


@pytest.mark.parametrize(
    "architecture",
    [
        "bilstm-crf",
        pytest.param("m-dscmg", marks=pytest.mark.slow),
        pytest.param("bert-crf", marks=pytest.mark.slow),
        pytest.param("bert-softmax", marks=pytest.mark.slow),
        pytest.param("bert-bilstm-crf", marks=pytest.mark.slow),
    ],
)
def test_an_export_agrees_with_the_pipeline(architecture, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint(architecture)
    export_onnx(model, tokenizer, tmp_path / "export")
    tagger = OnnxTagger(tmp_path / "export", threads=1)
    expected = AdnerPipeline(model, tokenizer, device="cpu")(TEXTS)
    assert sum(map(len, expected)) > 10
    assert_equal_entities(tagger(TEXTS), expected, 1e-4)
    assert_equal_entities(tagger(TEXTS, batch_size=1), expected, 1e-4)
    assert_equal_entities([tagger(TEXTS[0])], expected[:1], 1e-4)
    asserted = AdnerPipeline(model, tokenizer, device="cpu")(TEXTS, assertion=True)
    for name in ("assertion", "assertion_cues"):
        assert [[one[name] for one in entities] for entities in tagger(TEXTS, assertion=True)] == [
            [one[name] for one in entities] for entities in asserted
        ]
    table = Constraints.of(
        {"瘙痒": "药", "丘疹，丘": "病"}, {"反复红斑": "*", "红斑": "病"} if model.config.use_crf else {}
    )
    constrained = {"constraints": table, "codes": CodeTable([CodeEntry("瘙痒", "L29.9")])}
    given = AdnerPipeline(model, tokenizer, device="cpu")(TEXTS, **constrained)
    assert_equal_entities(tagger(TEXTS, **constrained), given, 1e-4)
    for name in ("forced", "code"):
        assert [[one[name] for one in entities] for entities in tagger(TEXTS, **constrained)] == [
            [one[name] for one in entities] for entities in given
        ]
    assert sum(one["forced"] for entities in given for one in entities) == 7
    for options in ({"candidates": 0.01}, {"candidates": 0.05, **constrained, "assertion": True}):
        likely, expected_ones = (
            tagger(TEXTS, **options),
            AdnerPipeline(model, tokenizer, device="cpu")(TEXTS, **options),
        )
        assert_equal_candidates(likely, expected_ones)
    confident = tagger(TEXTS, threshold=0.5)
    assert [e for entities in tagger(TEXTS) for e in entities if e["score"] >= 0.5] == sum(confident, [])
    longest = [text[:20] for text in TEXTS if text]
    inputs = tokenizer(longest, padding=True, return_tensors="pt")
    with torch.no_grad():
        emissions = model(**inputs).emissions
    for row, wanted, text in zip(tagger.emissions(longest), emissions, longest):
        if model.config.use_crf:
            np.testing.assert_allclose(row[: len(text)], wanted[: len(text)].numpy(), atol=1e-4)
    with pytest.raises(FileExistsError):
        export_onnx(model, tokenizer, tmp_path / "export")
    with pytest.raises(TypeError, match="text 1 is int"):
        tagger(["红", 3])


def test_a_calibrated_export_agrees_with_the_pipeline(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint("bilstm-crf")
    model.config.calibration = {
        "score": {"slope": 0.4, "intercept": 0.5},
        "labels": {"药": {"slope": 0.7, "intercept": -0.5}},
        "start": {"slope": 0.9, "intercept": 0.0},
        "candidate_threshold": 0.02,
    }
    export_onnx(model, tokenizer, tmp_path / "export")
    tagger, pipe = OnnxTagger(tmp_path / "export", threads=1), AdnerPipeline(model, tokenizer, device="cpu")
    found, expected = tagger(TEXTS), pipe(TEXTS)
    assert_equal_entities(found, expected, 1e-4)
    pairs = [pair for rows in zip(found, expected) for pair in zip(*rows)]
    assert all(one["posterior"] == pytest.approx(other["posterior"], abs=1e-4) for one, other in pairs)
    assert {one["entity_group"] for one, _ in pairs} == {"病", "药"}
    assert tagger(TEXTS, threshold=0.5) == [[one for one in row if one["score"] >= 0.5] for row in found]
    assert_equal_candidates(tagger(TEXTS, candidates=True), pipe(TEXTS, candidates=True))
    assert any("posterior" in one for row in tagger(TEXTS, candidates=True) for one in row if not one["on_path"])
    scores = sorted(one["score"] for row in expected for one in row)
    between = {"review_threshold": (scores[len(scores) // 2 - 1] + scores[len(scores) // 2]) / 2}
    for options in (between, {"calibrated": False, "candidates": True}):
        flagged, wanted = (side(TEXTS, needs_review=True, **options) for side in (tagger, pipe))
        assert [[one["needs_review"] for one in row] for row in flagged] == [
            [one["needs_review"] for one in row] for row in wanted
        ]
        assert_equal_entities(flagged, wanted, 1e-4)
    assert {one["needs_review"] for row in pipe(TEXTS, needs_review=True, **between) for one in row} == {True, False}
    for wrong in ({"threshold": 2}, {"needs_review": True, "review_threshold": -1}, {"batch_size": 0}):
        messages = []
        for side in (tagger, pipe):
            with pytest.raises(ValueError, match=next(reversed(wrong))) as caught:
                side(TEXTS, **wrong)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    with pytest.raises(ValueError, match="threshold=0.5 would drop candidates"):
        tagger(TEXTS[0], candidates=True, threshold=0.5)
    record = json.loads((tmp_path / "export" / DECODER_FILE).read_text())
    assert record["version"] == 2 and decoder_record(*make_checkpoint("bilstm-crf"))["version"] == 1


@pytest.mark.slow
def test_eight_bits_are_smaller_and_nearly_the_same(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint("m-dscmg")
    export_onnx(model, tokenizer, tmp_path / "float")
    export_onnx(model, tokenizer, tmp_path / "int8", int8=True)
    assert sorted(path.name for path in (tmp_path / "int8").glob("*.onnx")) == ["model.onnx"]
    rows = [OnnxTagger(tmp_path / name, threads=1).emissions([TEXTS[0]])[0] for name in ("float", "int8")]
    assert not np.array_equal(*rows)
    assert np.corrcoef(rows[0].ravel(), rows[1].ravel())[0, 1] > 0.99


def test_the_command_exports_a_saved_checkpoint(tmp_path, capfd, caplog):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint("bilstm-crf")
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "checkpoint")
    assert main(["export", str(tmp_path / "checkpoint"), str(tmp_path / "export")]) == 0
    told = capfd.readouterr()
    assert told.out.strip().endswith("export")
    assert not any(note in told.err + caplog.text for note in ("Skipping torchvision", "ambiguous", "FutureWarning"))
    expected = AdnerPipeline(model, tokenizer, device="cpu")(TEXTS)
    assert_equal_entities(OnnxTagger(tmp_path / "export", threads=1)(TEXTS), expected, 1e-4)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    model, tokenizer = make_checkpoint("bilstm-crf")
    with pytest.raises(FileNotFoundError, match="is not an ONNX export"):
        OnnxTagger(tmp_path)
    (tmp_path / DECODER_FILE).write_text(json.dumps({**decoder_record(model, tokenizer), "version": 99}))
    with pytest.raises(ValueError, match="version 99, expected 1"):
        OnnxTagger(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx onnxruntime onnxscript"):
        export_onnx(model, tokenizer, tmp_path / "export")


TYPES = ["病", "药"]


def scores(crf):
    return {
        "starts": crf.start_transitions.tolist(),
        "ends": crf.end_transitions.tolist(),
        "transitions": crf.transitions.tolist(),
    }


def random_crf(scheme: str, scale: float) -> tuple[AdnerCRF, list[str]]:
    states = state_names(TYPES, scheme)
    crf = AdnerCRF(len(states), allowed_transitions(states))
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return crf, states


@pytest.mark.parametrize("scheme", ["bioes", "bio"])
@pytest.mark.parametrize("length", [1, 2, 13])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_crf_agrees_with_that_of_pytorch(scheme, length, scale):
    torch.manual_seed(length)
    crf, states = random_crf(scheme, scale)
    ours = NumpyCrf(states, scores(crf))
    emissions = torch.randn(9, length, len(states), dtype=torch.float64) * scale
    lengths = torch.arange(9) % length + 1
    mask = torch.arange(length) < lengths[:, None]
    assert ours.best_paths(emissions.numpy(), lengths.numpy()) == crf.decode(emissions, mask)
    marginals = ours.messages(emissions.numpy(), lengths.numpy()).marginals()
    expected = crf.log_marginals(emissions, mask).exp().detach().numpy()
    np.testing.assert_allclose(marginals[mask], expected[mask], atol=1e-6)


def head_and_record(kind: str, scheme: str):
    labels = bio_labels(TYPES)
    config = AdnerConfig(
        architecture="bilstm-crf",
        use_crf=kind == "crf",
        tag_scheme=scheme,
        bilstm_size=8,
        id2label=dict(enumerate(labels)),
    )
    head = (CrfHead if kind == "crf" else SoftmaxHead)(config).eval()
    if kind == "crf":
        head.crf, _ = random_crf(scheme, 1.0)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.randn(head.classifier.weight.shape) * 1.5)
        head.classifier.bias.zero_()
    record = {"labels": labels, "states": config.states, "crf": scores(head.crf) if kind == "crf" else None}
    return head, record


@pytest.mark.parametrize("scheme", ["bioes", "bio"])
def test_entities_of_each_label_agree_with_the_models_head(scheme):
    torch.manual_seed(4)
    labels = bio_labels(TYPES)
    config = AdnerConfig(
        architecture="bilstm-crf",
        tag_scheme=scheme,
        tagging="per-label",
        bilstm_size=8,
        id2label=dict(enumerate(labels)),
    )
    head = PerLabelHead(config).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    record = {"labels": labels, "states": config.states, "tagging": "per-label", "crf": scores(head.crf)}
    hidden, lengths = torch.randn(6, 9, 8), torch.tensor([9, 4, 1, 9, 7, 2])
    mask = torch.arange(9) < lengths[:, None]
    with torch.no_grad():
        output = head(hidden, mask, None)
    found = make_head(record).entities(output.emissions.numpy(), lengths.numpy())
    overlaps = 0
    for row, entities in enumerate(found):
        expected = {
            span for number in range(len(TYPES))
            for span in tags_to_spans([labels[one] for one in output.predictions[row, : lengths[row], number]])
        }  # fmt: skip
        assert [one[:3] for one in entities] == sorted(expected, key=lambda span: (span[0], -span[1], span[2]))
        posteriors = head.entity_log_posteriors(output.emissions, mask, [(row, *one[:3]) for one in entities]).exp()
        for one, posterior in zip(entities, posteriors.tolist(), strict=True):
            number = TYPES.index(one.label)
            assert one.score == pytest.approx(posterior, abs=1e-5)
            assert one.start_score == pytest.approx(output.start_probs[row, one.start, number].item(), abs=1e-5)
            assert one.end_score == pytest.approx(output.end_probs[row, one.end - 1, number].item(), abs=1e-5)
        overlaps += sum(first.end > second.start for first, second in zip(entities, entities[1:]))
    assert overlaps
    conditions = {"a": [SpanCondition(1, 3, TYPES[0], True), SpanCondition(0, 4, TYPES[1], True)], "b": []}
    places = [(name, Window(0, 9)) for name in "abbabb"]
    reader = SimpleNamespace(conditions=conditions.__getitem__)
    exported, state = ExportedHead(record), torch.random.get_rng_state()
    given = exported.conditioned(output.emissions.numpy(), lengths.numpy(), places, reader, 0.05)
    rows = [0, 3]
    head_given = condition_head(head, output.emissions[rows], mask[rows], [conditions["a"]] * 2)
    for side, wanted in enumerate((head_given.path_entities(), head_given.likely_entities(0.05))):
        assert_equal_likely([one for row in rows for one in given[row][side]], wanted)
    likely = exported.likely_entities(output.emissions.numpy(), lengths.numpy(), 0.05)
    assert_equal_likely(sum(likely, []), head.likely_entities(output.emissions, mask, 0.05))
    assert torch.equal(state, torch.random.get_rng_state())


def assert_equal_likely(found, expected):
    assert expected
    for one, other in zip(found, expected, strict=True):
        assert one[1:4] == other[1:4] and one[4:] == pytest.approx(other[4:], abs=1e-5)


@pytest.mark.slow
def test_a_nested_export_agrees_with_the_pipeline(tmp_path):
    """Also where windows are joined: the longest text needs two."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint("bert-crf", tagging="per-label")
    export_onnx(model, tokenizer, tmp_path / "export")
    assert json.loads((tmp_path / "export" / DECODER_FILE).read_text(encoding="utf-8"))["version"] == 3
    found, expected = (
        OnnxTagger(tmp_path / "export", threads=1)(TEXTS),
        AdnerPipeline(model, tokenizer, device="cpu")(TEXTS),
    )
    assert_equal_entities(found, expected, 1e-4)
    constraints = {"红斑": "病", "瘙痒": "药"}
    pipe, tagger = AdnerPipeline(model, tokenizer, device="cpu"), OnnxTagger(tmp_path / "export", threads=1)
    assert_equal_entities(tagger(TEXTS, constraints=constraints), pipe(TEXTS, constraints=constraints), 1e-4)
    assert_equal_candidates(tagger(TEXTS, candidates=0.02), pipe(TEXTS, candidates=0.02))
    with pytest.raises(ValueError, match="candidates=True needs a candidate threshold"):
        tagger(TEXTS, candidates=True)
    assert any(one["end"] > two["start"] for entities in found for one, two in zip(entities, entities[1:]))


@pytest.mark.parametrize(("kind", "scheme"), [("crf", "bioes"), ("crf", "bio"), ("softmax", "bio")])
def test_entities_and_scores_agree_with_the_models_heads(kind, scheme):
    torch.manual_seed(3)
    head, record = head_and_record(kind, scheme)
    ours, seen = make_head(record), 0
    for _ in range(12):
        hidden, mask = torch.randn(1, 9, 8), torch.ones(1, 9, dtype=torch.bool)
        with torch.no_grad():
            output = head(hidden, mask, None)
            emissions = head.classifier(hidden)[0].numpy()
        spans = tags_to_spans([record["labels"][label] for label in output.predictions[0].tolist()])
        (entities,) = ours.entities(emissions[None], np.array([9]))
        assert [(entity.start, entity.end, entity.label) for entity in entities] == spans
        posteriors = head.entity_log_posteriors(output.emissions, mask, [(0, *span) for span in spans]).exp().tolist()
        starts, ends = output.start_probs[0].tolist(), output.end_probs[0].tolist()
        for entity, posterior in zip(entities, posteriors, strict=True):
            assert entity.score == pytest.approx(posterior, abs=1e-5)
            assert entity.start_score == pytest.approx(starts[entity.start], abs=1e-5)
            assert entity.end_score == pytest.approx(ends[entity.end - 1], abs=1e-5)
        seen += len(entities)
    assert seen > 12


def test_a_span_that_must_not_go_on_is_closed_at_the_end_of_the_row():
    torch.manual_seed(0)
    crf, states = random_crf("bio", 1.0)
    ours, emissions = NumpyCrf(states, scores(crf)), np.random.default_rng(0).normal(size=(3, len(states)))
    wanted, forbidden = span_states(states, "病", 2)
    messages = [side[0] for side in ours.messages(emissions[None], np.array([3]))]
    at_end = ours.span_log_posterior(emissions, messages, 1, wanted, forbidden)
    assert at_end == pytest.approx(ours.span_log_posterior(emissions, messages, 1, wanted))
    before = ours.span_log_posterior(emissions, messages, 0, wanted, forbidden)
    assert before < ours.span_log_posterior(emissions, messages, 0, wanted)


def test_scores_of_another_size_are_refused():
    crf, states = random_crf("bioes", 1.0)
    with pytest.raises(ValueError, match=r"starts of a CRF of 9 states have shape \(2,\)"):
        NumpyCrf(states, {**scores(crf), "starts": [0.0, 0.0]})
    with pytest.raises(ValueError, match=r"transitions of .* \(1, 1\)"):
        NumpyCrf(states, {**scores(crf), "transitions": [[0.0]]})
