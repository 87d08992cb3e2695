"""Load-test `adner serve` on this machine: requests per second and latencies by number of clients, and memory.

    python scripts/benchmarks/serving.py CHECKPOINT [--workers 1] [--clients 1 8 64] [--requests 200]

Each client sends a note of a few lines, waits for the answer and sends the next, over the loopback interface. Answers
are first checked against the pipeline's. `--endurance` sends that many requests more and prints the workers' memory
before and after.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

from hf_adner import load_ner_dataset
from hf_adner.reporting import markdown_table
from hf_adner.serve.http_server import ServerSettings, load_tagger

REPOSITORY = Path(__file__).resolve().parents[2]
NOTES = 64
PATIENCE = 600


def notes() -> list[str]:
    """Return notes of about 100 to 200 characters: synthetic ones, a few together."""
    texts = load_ner_dataset("ad-synthetic")["test"]["text"]
    return ["".join(texts[first : first + 3]) for first in range(0, 3 * NOTES, 3)]


def start(checkpoint: str, workers: int) -> tuple[str, subprocess.Popen]:
    """Start the server on a free port and return its address and process, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "adner_cli.py", "serve", checkpoint, "--port", str(port), "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [*command, "--max-waiting", "1000"],
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


async def load(url: str, texts: list[str], expected: list[list[tuple]], clients: int, requests: int) -> list[float]:
    """Return the latency of every request, in seconds.

    Raises:
        RuntimeError: an answer is not the pipeline's.
    """
    latencies: list[float] = []
    numbers = iter(range(requests))

    async def client() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as session:
            for number in numbers:
                place = number % len(texts)
                began = time.perf_counter()
                answer = await session.post("/tag", json={"texts": [texts[place]]})
                latencies.append(time.perf_counter() - began)
                if answer.status_code != 200 or spans(answer.json()["entities"])[0] != expected[place]:
                    raise RuntimeError(f"request {number} got {answer.status_code} or another answer")

    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies


def memory(process: subprocess.Popen) -> float:
    """Return the resident memory of the server's processes, MiB."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in family) / 2**20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=200, help="requests of each row")
    parser.add_argument("--endurance", type=int, default=0, help="requests between two looks at the memory")
    args = parser.parse_args()
    texts = notes()
    expected = spans(load_tagger(ServerSettings(args.checkpoint, device="cpu"))(texts))
    url, process = start(args.checkpoint, args.workers)
    try:
        asyncio.run(load(url, texts, expected, 8, 2 * len(texts)))  # warm
        rows = []
        for clients in args.clients:
            began = time.perf_counter()
            latencies = asyncio.run(load(url, texts, expected, clients, args.requests))
            seconds = time.perf_counter() - began
            p50, p95 = np.percentile(latencies, [50, 95]) * 1000
            rows.append((clients, f"{args.requests / seconds:.1f}", f"{p50:.0f}", f"{p95:.0f}"))
        mean = sum(map(len, texts)) / len(texts)
        print(f"{args.workers} worker(s), {os.cpu_count()} cores, notes of {mean:.0f} characters on average\n")
        print(markdown_table(("clients", "requests/s", "median ms", "95 % ms"), rows))
        if args.endurance:
            before = memory(process)
            asyncio.run(load(url, texts, expected, 16, args.endurance))
            print(f"\nmemory before and after {args.endurance} requests: {before:.0f}, {memory(process):.0f} MiB")
    finally:
        process.terminate()
        process.wait(PATIENCE)


if __name__ == "__main__":
    main()
