"""Which kernel runs an operator, and what it needs and costs. An engine is a list of kernel lists.

A list is a folder of C in `boards/src/kernels` and its twin here. Whoever wants to know about an operator's kernel (the
arena, the plan, the latency model) asks `kernel_for`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hil_nas.errors import UnsupportedError
from hil_nas.kernels import cmsis_nn, dsp, plain
from hil_nas.kernels.kernel import Constants, Counts, Fault, Kernel, KernelCall, KernelList, call_of

LISTS: tuple[KernelList, ...] = (dsp.KERNELS, cmsis_nn.KERNELS, plain.KERNELS)
"""Of the engine that walks plans: the first that takes a call runs it."""

First = Literal["dsp", "cmsis-nn"]  # each takes convolutions, so that it may be asked first


def lists_from(first: First) -> tuple[KernelList, ...]:
    """The lists without those before the one that is named: what CMSIS-NN's kernels take where our own are left out."""
    return LISTS[[x.label for x in LISTS].index(first) :]


def list_for(
    call: KernelCall,
    name: str | None = None,
    values: tuple[Mapping[str, Any], Constants] | None = None,
    lists: Sequence[KernelList] | None = None,
) -> KernelList:
    """The list whose kernel runs a call.

    Args:
        name: of the operator, for messages.
        values: the fields of the plan's operator and its constants, as `Kernel.unfit` takes them; None for a network
            that has no weights yet, whose constants are taken to fit.
        lists: to choose from, None: all.

    Raises:
        UnsupportedError: where no kernel runs it; with what the last one that knows the operator says.
    """
    fault = None
    for kernels in LISTS if lists is None else lists:
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
    "LISTS", "Constants", "Counts", "Fault", "First", "Kernel", "KernelCall", "KernelList", "call_of", "kernel_for",
    "list_for", "lists_from",
]  # fmt: skip
