"""How often the loops of `boards/src/kernels/dsp/conv.c` and the product's turn: what its cycles are linear in."""

from __future__ import annotations

from math import prod

from hil_nas.kernels.dsp.product import GROUP_CHANNELS, sizes_of
from hil_nas.kernels.flash_cache import LINE_BYTES, SECTOR_BYTES
from hil_nas.kernels.kernel import Counts, KernelCall

_STEPS_A_TURN = 8


def path(call: KernelCall) -> str:
    if not sizes_of(call).gathered:
        return "dsp_1x1"
    row, map_row = call.kernel[1] * call.inputs[0][2], call.inputs[0][1] * call.inputs[0][2]
    return "dsp_im2col_words" if call.dilation[1] == 1 and row <= 4 <= map_row else "dsp_im2col"


def conv_1x1(call: KernelCall) -> Counts:
    """Pairs of pixels widened, groups of four channels by each, the loop over steps in each; weights copied once."""
    x = sizes_of(call)
    pairs, chunks = -(-x.pixels // 2), -(-x.groups // x.chunk)
    passes = chunks + (call.output[2] % GROUP_CHANNELS > 0 and x.groups > 1)  # channels that fill no group: one more
    products = pairs * x.groups
    constants = x.groups * x.group_bytes
    return {
        "chunks": chunks,
        "copied_words": x.copied * constants / 4,
        "flash_sectors": constants / SECTOR_BYTES,
        "flash_lines": constants / LINE_BYTES,
        "pairs": pairs * passes,
        "widened_words": pairs * passes * x.steps // 2,
        "groups": products,
        "signed_groups": products * (not call.relu),
        "turns": products * -(-x.steps // _STEPS_A_TURN),
        "steps": products * x.steps,
    }


def im2col_words(call: KernelCall) -> Counts:
    """The same behind windows whose rows are gathered as a word each."""
    found = _gathered(call)
    return {**found, "narrow_rows": found["windows"] * call.kernel[0]}


def im2col(call: KernelCall) -> Counts:
    """The same behind windows that are gathered row by row, or tap by tap where they are dilated."""
    x = sizes_of(call)
    chunks, depth, columns = -(-x.groups // x.chunk), call.inputs[0][2], call.kernel[1]
    rows = chunks * sum(_inside(call, 0))
    outside = chunks * call.output[1] * call.output[0] * call.kernel[0] - rows * call.output[1]
    inside = _inside(call, 1)
    runs, ends = [n * depth for n in inside], [(columns - n) * depth for n in inside]
    by_tap = call.dilation[1] > 1
    by_row = not by_tap
    return {
        **_gathered(call),
        "outside_rows": by_row * outside,
        "whole_rows": by_row * rows * sum(n == columns for n in inside),
        "cut_rows": by_row * rows * sum(n < columns for n in inside),
        "copied_fours": by_row * rows * sum(n // 4 for n in runs),
        "copied_rests": by_row * rows * sum(n % 4 > 0 for n in runs),
        "filled_fours": by_row * (rows * sum(n // 4 for n in ends) + outside * (columns * depth // 4)),
        "filled_rests": by_row * rows * sum(n % 4 > 0 for n in ends),
        "dilated_taps": by_tap * chunks * x.pixels * prod(call.kernel),
        "dilated_fours": by_tap * rows * sum(inside) * (depth // 4),
    }


def _gathered(call: KernelCall) -> Counts:
    x = sizes_of(call)
    chunks = -(-x.groups // x.chunk)
    return {
        **conv_1x1(call),
        "windows": chunks * x.pixels,
        "gathered_blocks": chunks * -(-x.pixels // x.block),
        "rests": x.pixels * (call.output[2] % GROUP_CHANNELS > 0),
    }


def _inside(call: KernelCall, axis: int) -> list[int]:
    """Per output position along an axis, the taps inside the map."""
    size, before, kernel = call.inputs[0][axis], call.padding[axis], call.kernel[axis]
    stride, dilation = call.stride[axis], call.dilation[axis]
    starts = (i * stride - before for i in range(call.output[axis]))
    return [sum(0 <= x + k * dilation < size for k in range(kernel)) for x in starts]
