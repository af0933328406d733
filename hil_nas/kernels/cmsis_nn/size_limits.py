"""What the sizes of CMSIS-NN's integers do not allow: the twin of the checks in `boards/src/kernels/cmsis_nn`."""

from __future__ import annotations

from math import prod

from hil_nas.kernels.kernel import Fault, KernelCall

MAX_EXTENT = 0x7FFF  # positions are int16_t
MAX_COLUMN = 0xFFFF  # lengths of im2col columns are uint16_t


def conv(call: KernelCall) -> Fault | None:
    source = call.inputs[0]
    if source[:2] == call.kernel == (1, 1) and source[2] > MAX_EXTENT:
        return Fault(f"is a dense layer over {source[2]} inputs, at most {MAX_EXTENT} are run", _SMALLER_MAP)
    return _window(call, prod(call.kernel) * source[2])


def depthwise(call: KernelCall) -> Fault | None:
    return _window(call, prod(call.kernel))


def pool(call: KernelCall) -> Fault | None:
    return _window(call, prod(call.kernel))


_SMALLER_MAP = "pool, or use a stride, before it"


def _window(call: KernelCall, column: int) -> Fault | None:
    source, output = call.inputs[0], call.output
    if max(*source, *output) > MAX_EXTENT:
        return Fault(f"maps {source} to {output}: no extent may be above {MAX_EXTENT}", _SMALLER_MAP)
    if column > MAX_COLUMN:
        return Fault(f"has windows of {column} values, at most {MAX_COLUMN} are run", "use a smaller kernel")
    return None
