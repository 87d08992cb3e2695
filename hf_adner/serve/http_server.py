"""The HTTP server's application: `/tag`, `/explain`, `/health` and `/metrics` of one checkpoint (FastAPI).

Concurrent requests share batches of the model. What is too large or too much is refused with a clear answer (413, 503),
and no text goes into logs, metrics or the messages of errors. What grows with texts, tables or answers is done in
threads, so that the event loop goes on answering others.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any, NamedTuple, TypeVar

import torch
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from hf_adner.explain.explainers import DEFAULT_EXPLAINER, make_explainer
from hf_adner.model.codes_adner import choose_codes
from hf_adner.model.constraints_adner import Constraints, choose_constraints
from hf_adner.model.labels_adner import entity_types
from hf_adner.model.pipeline_adner import DEFAULT_WINDOW, AdnerPipeline, check_count
from hf_adner.serve.http_constraints import ServedConstraints, WordConstraint
from hf_adner.serve.http_metrics import ServerMetrics
from hf_adner.serve.request_queue import QueueClosedError, QueueFullError, RequestQueue

SETTINGS_VARIABLE = "HF_ADNER_SERVER"
"""Environment variable with the settings as JSON, for worker processes."""
TOKEN_VARIABLE = "HF_ADNER_SERVER_TOKEN"
"""Environment variable with the token that requests must carry; none are refused without one."""
RETRY_AFTER = 1
"""Seconds after which a refused request may be tried again."""
_BYTES_PER_CHARACTER = 12  # a character outside the basic plane, escaped
_BYTES_PER_CONSTRAINT = 2_600  # a word and a label of 100 characters each, and the names of the fields
_BYTES_BESIDE_TEXT = 65_536
_LONGEST_FIELD = 40  # characters of a field's name that an error shows
_ENDPOINTS = ("/tag", "/explain", "/health", "/metrics")

CheckedT = TypeVar("CheckedT")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server.

    Attributes:
        model: checkpoint, a folder or a Hub name.
        revision: of a Hub checkpoint.
        device: device of the model; None: a GPU if there is one.
        batch_size: windows of full length per forward pass.
        threads: threads of the CPU per worker.
        assertion: add what notes say of each entity.
        constraints: path of a table of words that are entities, or are none, in all requests.
        codes: add the codes of entities by the table of the checkpoint.
        code_table: path of a table of codes, added to that of the checkpoint.
        explainer: of `/explain`, a name of `hf_adner.explain.explainers.EXPLAINERS`.
        max_characters: characters of a request to `/tag`.
        max_explained: characters of a request to `/explain`.
        max_texts: texts of a request to `/tag`.
        max_constraints: constraints of a request to `/tag`; 0: none are taken.
        max_waiting: requests that wait for the model, of either kind.

    Raises:
        ValueError: a number below 1, or less than no constraints.
    """

    model: str
    revision: str | None = None
    device: str | None = None
    batch_size: int = 16
    threads: int = 1
    assertion: bool = False
    constraints: str | None = None
    codes: bool | None = None
    code_table: str | None = None
    explainer: str = DEFAULT_EXPLAINER
    max_characters: int = 100_000
    max_explained: int = 5_000
    max_texts: int = 1_000
    max_constraints: int = 1_000
    max_waiting: int = 64

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads", "max_characters", "max_explained", "max_texts", "max_waiting"):
            check_count(getattr(self, name), name)
        check_count(self.max_constraints, "max_constraints", 0)

    @property
    def max_bytes(self) -> int:
        """Bytes of a request that has as many characters and constraints as may be, each character escaped."""
        texts = _BYTES_PER_CHARACTER * self.max_characters
        return texts + _BYTES_PER_CONSTRAINT * self.max_constraints + _BYTES_BESIDE_TEXT


