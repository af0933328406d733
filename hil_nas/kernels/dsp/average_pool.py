"""Average pools of the list `dsp`: the twin of `boards/src/kernels/dsp/average_pool.c`."""

from __future__ import annotations

from math import prod

from hil_nas.kernels.kernel import Counts, Fault, KernelCall

BLOCK = 4
MAX_WINDOW = 2000
_MAX_IN_HALF = 256  # values whose sum 16 bits hold


def fault(call: KernelCall) -> Fault | None:
    if call.output[2] % BLOCK != 0:
        return Fault("has channels that are no multiple of 4", "use a multiple of 4 channels")
    if prod(call.kernel) > MAX_WINDOW:
        return Fault(f"averages {prod(call.kernel)} values, at most {MAX_WINDOW} are", "use a stride before it")
    return None


def in_place(call: KernelCall) -> tuple[int, ...]:
    """With less padding than a stride on every side, outputs never run ahead of what is still to be read."""
    for axis in (0, 1):
        size, before, kernel, stride = call.inputs[0][axis], call.padding[axis], call.kernel[axis], call.stride[axis]
        behind = (call.output[axis] - 1) * stride + kernel - before - size
        if max(before, behind) >= stride:
            return ()
    return (0,)


def counts(call: KernelCall) -> Counts:
    """Per position and four channels one window, its pixels in runs: of a row, or of whole rows behind each other."""
    rows, columns = _inside(call, 0), _inside(call, 1)
    blocks, width = call.output[2] // BLOCK, call.inputs[0][1]
    found = dict.fromkeys(("runs", "fours", "pixels", "flushed_runs"), 0)
    for height in rows:
        for n in columns:
            runs, length = (1, height * n) if n == width else (height, n)
            many = height * n > _MAX_IN_HALF
            found["runs"] += runs * blocks
            found["flushed_runs"] += many * runs * -(-length // _MAX_IN_HALF) * blocks
            found["fours"] += runs * (length // 4) * blocks
            found["pixels"] += runs * (length % 4) * blocks
    positions = len(rows) * len(columns)
    return {"positions": positions, "blocks": positions * blocks, **found}


def _inside(call: KernelCall, axis: int) -> list[int]:
    """Per output position along an axis, the extent of the window inside the map."""
    size, before, kernel, stride = call.inputs[0][axis], call.padding[axis], call.kernel[axis], call.stride[axis]
    starts = (i * stride - before for i in range(call.output[axis]))
    return [min(x + kernel, size) - max(x, 0) for x in starts]
