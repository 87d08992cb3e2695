"""A bounded queue in front of a model: concurrent requests share batches, one thread runs them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class QueueFullError(RuntimeError):
    """The queue takes no more requests for now."""


class QueueClosedError(RuntimeError):
    """The queue takes no more requests at all."""


@dataclass
class _Request(Generic[ItemT, ResultT]):
    items: Sequence[ItemT]
    size: int
    future: Future[list[ResultT]] = field(default_factory=Future)


class RequestQueue(Generic[ItemT, ResultT]):
    """Run a function on the items of waiting requests, as many at once as a batch may hold, in the order they came.

    A request alone in the queue starts at once; while it runs, those that arrive gather for the next batch. If a batch
    of several requests fails, each of them is run again by itself, so that only the one that fails has the error.

    Args:
        function: items of one or more requests -> one result per item; called in one thread.
        capacity: largest number of requests that wait, besides those that are being run.
        batch_size: largest total size of the requests of a batch; a larger request has a batch of its own.
        size: size of an item, such as `len` of a text.
        told: called with the number of requests of every batch.
    """

    def __init__(
        self,
        function: Callable[[list[ItemT]], Sequence[ResultT]],
        capacity: int,
        batch_size: int,
        size: Callable[[ItemT], int],
        told: Callable[[int], None] = lambda requests: None,
    ):
        self._function, self._capacity, self._batch_size = function, capacity, batch_size
        self._size, self._told = size, told
        self._waiting: deque[_Request[ItemT, ResultT]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self._waiting)

    def submit(self, items: Sequence[ItemT]) -> Future[list[ResultT]]:
        """Add a request; returns the future of its results, one per item.

        Raises:
            QueueFullError: as many requests wait as may.
            QueueClosedError: the queue was closed.
        """
        request: _Request[ItemT, ResultT] = _Request(items, sum(map(self._size, items)))
        with self._changed:
            if self._is_closed:
                raise QueueClosedError("the queue is closed")
            if len(self._waiting) >= self._capacity:
                raise QueueFullError(f"{len(self._waiting)} requests wait, as many as may")
            self._waiting.append(request)
            self._changed.notify()
        return request.future

    def close(self) -> None:
        """Take no more requests, and return when those that wait are done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            batch = [request for request in batch if request.future.set_running_or_notify_cancel()]
            self._told(len(batch))
            self._do(batch)

    def _next_batch(self) -> list[_Request[ItemT, ResultT]]:
        """Wait for requests and take those of the next batch; none once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            batch: list[_Request[ItemT, ResultT]] = []
            size = 0
            while self._waiting and (not batch or size + self._waiting[0].size <= self._batch_size):
                batch.append(self._waiting.popleft())
                size += batch[-1].size
            return batch

    def _do(self, batch: list[_Request[ItemT, ResultT]]) -> None:
        if not batch:
            return
        try:
            results = list(self._function([item for request in batch for item in request.items]))
            expected = sum(len(request.items) for request in batch)
            if len(results) != expected:
                raise RuntimeError(f"{len(results)} results for {expected} items")
        except Exception as error:
            if len(batch) > 1:
                for request in batch:
                    self._do([request])
                return
            # the message may quote the text
            logger.error("a request of %d items failed: %s", len(batch[0].items), type(error).__name__)
            batch[0].future.set_exception(error)
            return
        for request in batch:
            count = len(request.items)
            request.future.set_result(results[:count])
            results = results[count:]