class TagRequest(BaseModel):
    """Texts to tag."""

    model_config = ConfigDict(extra="forbid")
    texts: list[str] = Field(description="texts of any length, together within the server's limit")
    constraints: list[WordConstraint] | None = Field(
        None, description="words that are entities, or are none, in these texts, beside those of the server"
    )


class TagAnswer(BaseModel):
    """Entities of each text, as the pipeline `adner-ner` returns them, with `needs_review`."""

    entities: list[list[dict[str, Any]]]


class Span(BaseModel):
    """An entity to explain."""

    model_config = ConfigDict(extra="forbid")
    start: int = Field(ge=0, description="first character")
    end: int = Field(ge=1, description="after the last character")
    label: str


class ExplainRequest(BaseModel):
    """A text whose entities are explained."""

    model_config = ConfigDict(extra="forbid")
    text: str
    entities: list[Span] | None = Field(None, description="entities to explain; default: those that the model finds")


class ExplainAnswer(BaseModel):
    """An explanation per entity, as `Explanation.to_dict` without the text."""

    explanations: list[dict[str, Any]]


def app_from_environment() -> FastAPI:
    """Make the application of a worker process from `SETTINGS_VARIABLE` and `TOKEN_VARIABLE`."""
    settings = ServerSettings(**json.loads(os.environ[SETTINGS_VARIABLE]))
    torch.set_num_threads(settings.threads)
    return make_app(settings, os.environ.get(TOKEN_VARIABLE))


def environment_of(settings: ServerSettings) -> dict[str, str]:
    """Return the environment variables that `app_from_environment` reads the settings from."""
    return {SETTINGS_VARIABLE: json.dumps(asdict(settings))}


def check_tables(settings: ServerSettings) -> None:
    """Read the tables of words and codes that the settings name, so that a worker need not find out.

    Raises:
        FileNotFoundError, ValueError: a table is missing or wrong; names file and line.
    """
    from hf_adner import AdnerConfig, AdnerTokenizer

    config = AdnerConfig.from_pretrained(settings.model, revision=settings.revision or "main")
    if settings.constraints or settings.code_table or settings.codes:
        tokenizer = AdnerTokenizer.from_pretrained(settings.model, revision=settings.revision or "main")
        choose_constraints(settings.constraints, config, tokenizer)
        choose_codes(settings.code_table or settings.codes, tokenizer)


def load_tagger(settings: ServerSettings) -> AdnerPipeline:
    """Load the checkpoint; `ServedModel` gives it the constraints with each call."""
    from hf_adner import AdnerForTokenClassification, AdnerTokenizer

    revision = settings.revision or "main"
    tokenizer = AdnerTokenizer.from_pretrained(settings.model, revision=revision)
    return AdnerPipeline(
        model=AdnerForTokenClassification.from_pretrained(settings.model, revision=revision),
        tokenizer=tokenizer,
        device=settings.device,
        batch_size=settings.batch_size,
        assertion=settings.assertion or None,
        codes=choose_codes(settings.code_table or settings.codes, tokenizer),
        needs_review=True,
    )


def make_app(settings: ServerSettings, token: str | None = None, tagger: AdnerPipeline | None = None) -> FastAPI:
    """Make the application.

    Args:
        settings: its settings.
        token: what requests must carry as ``Authorization: Bearer TOKEN``, `/health` excepted; None: nothing.
        tagger: the pipeline; default: that of the checkpoint.
    """
    model = ServedModel(settings, load_tagger(settings) if tagger is None else tagger)

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(model.close)

    app = FastAPI(
        title="hf_adner",
        description="Entities of Chinese clinical text.",
        lifespan=closing,
        max_body_size=settings.max_bytes,
    )
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_middleware(Timing, metrics=model.metrics)
    _add_routes(app, model, [Depends(_token_check(token))] if token else [])
    return app


