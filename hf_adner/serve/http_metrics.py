"""What the HTTP server tells Prometheus: counts, latencies and queues, never text."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which workers share figures; read when prometheus_client is imported."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class ServerMetrics:
    """Metrics of one worker; `render` shows those of all workers, if they share a folder.

    Args:
        waiting: returns the number of waiting requests.
    """

    def __init__(self, waiting: Callable[[], int]):
        self._registry = registry = CollectorRegistry()
        self._folder = os.environ.get(FOLDER_VARIABLE)
        if self._folder:
            _forget_dead_workers(Path(self._folder))
        kinds = ("endpoint", "status")
        self._requests = Counter("adner_requests", "Requests by endpoint and status.", kinds, registry=registry)
        self._seconds = Histogram(
            "adner_request_seconds", "Time to the answer.", ("endpoint",), buckets=_SECONDS, registry=registry
        )
        self._characters = Counter("adner_characters", "Characters of tagged texts.", registry=registry)
        self._entities = Counter("adner_entities", "Entities found, by label.", ("label",), registry=registry)
        self._batches = Histogram(
            "adner_batch_requests", "Requests that shared a batch.", buckets=_BATCH_SIZES, registry=registry
        )
        self._waiting = Gauge(
            "adner_waiting_requests", "Waiting requests.", registry=registry, multiprocess_mode="livesum"
        )
        self._count_waiting = waiting

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            endpoint: a route of the server, or ``other``.
            status: of the answer.
            seconds: from its arrival to its answer.
        """
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)
        self._waiting.set(self._count_waiting())

    def tagged(self, texts: list[str], entities: list[list[dict]]) -> None:
        """Count tagged texts and their entities."""
        self._characters.inc(sum(map(len, texts)))
        for found in entities:
            for entity in found:
                self._entities.labels(entity["entity_group"]).inc()

    def batched(self, requests: int) -> None:
        """Count a batch of so many requests."""
        self._batches.observe(requests)

    def render(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        self._waiting.set(self._count_waiting())
        if not self._folder:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=self._folder)
        return generate_latest(together)


def _forget_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that were killed."""
    for path in folder.glob("gauge_live*_*.db"):
        number = path.stem.rsplit("_", 1)[-1]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            mark_process_dead(int(number), str(folder))
