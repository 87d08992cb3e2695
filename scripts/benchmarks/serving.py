"""Load-test `adner serve` on this machine: requests per second, latencies, faults under load, and memory.

    python scripts/benchmarks/serving.py CHECKPOINT [--workers 2] [--clients 1 8 64] [--requests 200]

Each client sends a note of a few lines, waits for the answer and sends the next, over the loopback interface. Every
answer is compared with the pipeline's. Then, under the load of 8 clients, a worker is killed (SIGKILL) and what is
malformed is sent; then a note of 300,000 characters, and one of a character more; at last `--endurance` short
requests, with the memory of each worker. A promise that does not hold ends the run with an error.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import torch

from hf_adner import AdnerPipeline, load_ner_dataset
from hf_adner.reporting import markdown_table
from hf_adner.serve.http_server import ServerSettings, load_tagger

REPOSITORY = Path(__file__).resolve().parents[2]
NOTES = 64
PATIENCE = 3_600
WARM_UP = 3  # seconds of load before a worker is killed, and after its successor serves
LONG = 300_000  # characters of the longest note
LOOKS = 4  # at the memory during the short requests
JSON = {"Content-Type": "application/json"}


def notes() -> list[str]:
    """Return notes of about 100 to 200 characters: synthetic ones, a few together."""
    texts = load_ner_dataset("ad-synthetic")["test"]["text"]
    return ["".join(texts[first : first + 3]) for first in range(0, 3 * NOTES, 3)]


def sentences() -> list[str]:
    """Return the first sentences of synthetic notes, some 20 characters each."""
    return list(dict.fromkeys(text.split("，")[0] for text in load_ner_dataset("ad-synthetic")["test"]["text"]))[:NOTES]


def start(checkpoint: str, workers: int) -> tuple[str, subprocess.Popen]:
    """Start the server on a free port and return its address and process, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "adner_cli.py", "serve", checkpoint, "--port", str(port), "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [*command, "--max-waiting", "1000", "--max-characters", str(LONG)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return url, process
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError("the server did not start")


def spans(entities: list[list[dict]]) -> list[list[tuple]]:
    """Return where entities lie, by text."""
    return [[(one["start"], one["end"], one["entity_group"]) for one in found] for found in entities]


async def ask(session: httpx.AsyncClient, text: str) -> list[tuple] | int | None:
    """Return where the entities of a text lie, the status of a refusal, or None where the connection was closed."""
    try:
        answer = await session.post("/tag", json={"texts": [text]})
    except httpx.TransportError:
        return None
    return spans(answer.json()["entities"])[0] if answer.status_code == 200 else answer.status_code


async def load(url: str, expected: dict[str, list[tuple]], clients: int, requests: int) -> list[float]:
    """Return the latency of every request, in seconds.

    Raises:
        RuntimeError: an answer is not the pipeline's.
    """
    latencies: list[float] = []
    texts = list(expected)
    numbers = iter(range(requests))

    async def client() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as session:
            for number in numbers:
                text = texts[number % len(texts)]
                began = time.perf_counter()
                answer = await ask(session, text)
                latencies.append(time.perf_counter() - began)
                if answer != expected[text]:
                    raise RuntimeError(f"request {number} got {answer}, expected {expected[text]}")

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


def load_row(
    url: str, expected: dict[str, list[tuple]], server: psutil.Process, clients: int, requests: int
) -> tuple[str, ...]:
    """Return the row of a number of clients."""
    began, used = time.perf_counter(), processor_seconds(server)
    latencies = asyncio.run(load(url, expected, clients, requests))
    rate = requests / (time.perf_counter() - began)
    used = processor_seconds(server) - used
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    return str(clients), f"{rate:.1f}", f"{p50:.0f}", f"{p95:.0f}", f"{1000 * used / requests:.0f}"


def processor_seconds(server: psutil.Process) -> float:
    """Return the processor time that the workers have used, which a busy machine changes little."""
    return sum(one.cpu_times().user + one.cpu_times().system for one in workers_of(server))


async def kill_under_load(url: str, expected: dict[str, list[tuple]], server: psutil.Process, clients: int) -> str:
    """Kill a worker under load, wait until its successor takes connections, and tell what became of the requests.

    Raises:
        RuntimeError: a request got another answer than the pipeline's, a status below 500, or no worker came back.
    """
    outcomes: list[str] = []
    stop, texts = asyncio.Event(), list(expected)
    numbers = iter(range(10**9))

    async def client() -> None:
        # a connection for each request, so that either worker may get it
        once = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=once) as session:
            while not stop.is_set():
                text = texts[next(numbers) % len(texts)]
                answer = await ask(session, text)
                outcome = "right" if answer == expected[text] else "closed" if answer is None else "refused"
                if outcome == "refused" and not (isinstance(answer, int) and answer >= 500):
                    raise RuntimeError(f"a request got {answer}, expected {expected[text]}")
                outcomes.append(outcome)

    async def kill() -> tuple[float, float]:
        await asyncio.sleep(WARM_UP)
        before = workers_of(server)
        max(before, key=connections_of).kill()
        began = time.perf_counter()
        try:
            while not (new := [one for one in workers_of(server) if one not in before and connections_of(one)]):
                if time.perf_counter() - began > PATIENCE:
                    raise RuntimeError("no worker came back")
                await asyncio.sleep(0.1)
            seconds, used = time.perf_counter() - began, sum(new[0].cpu_times()[:2])
            await asyncio.sleep(WARM_UP)
            return seconds, used
        finally:
            stop.set()

    *_, (seconds, used) = await asyncio.gather(*(client() for _ in range(clients)), kill())
    if set(outcomes[-clients:]) != {"right"}:
        raise RuntimeError("requests fail after the worker came back")
    closed, refused = map(outcomes.count, ("closed", "refused"))
    return (
        f"a worker killed under the load of {clients} clients: of {len(outcomes)} requests {closed} ended with a "
        f"closed connection, {refused} with a status from 500, the others with the right answer; its successor took "
        f"connections after {seconds:.1f} s, {used:.1f} s of them its own processor time"
    )