def _add_routes(app: FastAPI, model: ServedModel, protected: list[Any]) -> None:
    @app.post("/tag", dependencies=protected, response_model=TagAnswer)
    async def tag(request: TagRequest) -> Response:
        entities = await model.tag(request.texts, request.constraints)
        return await asyncio.to_thread(JSONResponse, {"entities": entities})

    @app.post("/explain", dependencies=protected, response_model=ExplainAnswer)
    async def explain(request: ExplainRequest) -> Response:
        explanations = await model.explain(request)
        return await asyncio.to_thread(JSONResponse, {"explanations": explanations})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "waiting": model.waiting}

    @app.get("/metrics", dependencies=protected)
    async def metrics() -> Response:
        text = await asyncio.to_thread(model.metrics.render)  # reads the files of all workers
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


class _TaggedText(NamedTuple):
    """A text to tag, and what is known of its words; requests without constraints of their own share the object."""

    text: str
    constraints: Constraints | None


class ServedModel:
    """The checkpoint behind the queues of `/tag` and `/explain`.

    Args:
        settings: of the server.
        tagger: the pipeline.
    """

    def __init__(self, settings: ServerSettings, tagger: AdnerPipeline):
        self._settings, self._tagger = settings, tagger
        self._constraints = ServedConstraints(
            settings.constraints, tagger.model, tagger.tokenizer, settings.max_constraints
        )
        self._labels = set(entity_types(list(tagger.model.config.id2label.values())))
        self._explainer = make_explainer(settings.explainer, tagger.model, tagger.tokenizer)
        self._checking = 0
        self.metrics = ServerMetrics(lambda: self.waiting)
        # as many characters as make the batches of the pipeline full
        characters = settings.batch_size * DEFAULT_WINDOW
        self._tagged: RequestQueue[_TaggedText, list[dict[str, Any]]] = RequestQueue(
            self._entities, settings.max_waiting, characters, lambda one: len(one.text), self.metrics.batched
        )
        self._explained: RequestQueue[ExplainRequest, list[dict[str, Any]]] = RequestQueue(
            lambda requests: list(map(self._explanations, requests)), settings.max_waiting, 0, lambda one: 1
        )

    @property
    def waiting(self) -> int:
        """Requests that wait for the model, those included that are being checked."""
        return len(self._tagged) + len(self._explained) + self._checking

    async def tag(self, texts: list[str], rows: list[WordConstraint] | None = None) -> list[list[dict[str, Any]]]:
        """Return the entities of each text.

        Args:
            texts: of a request.
            rows: constraints of the request, beside those of the server.

        Raises:
            HTTPException: too much text or too many constraints (413), constraints that cannot hold (422), too many
                requests (503), or the model failed (500).
        """
        items = await self._checked(self._items, texts, rows)
        entities = await _result_of(self._tagged, items)
        await asyncio.to_thread(self.metrics.tagged, texts, entities)
        return entities

    async def explain(self, request: ExplainRequest) -> list[dict[str, Any]]:
        """Return an explanation per entity.

        Raises:
            HTTPException: as for `tag`, or an entity that is not one of the text and the model (422).
        """
        await self._checked(self._check_explained, request)
        return (await _result_of(self._explained, [request]))[0]

    async def _checked(self, check: Callable[..., CheckedT], *arguments: Any) -> CheckedT:
        """Return what a check returns, run in a thread; as many are run or wait for one as may wait for the model."""
        if self._checking >= self._settings.max_waiting:
            raise _busy(f"{self._checking} requests wait, as many as may")
        self._checking += 1
        try:
            return await asyncio.to_thread(check, *arguments)
        finally:
            self._checking -= 1

    def _items(self, texts: list[str], rows: list[WordConstraint] | None) -> list[_TaggedText]:
        """Check the texts of a request and its constraints."""
        if len(texts) > self._settings.max_texts:
            raise HTTPException(413, f"{len(texts)} texts in a request, expected {self._settings.max_texts} at most")
        _check_characters(sum(map(len, texts)), self._settings.max_characters)
        for number, text in enumerate(texts):
            _check_text(text, f"texts[{number}]")
        constraints = self._constraints.of_request(rows, texts)
        return [_TaggedText(text, constraints) for text in texts]

    def _check_explained(self, request: ExplainRequest) -> None:
        _check_characters(len(request.text), self._settings.max_explained)
        _check_text(request.text, "text")
        if request.entities is None:
            self._constraints.of_request(None, [request.text])
        for number, span in enumerate(request.entities or ()):
            if not span.start < span.end <= len(request.text):
                place = f"{span.start}-{span.end} of {len(request.text)} characters"
                raise HTTPException(422, f"entities[{number}] must lie in the text, found {place}")
            if span.label not in self._labels:
                raise HTTPException(422, f"entities[{number}] needs a label of the model: {sorted(self._labels)}")

    def _entities(self, items: list[_TaggedText]) -> list[list[dict[str, Any]]]:
        """Return the entities of each text; those with the same constraints share batches."""
        groups: dict[int, list[int]] = {}
        for number, item in enumerate(items):
            groups.setdefault(id(item.constraints), []).append(number)
        found: list[list[dict[str, Any]]] = [[] for _ in items]
        for numbers in groups.values():
            constraints = items[numbers[0]].constraints
            options = {} if constraints is None else {"constraints": constraints}
            answers = self._tagger([items[number].text for number in numbers], **options)
            for number, entities in zip(numbers, answers, strict=True):
                found[number] = entities
        return found

    def _explanations(self, request: ExplainRequest) -> list[dict[str, Any]]:
        spans = None if request.entities is None else [[(one.start, one.end, one.label) for one in request.entities]]
        if spans is None and self._constraints.own is not None:  # the explainer does not know them
            (entities,) = self._tagger([request.text], constraints=self._constraints.own)
            spans = [[(one["start"], one["end"], one["entity_group"]) for one in entities]]
        rows = [one.to_dict() for one in self._explainer([request.text], spans)[0]]
        return [{name: value for name, value in row.items() if name != "text"} for row in rows]

    def close(self) -> None:
        """Take no more requests and finish those that wait."""
        self._tagged.close()
        self._explained.close()


