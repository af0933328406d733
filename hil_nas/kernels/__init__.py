"""Which kernel runs an operator, and what it needs and costs. An engine is a list of kernel lists.

A list is a folder of C in `boards/src/kernels` and its twin here. Whoever wants to know about an operator's kernel (the
arena, the plan, the latency model) asks `kernel_for`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hil_nas.errors import UnsupportedError
from hil_nas.kernels import cmsis_nn, dsp, plain
from hil_nas.kernels.kernel import Constants, Counts, Fault, Kernel, KernelCall, KernelList, call_of

LISTS: tuple[KernelList, ...] = (dsp.KERNELS, cmsis_nn.KERNELS, plain.KERNELS)
"""Of the engine that walks plans, `cmsis-nn`: the first that takes a call runs it."""


def list_for(
    call: KernelCall, name: str | None = None, values: tuple[Mapping[str, Any], Constants] | None = None
) -> KernelList:
    """The list whose kernel runs a call.

    Args:
        name: of the operator, for messages.
        values: the fields of the plan's operator and its constants, as `Kernel.unfit` takes them; None for a network
            that has no weights yet, whose constants are taken to fit.

    Raises:
        UnsupportedError: where no kernel runs it; with what the last one that knows the operator says.
    """
    fault = None
    for kernels in LISTS:
        kernel = kernels.kernels.get(call.operator)
        if kernel is None:
            continue
        fault = kernel.fault(call) or (kernel.unfit(call, *values) if values is not None else None)
        if fault is None:
            return kernels
    if fault is None:
        raise UnsupportedError(f"no kernel runs a {call.operator}")
    raise UnsupportedError(f"{name or f'a {call.operator}'} {fault.text}", hint=fault.hint)


def kernel_for(call: KernelCall, name: str | None = None) -> Kernel:
    """The kernel that runs a call; the arguments and errors of `list_for`."""
    return list_for(call, name).kernels[call.operator]


__all__ = [
    "LISTS", "Constants", "Counts", "Fault", "Kernel", "KernelCall", "KernelList", "call_of", "kernel_for", "list_for",
]  # fmt: skip
