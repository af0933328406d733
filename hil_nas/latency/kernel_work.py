"""From a network's operator to the kernel path it takes and how often the kernel's loops turn: what is regressed on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hil_nas.errors import UnsupportedError
from hil_nas.kernels import LISTS, Counts, Kernel, KernelCall, call_of, kernel_for
from hil_nas.network import Operator
from hil_nas.operators.table import runs

PATHS = tuple(path for kernels in LISTS for kernel in kernels.kernels.values() for path in kernel.counts)


@dataclass(frozen=True)
class KernelWork:
    """The kernel path an operator takes and its loop counts, the names in a fixed order per path."""

    path: str
    counts: Counts


def stage_path(stage: str) -> str:
    """What a stage of front ends is called among the kernel paths."""
    return f"front_end_{stage}"


def is_executed(operator: Operator) -> bool:
    """Whether the device runs anything: a reshape is a second name for the same bytes."""
    return runs(operator.layer.kind)


def kernel_path(operator: Operator) -> str:
    """The name of the kernel path.

    Raises:
        UnsupportedError: for an operator that no kernel runs.
    """
    call = call_of(operator)
    return kernel_for(call).path(call)


def kernel_work(operator: Operator) -> KernelWork:
    """The kernel path and its loop counts.

    Raises:
        UnsupportedError: for an operator that no kernel runs, or whose kernel says nothing of its loops.
    """
    call = call_of(operator)
    return _work(kernel_for(call), call)


@lru_cache(maxsize=65536)
def _work(kernel: Kernel, call: KernelCall) -> KernelWork:
    path = kernel.path(call)
    if path not in kernel.counts:
        raise UnsupportedError(f"no latency model knows the kernel of a {call.operator}")
    return KernelWork(path, {"calls": 1.0, **kernel.counts[path](call)})