def workers_of(server: psutil.Process) -> list[psutil.Process]:
    """Return the processes that serve: the forks of a child, which itself serves nothing."""
    return [one for one in server.children(recursive=True) if one not in server.children()]


def connections_of(worker: psutil.Process) -> int:
    """Return the number of connections that a worker has taken."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return sum(one.status == psutil.CONN_ESTABLISHED for one in worker.net_connections("tcp"))
    return 0


def malformed(url: str) -> str:
    """Send what is malformed, and tell how it was answered.

    Raises:
        RuntimeError: an answer is not 400 or 422, or quotes what was sent.
    """
    secret = "患者张三"
    bodies = {
        "cut JSON": f'{{"texts": ["{secret}',
        "no JSON": secret,
        "not a list": f'{{"texts": "{secret}"}}',
        "a number for a text": '{"texts": [7]}',
        "an unknown field": f'{{"texts": [], "{secret}": 1}}',
        "half a character": f'{{"texts": ["{secret}\\ud800"]}}',
        "nested without end": '{"texts": ' + "[" * 100_000,
        "no UTF-8": b'{"texts": ["\xff"]}',
    }
    statuses = []
    for name, body in bodies.items():
        answer = httpx.post(f"{url}/tag", content=body, headers=JSON, timeout=PATIENCE)
        statuses.append(str(answer.status_code))
        if answer.status_code not in (400, 422) or secret[2:] in answer.text:
            raise RuntimeError(f"{name} got {answer.status_code}: {answer.text[:200]}")
    return "malformed: " + ", ".join(f"{name} {status}" for name, status in zip(bodies, statuses))


async def long_note(url: str, tagger: AdnerPipeline) -> str:
    """Send a note of as many characters as may be, ask for `/health` meanwhile, and send one that is too long.

    Raises:
        RuntimeError: an answer is not the pipeline's, or the note of a character more is not refused.
    """
    note = ("".join(notes()) * (LONG // 1_000))[:LONG]
    began = time.perf_counter()
    expected = spans(tagger([note]))[0]
    alone, waits = time.perf_counter() - began, []
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as session:
        began = time.perf_counter()
        answer = asyncio.create_task(ask(session, note))
        while not answer.done():
            asked = time.perf_counter()
            (await session.get("/health")).raise_for_status()
            waits.append(time.perf_counter() - asked)
            await asyncio.sleep(0.5)
        seconds = time.perf_counter() - began
        if await answer != expected:
            raise RuntimeError("the long note got another answer than the pipeline's")
        if (refused := await ask(session, note + "。")) != 413:
            raise RuntimeError(f"a note of {LONG + 1:,} characters got {refused}")
    return (
        f"a note of {LONG:,} characters, {len(expected):,} entities: {seconds:.0f} s (the pipeline {alone:.0f} s), "
        f"`/health` meanwhile within {max(waits) * 1000:.0f} ms; a character more: 413"
    )


def memory(server: psutil.Process) -> str:
    """Return the resident memory of each worker."""
    return " + ".join(f"{one.memory_info().rss / 2**20:.0f}" for one in sorted(workers_of(server), key=lambda w: w.pid))


def endure(url: str, expected: dict[str, list[tuple]], server: psutil.Process, requests: int) -> None:
    """Print the memory of the workers before, between and after short requests."""
    rows = [("0", memory(server))]
    for turn in range(1, LOOKS + 1):
        asyncio.run(load(url, expected, 16, requests // LOOKS))
        rows.append((f"{turn * (requests // LOOKS):,}", memory(server)))
    print(markdown_table(("short requests", "workers, MiB"), rows), flush=True)


def main() -> None:
    """Print tables and lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=200, help="requests of each row")
    parser.add_argument("--endurance", type=int, default=10_000, help="short requests; 0: none")
    args = parser.parse_args()
    torch.set_num_threads(1)  # as a worker has
    tagger = load_tagger(ServerSettings(args.checkpoint, device="cpu"))
    tagged, short = ({text: spans(tagger([text]))[0] for text in texts} for texts in (notes(), sentences()))
    url, process = start(args.checkpoint, args.workers)
    server = psutil.Process(process.pid)
    try:
        asyncio.run(load(url, tagged, 8, 2 * len(tagged)))  # warm
        mean = sum(map(len, tagged)) / len(tagged)
        print(f"{args.workers} worker(s), {os.cpu_count()} cores, notes of {mean:.0f} characters on average\n")
        rows = [load_row(url, tagged, server, clients, args.requests) for clients in args.clients]
        print(
            markdown_table(("clients", "requests/s", "median ms", "95 % ms", "processor ms/request"), rows), flush=True
        )
        print("\n* " + asyncio.run(kill_under_load(url, tagged, server, 8)), flush=True)
        print("* " + malformed(url), flush=True)
        print("* " + asyncio.run(long_note(url, tagger)) + "\n", flush=True)
        if args.endurance:
            endure(url, short, server, args.endurance)
    finally:
        process.terminate()
        process.wait(PATIENCE)


if __name__ == "__main__":
    main()