async def _result_of(queue: RequestQueue, items: list[Any]) -> list[Any]:
    try:
        return await asyncio.wrap_future(queue.submit(items))
    except (QueueFullError, QueueClosedError) as error:
        raise _busy(str(error)) from None
    except Exception as error:  # its message may quote the text
        raise HTTPException(500, f"the model failed: {type(error).__name__}") from None


def _busy(reason: str) -> HTTPException:
    return HTTPException(503, reason, {"Retry-After": str(RETRY_AFTER)})


def _check_characters(found: int, most: int) -> None:
    if found > most:
        raise HTTPException(413, f"{found:,} characters in a request, expected {most:,} at most; split the text")


def _check_text(text: str, name: str) -> None:
    """Refuse half of a surrogate pair: no answer could quote it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise HTTPException(422, f"{name} has half a character (a lone surrogate) at {error.start}") from None


def _token_check(token: str) -> Callable[..., None]:
    def check(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        given = "" if credentials is None else credentials.credentials
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "expected the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    return check


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    """Answer with where a request is wrong and why, not with what it holds."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    shown = [{"loc": list(map(_place, one["loc"])), "msg": one["msg"], "type": one["type"]} for one in errors]
    return JSONResponse({"detail": shown[:10]}, 422)


def _place(part: object) -> str:
    """Return a part of the place of an error; the name of an unknown field only where it cannot be a part of a note."""
    name = str(part)
    return name if name.isascii() and len(name) <= _LONGEST_FIELD else "..."


class Timing:
    """Tell the metrics of every answer.

    Args:
        app: the application behind it.
        metrics: told of endpoint, status and seconds.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], metrics: ServerMetrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            endpoint = scope["path"] if scope["path"] in _ENDPOINTS else "other"
            self._metrics.answered(endpoint, status, time.perf_counter() - began)
