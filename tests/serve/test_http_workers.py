"""`adner serve` as a user runs it: workers that die are replaced, and a stop finishes what was begun."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.cli import main

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import httpx  # noqa: E402
import uvicorn  # noqa: E402

from hf_adner.serve.http_metrics import ServerMetrics, _forget_dead_workers  # noqa: E402
from hf_adner.serve.http_workers import Worker, _shared_sockets, own_socket, read_token  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = "患者反复红斑三年，外用他克莫司软膏"
PATIENCE = 300  # seconds: a loaded machine may be slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts([TEXT])
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], "bilstm-crf", bilstm_size=16, character_embedding_size=16
    )
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def server(checkpoint):
    """(URL, process) of a running server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "adner_cli.py", "serve", str(checkpoint), "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen([*command, "--max-characters", "400000"], cwd=REPOSITORY, env=environment)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: is_healthy(url), process)
    yield url, process
    process.terminate()
    process.wait(PATIENCE)


def wait_until(holds, process):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)


def is_healthy(url):
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def is_gone(worker):
    try:
        return worker.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def worker_of(process):
    """The process that serves: forked by a child of the server, which itself serves nothing."""
    server = psutil.Process(process.pid)
    return next(one for one in server.children(recursive=True) if one not in server.children())


def entities_of(answer):
    """Where the entities lie: their scores depend on the batch in the last digits."""
    return [
        [(one["start"], one["end"], one["entity_group"]) for one in entities] for entities in answer.json()["entities"]
    ]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_no_answer_is_wrong(server):
    url, process = server
    expected = entities_of(httpx.post(f"{url}/tag", json={"texts": [TEXT]}, timeout=PATIENCE))
    assert expected[0]
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answer = httpx.post(f"{url}/tag", json={"texts": [TEXT]}, timeout=PATIENCE)
                answers.append(entities_of(answer) if answer.status_code == 200 else answer.status_code)
            except httpx.TransportError:
                answers.append(None)  # closed connection

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    wait_until(lambda: len(answers) > 20, process)
    victim = worker_of(process)
    victim.kill()
    wait_until(lambda: is_gone(victim), process)
    before = len(answers)
    wait_until(lambda: len(answers) > before + 20, process)
    stop.set()
    for client in clients:
        client.join()
    assert worker_of(process).pid != victim.pid
    assert all(answer == expected for answer in answers if isinstance(answer, list))
    assert all(answer >= 500 for answer in answers if isinstance(answer, int))
    assert answers[-1] == expected
    assert 'adner_requests_total{endpoint="/tag",status="200"}' in httpx.get(f"{url}/metrics").text


def test_a_check_does_not_wait_for_a_worker_that_was_killed():
    worker = Worker(uvicorn.Config("no.such:app", port=0), [])
    worker.start()
    worker.process.kill()
    worker.process.join()
    assert worker.parent_conn.poll(0)  # the end of the pipe: what waited for an answer goes on
    assert not worker.ping(timeout=0)
    worker.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not spread connections")
def test_connections_are_spread_over_the_workers():
    first = own_socket("127.0.0.1", 0)
    port = first.getsockname()[1]
    workers = [first, own_socket("127.0.0.1", port)]
    for one in workers:
        one.listen(100)
        one.setblocking(False)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    taken = [0, 0]
    for number, one in enumerate(workers):
        with contextlib.suppress(BlockingIOError):
            while True:
                one.accept()[0].close()
                taken[number] += 1
    assert sum(taken) == len(clients) and min(taken) > 0
    for one in (*workers, *clients):
        one.close()


def test_an_address_that_another_server_has_is_refused():
    with own_socket("127.0.0.1", 0) as other:
        other.listen()
        config = uvicorn.Config("no.such:app", port=other.getsockname()[1], workers=2)
        with pytest.raises(SystemExit):
            _shared_sockets(config)


@pytest.mark.slow
def test_a_stop_finishes_the_request_that_runs(server):
    url, process = server
    found = []
    long = TEXT * 3_000

    def ask():
        found.append(httpx.post(f"{url}/tag", json={"texts": [long]}, timeout=PATIENCE))

    client = threading.Thread(target=ask)
    client.start()
    begun = "adner_batch_requests_count 1.0"  # counted when the model begins
    wait_until(lambda: begun in httpx.get(f"{url}/metrics", timeout=PATIENCE).text, process)
    process.send_signal(signal.SIGTERM)
    client.join()
    assert found[0].status_code == 200 and found[0].json()["entities"]
    assert process.wait(PATIENCE) == 0


def test_the_token_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_ADNER_SERVER_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("HF_ADNER_SERVER_TOKEN", "one")
    assert read_token(None) == "one"
    path = tmp_path / "token"
    path.write_text("two\n")
    assert read_token(str(path)) == "two"
    path.write_text("\n")
    with pytest.raises(ValueError, match="holds no token"):
        read_token(str(path))


@pytest.mark.parametrize("token", ["口令", "one two", "one\ntwo", "\N{ZERO WIDTH NO-BREAK SPACE}one", "é"])
def test_a_token_that_no_request_can_carry_is_refused(token, tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text(token, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{path} must hold one token of visible ASCII") as stop:
        read_token(str(path))
    assert token not in str(stop.value)
    monkeypatch.setenv("HF_ADNER_SERVER_TOKEN", token)
    with pytest.raises(ValueError, match="^the variable HF_ADNER_SERVER_TOKEN must hold"):
        read_token(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["/no/such/folder"], "/no/such/folder"),
        (["CHECKPOINT", "--workers", "0"], "workers"),
        (["CHECKPOINT", "--max-waiting", "0"], "max_waiting"),
        (["CHECKPOINT", "--token-file", "/no/such/token"], "/no/such/token"),
    ],
)
def test_bad_options_end_before_anything_is_started(checkpoint, options, message, capsys):
    assert main(["serve", *(str(checkpoint) if one == "CHECKPOINT" else one for one in options)]) == 1
    assert message in capsys.readouterr().err


def test_gauges_of_dead_workers_are_forgotten(tmp_path, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead, alive = (tmp_path / f"gauge_livesum_{number}.db" for number in (process.pid, os.getpid()))
    for path in (dead, alive, tmp_path / "counter_1.db"):
        path.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    _forget_dead_workers(tmp_path)
    assert not dead.exists() and alive.exists() and (tmp_path / "counter_1.db").exists()


def test_metrics_count_waiting_requests():
    waiting = [3]
    metrics = ServerMetrics(lambda: waiting[0])
    assert b"adner_waiting_requests 3.0" in metrics.render()
    waiting[0] = 0
    assert b"adner_waiting_requests 0.0" in metrics.render()
