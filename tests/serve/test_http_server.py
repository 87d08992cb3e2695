"""The HTTP server answers as the pipeline and the explainers do, and refuses the rest without quoting it."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Explanation, Lexicon, make_explainer

pytest.importorskip("fastapi", reason="the extra serve is not installed")
from fastapi.testclient import TestClient  # noqa: E402

from hf_adner.model.codes_adner import CodeEntry, CodeTable  # noqa: E402
from hf_adner.model.constraints_adner import ConstraintReader, Constraints  # noqa: E402
from hf_adner.serve import http_constraints, http_server  # noqa: E402
from hf_adner.serve.http_metrics import ServerMetrics  # noqa: E402
from hf_adner.serve.http_server import (  # noqa: E402
    ServerSettings,
    app_from_environment,
    check_tables,
    environment_of,
    make_app,
)

TEXTS = ["患者反复红斑三年", "瘙痒", "", "丘疹，" * 12, "外用他克莫司软膏后好转", "否认红斑"]
SETTINGS = ServerSettings(
    "unused", assertion=True, max_characters=200, max_explained=40, max_texts=7, max_constraints=3
)


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["红斑", "反复红斑", "他克莫司软膏", "软膏"]))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = AdnerForTokenClassification.from_scratch(
        tokenizer,
        ["病", "药"],
        "m-dscmg",
        encoder_config={"model_type": "bert", "max_position_embeddings": 22, **sizes},
        stream_size=16,
    )
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    return AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu", assertion=True, needs_review=True)


@pytest.fixture(scope="module")
def client(tagger):
    with TestClient(make_app(SETTINGS, tagger=tagger)) as client:
        yield client


def tag(client, *texts, constraints=None, **options):
    body = {"texts": list(texts)} if constraints is None else {"texts": list(texts), "constraints": constraints}
    return client.post("/tag", json=body, **options)


def rounded(found):
    """Entities of texts, whose scores may differ in rounding."""
    return [
        [{name: pytest.approx(value, abs=1e-6) if isinstance(value, float) else value for name, value in one.items()}
         for one in entities] for entities in found
    ]  # fmt: skip


def test_the_entities_are_those_of_the_pipeline(client, tagger):
    answer = tag(client, *TEXTS)
    assert answer.status_code == 200 and any(answer.json()["entities"])
    assert answer.json()["entities"] == rounded(tagger(TEXTS))
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
        ("/tag", {"texts": [], "张三": 1}, 422, "Extra inputs"),
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


def word(word, label, action="force"):
    return {"word": word, "label": label, "action": action}


def test_constraints_of_a_request_are_those_of_the_pipeline(client, tagger):
    rows = [word("瘙痒", "药"), word("反复红斑", "*", "forbid"), {"word": "丘疹", "label": "病"}]
    table = Constraints.of({"瘙痒": "药", "丘疹": "病"}, {"反复红斑": "*"})
    answer = tag(client, *TEXTS, constraints=rows)
    assert answer.status_code == 200
    expected = tagger(TEXTS, constraints=table)
    assert answer.json()["entities"] == rounded(expected)
    assert sum(one["forced"] for entities in expected for one in entities) == 13
    assert tag(client, *TEXTS, constraints=[]).json() == tag(client, *TEXTS).json()


def test_requests_with_and_without_constraints_do_not_mix(client):
    requests = [(f"{'红斑' * (number % 4 + 1)}{number}", number % 3) for number in range(30)]
    choices = [None, [word("红斑", "病")], [word("红斑", "药")]]
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda one: tag(client, one[0], constraints=choices[one[1]]), requests)
        answers = [answer.json()["entities"][0] for answer in asked]
    for (text, kind), found in zip(requests, answers):
        assert all(text[one["start"] : one["end"]] == one["word"] for one in found)
        forced = [one["entity_group"] for one in found if one.get("forced")]
        assert forced == ([["病"], ["药"]][kind - 1] * text.count("红斑") if kind else [])


@pytest.fixture
def tables(tmp_path):
    """Files of constraints and codes."""
    (tmp_path / "words.tsv").write_text("瘙痒\t药\n丘疹\t*\tforbid\n", encoding="utf-8")
    (tmp_path / "codes.tsv").write_text("瘙痒\tL29.9\n", encoding="utf-8")
    return {"constraints": str(tmp_path / "words.tsv"), "code_table": str(tmp_path / "codes.tsv")}


def test_tables_of_the_server_hold_for_all_requests(tagger, tables, tmp_path, monkeypatch):
    for part in (tagger.model, tagger.tokenizer):
        part.save_pretrained(tmp_path / "model")
    settings = replace(SETTINGS, model=str(tmp_path / "model"), device="cpu", **tables)
    check_tables(settings)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    words = {"constraints": tables["constraints"], "codes": CodeTable([CodeEntry("瘙痒", "L29.9")])}
    with TestClient(app_from_environment()) as client:
        expected = tagger(TEXTS, **words)
        assert tag(client, *TEXTS).json()["entities"] == rounded(expected)
        assert [one["code"] for one in expected[1]] == ["L29.9"]
        both = Constraints.of({"瘙痒": "药", "外用": "病"}, {"丘疹": "*"})
        answer = tag(client, *TEXTS, constraints=[word("外用", "病")])
        assert answer.json()["entities"] == rounded(tagger(TEXTS, **{**words, "constraints": both}))
        refused = tag(client, "红", constraints=[word("瘙痒", "病")])
        assert refused.status_code == 422 and "瘙痒" not in refused.text
        found = client.post("/explain", json={"text": TEXTS[1]}).json()["explanations"]
        assert [Explanation.from_dict({**one, "text": TEXTS[1]}).span for one in found] == [(0, 2, "药")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("constraints", "红斑\t病\n红斑\t药\n", "words.tsv:2"),
        ("constraints", "红斑\t症\n", "does not have the label"),
        ("code_table", "红斑\n", "codes.tsv"),
        ("codes", None, "has no table of codes"),
    ],
)
def test_wrong_tables_are_told_before_workers_start(name, content, message, tagger, tables, tmp_path):
    for part in (tagger.model, tagger.tokenizer):
        part.save_pretrained(tmp_path / "model")
    if content is None:
        tables = {name: True}
    else:
        Path(tables[name]).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        check_tables(ServerSettings(str(tmp_path / "model"), **tables))


@pytest.mark.parametrize(
    ("rows", "status", "message"),
    [
        ([word("张三", "病")] * 4, 413, "4 constraints in a request, expected 3 at most"),
        ([word("张三", "病"), word("李四", "症")], 422, "constraints[1] needs a label of the model"),
        ([word("张三", "*")], 422, "constraints[0] needs a label of the model"),
        ([word(" 张三", "病")], 422, "constraints[0] has a word that has white space at its ends"),
        ([word("张三", "病"), word("张三", "药")], 422, "constraints contradict each other"),
        ([word("张三", "病"), word("张三", "*", "forbid")], 422, "constraints contradict each other"),
        ([word("张三" * 51, "病")], 422, "at most 100 characters"),
        ([word("", "病")], 422, "at least 1 character"),
        ([word("张三", "病", "maybe")], 422, "'force' or 'forbid'"),
        ([{"word": "张三"}], 422, "Field required"),
        ("张三", 422, "valid list"),
    ],
)
def test_wrong_constraints_are_refused_without_their_words(client, rows, status, message):
    answer = tag(client, "红斑", constraints=rows)
    assert (answer.status_code, message in answer.text) == (status, True), answer.text
    assert "张三" not in answer.text and "李四" not in answer.text


def test_a_forced_word_longer_than_a_window_is_refused(client):
    answer = tag(client, "红", "瘙" * 60, constraints=[word("瘙" * 30, "病")])
    assert answer.status_code == 422
    assert answer.json()["detail"] == "texts[1]: a forced word has 30 characters, more than a window of 20"
    assert tag(client, "红斑", constraints=[word("瘙" * 30, "病")]).status_code == 200


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


CONSTRAINED = {"texts": ["红斑"], "constraints": [{"word": "红斑", "label": "病"}]}
COSTLY = {
    "constraints of /tag": ("/tag", CONSTRAINED, http_constraints.ServedConstraints, "of_request"),
    "windows of /tag": ("/tag", CONSTRAINED, ConstraintReader, "windows"),
    "answer of /tag": ("/tag", {"texts": ["红斑"]}, http_server.JSONResponse, "render"),
    "figures of /tag": ("/tag", {"texts": ["红斑"]}, ServerMetrics, "tagged"),
    "constraints of /explain": ("/explain", {"text": "红斑"}, http_constraints.ServedConstraints, "of_request"),
    "answer of /explain": ("/explain", {"text": "红斑"}, http_server.JSONResponse, "render"),
    "figures": ("/metrics", None, ServerMetrics, "render"),
}


@pytest.mark.parametrize(("path", "body", "owner", "name"), COSTLY.values(), ids=COSTLY)
def test_others_are_answered_while_a_large_request_is_worked_on(tagger, monkeypatch, path, body, owner, name):
    began, released = threading.Event(), threading.Event()
    original = getattr(owner, name)

    def held(*arguments):
        if not began.is_set():
            began.set()
            if is_in_event_loop():
                raise AssertionError("the event loop is held up")
            released.wait()
        return original(*arguments)

    with TestClient(make_app(SETTINGS, tagger=tagger)) as client, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(owner, name, held)
        request = partial(client.get, path) if body is None else partial(client.post, path, json=body)
        answer = pool.submit(request)
        answer.add_done_callback(lambda _: began.set())
        try:
            began.wait()
            assert client.get("/health").json()["status"] == "ok" and not answer.done()
        finally:
            released.set()
        assert answer.result().status_code == 200


def is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_requests_that_are_checked_count_as_waiting(tagger, monkeypatch):
    began, released = threading.Event(), threading.Event()

    def held(*arguments):
        began.set()
        released.wait()

    monkeypatch.setattr(http_constraints.ServedConstraints, "of_request", held)
    app = make_app(replace(SETTINGS, max_waiting=1), tagger=tagger)
    with TestClient(app) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(tag, client, "红斑")
        answer.add_done_callback(lambda _: began.set())
        try:
            began.wait()
            assert client.get("/health").json()["waiting"] == 1
            refused = tag(client, "红斑")
        finally:
            released.set()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert answer.result().status_code == 200


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
