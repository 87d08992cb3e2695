"""The HTTP server answers as the pipeline and the explainers do, and refuses the rest without quoting it."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Explanation, Lexicon, make_explainer

pytest.importorskip("fastapi", reason="the extra serve is not installed")
from fastapi.testclient import TestClient  # noqa: E402

from hf_adner.serve.http_server import ServerSettings, app_from_environment, environment_of, make_app  # noqa: E402

TEXTS = ["患者反复红斑三年", "瘙痒", "", "丘疹，" * 12, "外用他克莫司软膏后好转", "否认红斑"]
SETTINGS = ServerSettings("unused", assertion=True, max_characters=200, max_explained=40, max_texts=7)


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["红斑", "反复红斑", "他克莫司软膏", "软膏"]))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], "m-dscmg", encoder_config={"model_type": "bert", **sizes}, stream_size=16
    )
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    return AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu", assertion=True, needs_review=True)


@pytest.fixture(scope="module")
def client(tagger):
    with TestClient(make_app(SETTINGS, tagger=tagger)) as client:
        yield client


def tag(client, *texts, **options):
    return client.post("/tag", json={"texts": list(texts)}, **options)


def test_the_entities_are_those_of_the_pipeline(client, tagger):
    answer = tag(client, *TEXTS)
    assert answer.status_code == 200 and any(answer.json()["entities"])
    assert answer.json()["entities"] == [
        [
            {
                **entity,
                **{name: pytest.approx(entity[name], abs=1e-6) for name in ("score", "start_score", "end_score")},
            }
            for entity in entities
        ]
        for entities in tagger(TEXTS)
    ]
    assert tag(client).json() == {"entities": []}


def test_concurrent_requests_get_their_own_answers(client):
    texts = [f"{'红斑' * (number % 5)}反复{number}" for number in range(60)]
    alone = [tag(client, text).json() for text in texts[:10]]
    with ThreadPoolExecutor(16) as pool:
        answers = [answer.json()["entities"] for answer in pool.map(lambda text: tag(client, text), texts)]
    assert [[(one["start"], one["end"]) for one in answer[0]] for answer in answers[:10]] == [
        [(one["start"], one["end"]) for one in answer["entities"][0]] for answer in alone
    ]
    for text, (found,) in zip(texts, answers):
        assert all(text[one["start"] : one["end"]] == one["word"] for one in found)


def test_explanations_are_those_of_the_explainer(client, tagger):
    text = TEXTS[0]
    explainer = make_explainer("grad-x-input", tagger.model, tagger.tokenizer)
    for entities, spans in ((None, None), ([{"start": 0, "end": 2, "label": "药"}], [[(0, 2, "药")]])):
        answer = client.post("/explain", json={"text": text, "entities": entities}).json()["explanations"]
        own = explainer([text], spans)[0]
        found = [Explanation.from_dict({**one, "text": text}) for one in answer]
        assert [one.span for one in found] == [one.span for one in own]
        for one, other in zip(found, own):
            assert one.scores == pytest.approx(other.scores, abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/tag", {"texts": ["张三" * 101]}, 413, "202 characters in a request, expected 200 at most"),
        ("/tag", {"texts": ["张"] * 8}, 413, "8 texts in a request, expected 7 at most"),
        ("/tag", {"texts": "张三"}, 422, "valid list"),
        ("/tag", {"texts": ["张三", 1]}, 422, "valid string"),
        ("/tag", {"texts": ["张三"], "text": "张三"}, 422, "Extra inputs"),
        ("/tag", {}, 422, "Field required"),
        ("/tag", ["张三"], 422, "valid dictionary"),
        ("/explain", {"text": "张三" * 21}, 413, "42 characters in a request, expected 40 at most"),
        (
            "/explain",
            {"text": "张三", "entities": [{"start": 0, "end": 3, "label": "病"}]},
            422,
            "must lie in the text",
        ),
        (
            "/explain",
            {"text": "张三", "entities": [{"start": 1, "end": 1, "label": "病"}]},
            422,
            "must lie in the text",
        ),
        ("/explain", {"text": "张三", "entities": [{"start": 0, "end": 2, "label": "?"}]}, 422, "label of the model"),
        (
            "/explain",
            {"text": "张三", "entities": [{"start": -1, "end": 2, "label": "病"}]},
            422,
            "greater than or equal",
        ),
    ],
)
def test_bad_requests_are_refused_without_their_text(client, path, body, status, message):
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert message in answer.text and "张三" not in answer.text


@pytest.mark.parametrize("content", [b'{"texts": ["\xe5\xbc\xa0', b"", b"\xff\xfe", b'{"texts": [NaN]}', b"[" * 5000])
def test_malformed_json_is_refused(client, content):
    answer = client.post("/tag", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422) and "张" not in answer.text


def test_half_characters_are_refused(client):
    answer = client.post("/tag", content=b'{"texts": ["\\ud800"]}', headers={"content-type": "application/json"})
    assert answer.status_code == 422 and "texts[0]" in answer.text


def test_large_bodies_are_refused_before_they_are_read(client):
    most = SETTINGS.max_bytes
    assert client.post("/tag", content=b" " * (most + 1)).status_code == 413
    chunks = (b" " * 1000 for _ in range(most // 1000 + 2))  # without a length in the header
    assert client.post("/tag", content=chunks).status_code == 413
    escaped = '{"texts": ["' + "\\ud83d\\ude00" * 200 + '"]}'
    assert client.post("/tag", content=escaped, headers={"content-type": "application/json"}).status_code == 200


def test_too_many_requests_are_refused(tagger, monkeypatch):
    app = make_app(replace(SETTINGS, max_waiting=1), tagger=tagger)
    with TestClient(app) as client:
        from hf_adner.serve.request_queue import QueueFullError, RequestQueue

        def full(self, items):
            raise QueueFullError("1 requests wait, as many as may")

        monkeypatch.setattr(RequestQueue, "submit", full)
        answer = tag(client, "红斑")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/health").status_code == 200


def test_a_failure_of_the_model_is_told_without_its_message(tagger):
    class Broken:
        """A pipeline that fails, with the text in its message."""

        model, tokenizer = tagger.model, tagger.tokenizer

        def __call__(self, texts):
            raise RuntimeError(f"cannot tag {texts}")

    with TestClient(make_app(SETTINGS, tagger=Broken())) as client:
        answer = tag(client, "张三")
        assert answer.status_code == 500 and answer.json() == {"detail": "the model failed: RuntimeError"}


def test_a_token_protects_all_but_health(tagger):
    with TestClient(make_app(SETTINGS, token="秘密", tagger=tagger)) as client:
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic abc"}):
            assert tag(client, "红斑", headers=headers).status_code == 401
            assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/health").status_code == 200
    with TestClient(make_app(SETTINGS, token="secret", tagger=tagger)) as client:
        assert tag(client, "红斑", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_metrics_count_without_text(tagger):
    with TestClient(make_app(SETTINGS, tagger=tagger)) as client:
        found = tag(client, *TEXTS).json()["entities"]
        tag(client, "张三" * 200)
        client.get("/no/such/张三")
        text = client.get("/metrics").text
    assert 'adner_requests_total{endpoint="/tag",status="200"} 1.0' in text
    assert 'adner_requests_total{endpoint="/tag",status="413"} 1.0' in text
    assert 'adner_requests_total{endpoint="other",status="404"} 1.0' in text
    assert f"adner_characters_total {sum(map(len, TEXTS)):.1f}" in text
    labels = Counter(one["entity_group"] for entities in found for one in entities)
    assert labels
    for label, count in labels.items():
        assert f'adner_entities_total{{label="{label}"}} {count:.1f}' in text
    assert "adner_batch_requests_count 1.0" in text and "张三" not in text and "红斑" not in text


def test_a_worker_loads_what_the_environment_names(tagger, tmp_path, monkeypatch):
    tagger.model.save_pretrained(tmp_path)
    tagger.tokenizer.save_pretrained(tmp_path)
    for name, value in environment_of(replace(SETTINGS, model=str(tmp_path), device="cpu")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_ADNER_SERVER_TOKEN", "secret")
    with TestClient(app_from_environment()) as client:
        answer = tag(client, *TEXTS, headers={"Authorization": "Bearer secret"})
        assert [[one["word"] for one in entities] for entities in answer.json()["entities"]] == [
            [one["word"] for one in entities] for entities in tagger(TEXTS)
        ]


@pytest.mark.parametrize("name", ["batch_size", "max_characters", "max_waiting", "threads"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=name):
        replace(SETTINGS, **{name: 0})
