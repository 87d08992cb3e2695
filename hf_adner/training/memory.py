"""The most memory that a piece of work took."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from types import TracebackType

import psutil
import torch


class PeakMemory:
    """A context that measures the peak memory of what runs inside it.

    On a GPU it is what PyTorch had allocated there; on the CPU the resident memory of the process, looked at every
    few milliseconds, with what the interpreter and its libraries hold.

    Args:
        device: where the work happens.
        interval: seconds between two looks.

    Attributes:
        before: bytes when the work began.
        peak: the most bytes so far.
    """

    def __init__(self, device: torch.device | str = "cpu", interval: float = 0.02):
        self.device, self.interval = torch.device(device), interval
        self.before = self.peak = 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    @property
    def growth(self) -> int:
        """Bytes that the work took on top of what was there before."""
        return self.peak - self.before

    def __enter__(self) -> PeakMemory:
        release_memory()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = self.peak = torch.cuda.memory_allocated(self.device)
        else:
            self.before = self.peak = psutil.Process().memory_info().rss
            self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self.device)
            return
        self._done.set()
        self._watch.join()
        self.peak = max(self.peak, psutil.Process().memory_info().rss)

    def _look(self) -> None:
        process = psutil.Process()
        while not self._done.wait(self.interval):
            self.peak = max(self.peak, process.memory_info().rss)


def release_memory() -> None:
    """Give memory that earlier work left unused back to the system, so that it does not count as the next one's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc has it, other C libraries do not
        trim(0)
