"""A server on 127.0.0.1 that speaks as much of the Hub's API as pushing and loading models takes.

Everything is held in memory. Repositories belong to the user of the token that made them. Weights are stored as on the
Hub: uploaded by themselves, then named in a commit, and a commit is one request. Two names make it fail: a repository
`no-uploads` refuses weights, and a commit `lose the connection` is met by silence.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKENS = {"hf_alice": "alice", "hf_bob": "bob"}
LARGE = (".safetensors", ".bin", ".pt")
REPOSITORY = r"/(?P<repo>[\w.-]+/[\w.-]+)"
MODEL = "/api/models" + REPOSITORY


class Refusal(Exception):
    """An answer of the server that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None, **details: str):
        super().__init__(message)
        self.status, self.code, self.details = status, code, details


class LostConnection(Exception):
    """The server falls silent."""


@dataclass
class Commit:
    """A state of a repository."""

    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repository:
    """Its branches are lists of commits, the newest last."""

    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=lambda: {"main": [Commit("0" * 40, "initial", {})]})

    def at(self, revision: str) -> Commit:
        """The commit that a branch ends in or that an id names."""
        if revision in self.branches:
            return self.branches[revision][-1]
        for commit in (commit for commits in self.branches.values() for commit in commits):
            if commit.oid == revision:
                return commit
        raise Refusal(404, f"no revision {revision}", "RevisionNotFound")


class LoopbackHub(ThreadingHTTPServer):
    """The server; `with LoopbackHub() as hub: ... hub.url ...`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self.server_close()

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """Path -> content of a revision."""
        return self.repositories[repo].at(revision).files

    def messages(self, repo: str, revision: str = "main") -> list[str]:
        """Messages of a branch's commits."""
        return [commit.message for commit in self.repositories[repo].branches[revision]]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def handle_one(self) -> None:
        """Find the route of the request and send its answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        try:
            for method, pattern, answer in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and self.command in method:
                    self.user = self.identify()
                    return self.send(200, *answer(self, body, **found.groupdict()))
            raise Refusal(404, f"no route for {self.command} {path}")
        except LostConnection:
            self.close_connection = True
        except Refusal as refusal:
            headers = {"X-Error-Message": str(refusal), "X-Error-Code": refusal.code}
            given = {name: value for name, value in headers.items() if value}
            self.send(refusal.status, json.dumps({"error": str(refusal), **refusal.details}).encode(), given)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer; HEAD gets its headers only."""
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def identify(self) -> str | None:
        """The user of the token, None without one."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in TOKENS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return TOKENS.get(token)

    def repository(self, name: str, write: bool = False) -> Repository:
        """A repository that the user may read, or write."""
        repository, owner = self.server.repositories.get(name), name.split("/")[0]
        if repository is None or (repository.private and self.user != owner):
            raise Refusal(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if write and self.user != owner:
            raise Refusal(403 if self.user else 401, f"You don't have the rights to write to {name}")
        return repository


def as_json(record: Any) -> tuple[bytes]:
    """An answer's content."""
    return (json.dumps(record).encode(),)


def whoami(request: Handler, body: bytes) -> tuple[bytes]:
    """GET /api/whoami-v2"""
    if request.user is None:
        raise Refusal(401, "Invalid username or password.")
    return as_json({"type": "user", "name": request.user, "orgs": []})


def create(request: Handler, body: bytes) -> tuple[bytes]:
    """POST /api/repos/create"""
    wanted = json.loads(body)
    owner = wanted.get("organization") or request.user
    name = f"{owner}/{wanted['name']}"
    if request.user is None:
        raise Refusal(401, "Invalid username or password.")
    if owner != request.user:
        raise Refusal(403, f"You don't have the rights to create a model under the namespace {owner!r}")
    if name in request.server.repositories:
        raise Refusal(409, "You already created this model repo", url=f"{request.server.url}/{name}")
    request.server.repositories[name] = Repository(private=wanted.get("visibility") == "private")
    return as_json({"url": f"{request.server.url}/{name}", "name": name, "id": name})


def validate(request: Handler, body: bytes) -> tuple[bytes]:
    """POST /api/validate-yaml"""
    return as_json({"errors": [], "warnings": []})


def information(request: Handler, body: bytes, repo: str, revision: str | None = None) -> tuple[bytes]:
    """GET /api/models/{repo}[/revision/{revision}]"""
    repository = request.repository(repo)
    commit = repository.at(revision or "main")
    config = json.loads(commit.files.get("config.json", b"{}"))
    record = {"id": repo, "modelId": repo, "sha": commit.oid, "private": repository.private}
    record["siblings"] = [{"rfilename": path} for path in sorted(commit.files)]
    record["config"] = {name: config[name] for name in ("architectures", "model_type") if name in config}
    return as_json(record)


