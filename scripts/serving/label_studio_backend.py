"""A machine-learning backend for Label Studio in front of `adner serve`: entities as pre-annotations of each task.

    adner serve runs/quickstart/model
    python scripts/serving/label_studio_backend.py --tagger http://127.0.0.1:8000 --port 9090

Then, in the settings of a project, connect the model http://HOST:9090. The labelling interface needs a `Text` and a
`Labels` tag; the names of both are read from it. Entities get their scores, by which Label Studio orders tasks.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException

from hf_adner.serve.http_server import TOKEN_VARIABLE

SECONDS = 300
"""Time that a tagger may take for the tasks of one request."""


class Interface(NamedTuple):
    """What a labelling interface names: the Labels tag, the Text tag, and the key of the task's data that it shows."""

    labels: str
    text: str
    key: str


def read_interface(config: str) -> Interface:
    """Find the tags in the XML of a labelling interface.

    Raises:
        ValueError: it is not XML, or has no Labels tag for a Text tag.
    """
    try:
        tags = list(ElementTree.fromstring(config).iter())
    except ElementTree.ParseError as error:
        raise ValueError(f"label_config is not XML: {error}") from None
    texts = {tag.get("name"): (tag.get("value") or "").removeprefix("$") for tag in tags if tag.tag == "Text"}
    for tag in tags:
        if tag.tag == "Labels" and tag.get("toName") in texts:
            return Interface(tag.get("name", ""), tag.get("toName", ""), texts[tag.get("toName")])
    raise ValueError("label_config has no Labels tag for a Text tag")


def texts_of(tasks: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Return the text of each task.

    Raises:
        ValueError: a task has none; names the task.
    """
    texts = []
    for number, task in enumerate(tasks):
        text = task.get("data", {}).get(key)
        if not isinstance(text, str):
            raise ValueError(f"tasks[{number}] has no text under data.{key}")
        texts.append(text)
    return texts


def prediction(text: str, entities: Sequence[Mapping[str, Any]], interface: Interface, version: str) -> dict[str, Any]:
    """Return the entities of a text as a prediction; its score is the least of theirs, 1 without any."""
    results = [
        {
            "from_name": interface.labels,
            "to_name": interface.text,
            "type": "labels",
            "value": {
                **{"start": one["start"], "end": one["end"], "text": text[one["start"] : one["end"]]},
                "labels": [one["entity_group"]],
            },
            "score": one["score"],
        }
        for one in entities
    ]
    return {
        "model_version": version,
        "score": min((one["score"] for one in entities), default=1.0),
        "result": results,
    }


def make_app(tagger: httpx.AsyncClient, version: str) -> FastAPI:
    """Make the backend.

    Args:
        tagger: client of the server.
        version: name of the model, by which Label Studio groups predictions.
    """
    app = FastAPI(title="hf_adner for Label Studio")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "hf_adner"}

    @app.post("/setup")
    async def setup(request: dict[str, Any]) -> dict[str, str]:
        return {"model_version": version}

    @app.post("/predict")
    async def predict(request: dict[str, Any]) -> dict[str, Any]:
        tasks = request.get("tasks") or []
        try:
            interface = read_interface(request.get("label_config") or "")
            texts = texts_of(tasks, interface.key)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        answer = await tagger.post("/tag", json={"texts": texts})
        if answer.status_code != 200:
            raise HTTPException(502, f"the tagger answered {answer.status_code}")
        found = answer.json()["entities"]
        return {"results": [prediction(*pair, interface, version) for pair in zip(texts, found, strict=True)]}

    return app


def main() -> None:
    """Run the backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tagger", default="http://127.0.0.1:8000", help="address of adner serve")
    parser.add_argument("--version", default="hf_adner", help="name of the model in Label Studio")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090)
    args = parser.parse_args()
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client = httpx.AsyncClient(base_url=args.tagger, headers=headers, timeout=SECONDS)
    uvicorn.run(make_app(client, args.version), host=args.host, port=args.port)


if __name__ == "__main__":
    main()
