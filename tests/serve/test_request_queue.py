"""The queue gives every request its own results, in batches, and refuses what it cannot take."""

import threading
from concurrent.futures import wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.serve.request_queue import QueueClosedError, QueueFullError, RequestQueue


class Held:
    """A function that begins its first batch only when told to, so that requests gather."""

    def __init__(self, function):
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches, self._function = [], function

    def __call__(self, items):
        self.batches.append(list(items))
        self.begun.set()
        assert self.go.wait(60)
        return [self._function(item) for item in items]


@pytest.fixture
def make_queue():
    queues = []

    def make(function, capacity=50, batch_size=100, told=lambda requests: None):
        queues.append(RequestQueue(function, capacity, batch_size, len, told))
        return queues[-1]

    yield make
    for queue in queues:
        queue.close()


def gathered(make_queue, function, requests, **options):
    """Return the futures of requests that waited while a first one, [""], was run, and the batches."""
    held = Held(function)
    queue = make_queue(held, **options)
    first = queue.submit([""])
    assert held.begun.wait(60)
    futures = [queue.submit(request) for request in requests]
    held.go.set()
    wait([first, *futures])
    return futures, held.batches[1:]


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=12))
def test_every_request_has_its_own_results(requests):
    queue = RequestQueue(lambda items: [item * 2 for item in items], 50, 7, len)
    futures = [queue.submit(request) for request in requests]
    queue.close()
    assert [future.result() for future in futures] == [[item * 2 for item in request] for request in requests]


def test_waiting_requests_share_batches_in_their_order(make_queue):
    told = []
    requests = [["aa"], ["b", "b"], ["cccc"], ["d" * 9], ["e"]]
    _, batches = gathered(make_queue, str.upper, requests, batch_size=4, told=told.append)
    assert batches == [["aa", "b", "b"], ["cccc"], ["d" * 9], ["e"]]
    assert told == [1, 2, 1, 1, 1]


def test_one_bad_request_fails_alone(make_queue):
    def strict(item):
        if item == "bad":
            raise KeyError(item)
        return item

    (good, bad, other), _ = gathered(make_queue, strict, [["a"], ["b", "bad"], ["c"]])
    assert (good.result(), other.result()) == (["a"], ["c"])
    with pytest.raises(KeyError):
        bad.result()


def test_a_full_queue_refuses_and_recovers(make_queue):
    held = Held(str)
    queue = make_queue(held, capacity=2)
    futures = [queue.submit([""])]
    assert held.begun.wait(60)
    futures += [queue.submit(["a"]), queue.submit(["b"])]
    assert len(queue) == 2
    with pytest.raises(QueueFullError, match="2 requests wait"):
        queue.submit(["c"])
    held.go.set()
    wait(futures)
    assert queue.submit(["d"]).result() == ["d"]


def test_a_closed_queue_finishes_what_waits(make_queue):
    held = Held(str)
    queue = make_queue(held)
    futures = [queue.submit([""])]
    assert held.begun.wait(60)
    futures.append(queue.submit(["a"]))
    closing = threading.Thread(target=queue.close)
    closing.start()
    held.go.set()
    closing.join()
    assert [future.result() for future in futures] == [[""], ["a"]]
    with pytest.raises(QueueClosedError):
        queue.submit(["b"])


def test_a_cancelled_request_is_not_run(make_queue):
    held = Held(str)
    queue = make_queue(held)
    first = queue.submit([""])
    assert held.begun.wait(60)
    cancelled, kept = queue.submit(["a"]), queue.submit(["b"])
    assert cancelled.cancel()
    held.go.set()
    assert (first.result(), kept.result()) == ([""], ["b"])
    assert held.batches == [[""], ["b"]]


def test_too_few_results_are_an_error(make_queue):
    queue = make_queue(lambda items: [])
    with pytest.raises(RuntimeError, match="0 results for 1 items"):
        queue.submit(["a"]).result()


def test_the_log_of_a_failure_has_no_text(make_queue, caplog):
    def fail(items):
        raise ValueError(f"cannot read {items}")

    with pytest.raises(ValueError, match="张三"):
        make_queue(fail).submit(["张三"]).result()
    assert "ValueError" in caplog.text and "张三" not in caplog.text
