"""Which kernel runs an operator, and what it needs and costs. An engine is a list of kernel lists.

A list is a folder of C in `boards/src/kernels` and its twin here. Whoever wants to know about an operator's kernel (the
arena, the plan, the latency model) asks `kernel_for`.
"""

from __future__ import annotations

from hil_nas.errors import UnsupportedError
from hil_nas.kernels import cmsis_nn, plain
from hil_nas.kernels.kernel import Constants, Counts, Kernel, KernelCall, KernelList, call_of

LISTS: tuple[KernelList, ...] = (cmsis_nn.KERNELS, plain.KERNELS)
"""Of the engine `cmsis-nn`: the first that takes a call runs it."""


def list_for(call: KernelCall) -> KernelList:
    """The list whose kernel runs a call.

    Raises:
        UnsupportedError: for an operator that no kernel runs.
    """
    for kernels in LISTS:
        kernel = kernels.kernels.get(call.operator)
        if kernel is not None and kernel.takes(call):
            return kernels
    raise UnsupportedError(f"no kernel runs a {call.operator}")


def kernel_for(call: KernelCall) -> Kernel:
    """The kernel that runs a call.

    Raises:
        UnsupportedError: for an operator that no kernel runs.
    """
    return list_for(call).kernels[call.operator]


__all__ = [
    "LISTS", "Constants", "Counts", "Kernel", "KernelCall", "KernelList", "call_of", "kernel_for", "list_for",
]  # fmt: skip