def tree(request: Handler, body: bytes, repo: str, revision: str, folder: str | None = None) -> tuple[bytes]:
    """GET /api/models/{repo}/tree/{revision}[/{folder}]"""
    files = request.repository(repo).at(revision).files
    inside = {path: content for path, content in files.items() if folder is None or path.startswith(f"{folder}/")}
    if folder and not inside:
        raise Refusal(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
    return as_json(
        [{"type": "file", "oid": oid(text), "size": len(text), "path": path} for path, text in inside.items()]
    )


def branch(request: Handler, body: bytes, repo: str, name: str) -> tuple[bytes]:
    """POST /api/models/{repo}/branch/{name}"""
    branches = request.repository(repo, write=True).branches
    if name in branches:
        raise Refusal(409, "Reference already exists")
    branches[name] = list(branches["main"])
    return as_json({})


def preupload(request: Handler, body: bytes, repo: str, revision: str) -> tuple[bytes]:
    """POST /api/models/{repo}/preupload/{revision}"""
    files = request.repository(repo, write=True).at(revision).files
    answers = []
    for wanted in json.loads(body)["files"]:
        mode = "lfs" if wanted["path"].endswith(LARGE) else "regular"
        known = files.get(wanted["path"])
        blob = None if known is None or mode == "lfs" else oid(known)
        answers.append({"path": wanted["path"], "uploadMode": mode, "shouldIgnore": False, "oid": blob})
    return as_json({"files": answers})


def batch(request: Handler, body: bytes, repo: str) -> tuple[bytes]:
    """POST /{repo}.git/info/lfs/objects/batch"""
    request.repository(repo, write=True)
    objects = []
    for wanted in json.loads(body)["objects"]:
        target = f"{request.server.url}/blobs/{repo}/{wanted['oid']}"
        needed = {} if wanted["oid"] in request.server.blobs else {"actions": {"upload": {"href": target}}}
        objects.append({**wanted, **needed})
    return as_json({"transfer": "basic", "objects": objects})


def upload(request: Handler, body: bytes, repo: str, blob: str) -> tuple[bytes]:
    """PUT of what `batch` named"""
    if "no-uploads" in repo:
        raise Refusal(403, "upload refused")
    assert hashlib.sha256(body).hexdigest() == blob
    request.server.blobs[blob] = body
    return as_json({})


def commit(request: Handler, body: bytes, repo: str, revision: str) -> tuple[bytes]:
    """POST /api/models/{repo}/commit/{revision}: all of it or nothing"""
    repository = request.repository(repo, write=True)
    before = repository.at(revision)
    files, header = dict(before.files), {}
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "header":
            header = value
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = request.server.blobs[value["oid"]]
        elif line["key"] == "deletedFile":
            del files[value["path"]]
    if header["summary"] == "lose the connection":
        raise LostConnection
    if header.get("parentCommit") not in (None, before.oid):
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    new = Commit(hashlib.sha1(before.oid.encode() + body).hexdigest(), header["summary"], files)
    repository.branches[revision].append(new)
    return as_json(
        {"success": True, "commitOid": new.oid, "commitUrl": f"{request.server.url}/{repo}/commit/{new.oid}"}
    )


def resolve(request: Handler, body: bytes, repo: str, revision: str, path: str) -> tuple[bytes, dict[str, str]]:
    """GET, HEAD /{repo}/resolve/{revision}/{path}"""
    found = request.repository(repo).at(revision)
    if path not in found.files:
        raise Refusal(404, "Entry not found", "EntryNotFound")
    content = found.files[path]
    return content, {
        "X-Repo-Commit": found.oid,
        "ETag": f'"{oid(content)}"',
        "Content-Type": "application/octet-stream",
    }


def oid(content: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


ROUTES: list[tuple[tuple[str, ...], str, Callable[..., tuple]]] = [
    (("GET",), "/api/whoami-v2", whoami),
    (("POST",), "/api/repos/create", create),
    (("POST",), "/api/validate-yaml", validate),
    (("GET",), MODEL, information),
    (("GET",), MODEL + "/revision/(?P<revision>.+)", information),
    (("GET",), MODEL + "/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", tree),
    (("POST",), MODEL + "/branch/(?P<name>.+)", branch),
    (("POST",), MODEL + "/preupload/(?P<revision>.+)", preupload),
    (("POST",), MODEL + "/commit/(?P<revision>.+)", commit),
    (("POST",), REPOSITORY + r"\.git/info/lfs/objects/batch", batch),
    (("PUT",), "/blobs" + REPOSITORY + r"/(?P<blob>\w+)", upload),
    (("GET", "HEAD"), REPOSITORY + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
]
"""Methods, pattern of the path, and what answers."""
