"""What is independent, at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """On a CPU as many threads as the process has processors, since torch uses one for what is as small as these
    networks; none on a GPU, whose work is queued anyway, and where one would do: a step of a supernet's weights runs a
    single network.

    Args:
        most: that can be of use.
    """

    def __init__(self, device: torch.device, most: int) -> None:
        count = min(most, _processors())
        self._threads = ThreadPoolExecutor(count) if device.type == "cpu" and count > 1 else None

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """In the order of the items."""
        return list(map(work, items) if self._threads is None else self._threads.map(work, items))

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)


def _processors() -> int:
    """Those that this process may use, where the system says so: `taskset` and job schedulers give fewer."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
