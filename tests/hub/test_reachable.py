"""A checkpoint that cannot be had is told as such, at once and before any work."""

from types import SimpleNamespace

import httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hf_adner.cli import main
from hf_adner.hub import reachable
from hf_adner.hub.reachable import check_checkpoint_name

RESPONSE = httpx.Response(404, request=httpx.Request("GET", "https://hub.test"))


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    """A cache with one model."""
    monkeypatch.setattr(
        reachable, "try_to_load_from_cache", lambda name, file, revision: file if name == "a/b" else None
    )
    held = SimpleNamespace(repos=[SimpleNamespace(repo_id="a/small-encoder", repo_type="model")])
    monkeypatch.setattr(reachable, "scan_cache_dir", lambda: held)


def answer(monkeypatch, error):
    asked = []

    def model_info(self, name, revision=None, timeout=None):
        asked.append((name, revision))
        if error is not None:
            raise error

    monkeypatch.setattr(reachable.HfApi, "model_info", model_info)
    return asked


def hub_error(kind):
    error = kind.__new__(kind)  # the constructors differ from version to version
    Exception.__init__(error, "refused")
    return error


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (OfflineModeIsEnabled("offline"), FileNotFoundError, "HF_HUB_OFFLINE forbids to ask the Hub"),
        (httpx.ConnectError("Name or service not known"), ConnectionError, "cannot be reached (ConnectError: Name or"),
        (hub_error(RepositoryNotFoundError), FileNotFoundError, "the Hub has no such model, or it is private"),
        (hub_error(RevisionNotFoundError), FileNotFoundError, "on the Hub it has no revision 'old'"),
        (hub_error(GatedRepoError), PermissionError, "it is gated"),
    ],
)
def test_why_a_model_cannot_be_had(error, kind, told, monkeypatch):
    asked = answer(monkeypatch, error)
    with pytest.raises(kind) as caught:
        check_checkpoint_name("me/encoder", "old")
    assert "there is no folder me/encoder, and the model is not in the cache; " in str(caught.value)
    assert told in str(caught.value) and asked == [("me/encoder", "old")]


def test_what_can_be_had_passes(monkeypatch, tmp_path):
    asked = answer(monkeypatch, None)
    check_checkpoint_name(None)
    check_checkpoint_name(str(tmp_path))
    check_checkpoint_name("a/b")
    assert asked == []
    check_checkpoint_name("c/d")
    assert asked == [("c/d", None)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a/smal-encoder", "did you mean a/small-encoder?"),
        ("hfl/chinese-macbert-bse", "did you mean hfl/chinese-macbert-base?"),
    ],
)
def test_a_slip_is_pointed_out(name, told, monkeypatch):
    answer(monkeypatch, hub_error(RepositoryNotFoundError))
    with pytest.raises(FileNotFoundError) as caught:
        check_checkpoint_name(name)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "a/b/c", "~/none"])
def test_paths_and_what_is_no_name_are_not_asked_for(name, monkeypatch):
    asked = answer(monkeypatch, None)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_checkpoint_name(name)
    assert asked == []


def test_what_is_no_name_is_told(monkeypatch):
    def refuse(name, file, revision):
        raise HFValidationError(name)

    monkeypatch.setattr(reachable, "try_to_load_from_cache", refuse)
    with pytest.raises(FileNotFoundError, match="there is no folder 'no name', and it is no Hub name"):
        check_checkpoint_name("no name")


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "MODEL"],
        ["predict", "MODEL", "/no/such/input"],
        ["explain", "MODEL", "--text", "a"],
        ["evaluate", "MODEL", "ad-synthetic"],
        ["calibrate", "MODEL", "ad-synthetic"],
        ["rank", "MODEL", "ad-synthetic", "--output", "a.jsonl"],
        ["export", "MODEL", "out"],
        ["train", "--dataset", "ad-synthetic", "--output-dir", "out", "--encoder", "MODEL"],
        ["cross-validate", "--dataset", "ad-synthetic", "--output-dir", "out", "--encoder", "MODEL"],
        ["pretrain", "MODEL", "notes.txt", "--output", "out"],
    ],
)
def test_commands_say_so_first(command, monkeypatch, tmp_path, capsys):
    """Before the input is opened, and with no try of their own."""
    monkeypatch.chdir(tmp_path)
    answer(monkeypatch, OfflineModeIsEnabled("offline"))
    for model in ("/no/such/folder", "me/encodr"):
        assert main([model if part == "MODEL" else part for part in command]) == 1
        assert f"FileNotFoundError: there is no folder {model}" in capsys.readouterr().err
