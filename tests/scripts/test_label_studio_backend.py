"""scripts/serving: the Label Studio backend gives entities as regions that the reader of Label Studio takes."""

import json
from pathlib import Path

import pytest
import torch
from jinja2 import Template

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import httpx  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, read_documents  # noqa: E402
from hf_adner.serve.http_server import ServerSettings  # noqa: E402
from hf_adner.serve.http_server import make_app as make_tagger  # noqa: E402

TEXTS = ["患者反复红斑三年😀", "外用他克莫司软膏后好转", "无"]
CONFIG = """
<View><Header value="note"/><Text name="note" value="$body"/>
<Choices name="c" toName="note"><Choice value="x"/></Choices>
<Labels name="ner" toName="note"><Label value="病"/><Label value="药"/></Labels></View>"""


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], "bilstm-crf", bilstm_size=16, character_embedding_size=16
    )
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    return AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")


@pytest.fixture(scope="module")
def backend(load_script, tagger):
    script = load_script("serving/label_studio_backend")
    served = make_tagger(ServerSettings("unused", max_texts=5), tagger=tagger)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://tagger")
    with TestClient(script.make_app(client, "v1")) as test_client:
        yield test_client


def test_entities_become_regions_that_are_read_again(backend, tagger, tmp_path):
    tasks = [{"id": number, "data": {"body": text}} for number, text in enumerate(TEXTS)]
    answer = backend.post("/predict", json={"tasks": tasks, "label_config": CONFIG})
    results = answer.json()["results"]
    assert [one["model_version"] for one in results] == ["v1"] * 3
    annotated = [{**task, "annotations": [{"result": one["result"]}]} for task, one in zip(tasks, results, strict=True)]
    (tmp_path / "tasks.json").write_text(json.dumps(annotated), encoding="utf-8")
    read = [document.spans for document in read_documents(tmp_path / "tasks.json", text_column="body")]
    found = tagger(TEXTS)
    expected = [[(one["start"], one["end"], one["entity_group"]) for one in entities] for entities in found]
    assert [list(spans) for spans in read] == expected and any(expected)
    for one, entities in zip(results, found):
        assert one["score"] == pytest.approx(min((entity["score"] for entity in entities), default=1), abs=1e-6)
        assert {(region["from_name"], region["to_name"]) for region in one["result"]} <= {("ner", "note")}


@pytest.mark.parametrize(
    ("tasks", "config", "status", "message"),
    [
        ([{"data": {}}], CONFIG, 422, "tasks[0] has no text under data.body"),
        ([], "<View>", 422, "not XML"),
        ([], "<View><Text name='t' value='$x'/></View>", 422, "no Labels tag"),
        ([{"data": {"body": "红"}}] * 6, CONFIG, 502, "the tagger answered 413"),
    ],
)
def test_what_cannot_be_tagged_is_told(backend, tasks, config, status, message):
    answer = backend.post("/predict", json={"tasks": tasks, "label_config": config})
    assert answer.status_code == status and message in answer.text


def test_label_studio_finds_the_backend(backend):
    assert backend.get("/health").json()["status"] == "UP"
    assert backend.post("/setup", json={"project": "1"}).json() == {"model_version": "v1"}


def test_the_mapping_of_doccano_gives_its_labels(tagger):
    page = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    template = page.split("```jinja\n")[1].split("```")[0]
    with TestClient(make_tagger(ServerSettings("unused"), tagger=tagger)) as served:
        answers = [served.post("/tag", json={"texts": [text]}).json() for text in TEXTS]
    for text, answer in zip(TEXTS, answers):
        labels = json.loads(Template(template).render(input=answer))
        expected = [(one["start"], one["end"], one["entity_group"]) for one in tagger(text)]
        assert [(one["start_offset"], one["end_offset"], one["label"]) for one in labels] == expected
