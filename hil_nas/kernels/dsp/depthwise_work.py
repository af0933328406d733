"""How often the loops of `boards/src/kernels/dsp/depthwise.c` and its assembly turn: what its cycles are linear in."""

from __future__ import annotations

from hil_nas.kernels.dsp.depthwise import BLOCK, CHANNEL_BYTES, HEIGHTS, WORD_BYTES, column_words, plane, taps_of
from hil_nas.kernels.flash_cache import SECTOR_BYTES
from hil_nas.kernels.kernel import Counts, KernelCall

_RESIDENT_WORDS = 6  # of weights at most


def depthwise(call: KernelCall) -> Counts:
    """Maps widened four channels at a time, then per channel and column of outputs: fours, twos and single ones.

    Outputs without a ReLU take a cycle more where a ReLU has a kernel of its own: of three columns, not in a loop.
    """
    phases = [_phase(call, i) for i in range(min(call.dilation[0], call.output[0]))]
    return {name: sum(x[name] for x in phases) for name in phases[0]}


def _phase(call: KernelCall, phase: int) -> Counts:
    """Of the rows of outputs from `phase` on, each dilation-th.

    The tallest kernel with a rest of outputs is more code than the instruction cache holds beside that of the maps.
    """
    channels, height = call.output[2], -(-(call.output[0] - phase) // call.dilation[0])
    columns = channels * call.output[1]
    outputs = {4: columns * (height // 4), 2: columns * (height % 4 // 2), 1: columns * (height % 2)}
    unrolled = _unrolled(call)
    windows = sum(outputs.values()) * call.kernel[1]  # columns of windows
    return {
        **_spread(call, phase),
        "channels": channels,
        "tall_channels": channels * (taps_of(call) == HEIGHTS[-1] and height % 4 > 0),
        "flash_sectors": channels * (CHANNEL_BYTES + WORD_BYTES * call.kernel[1] * column_words(call)) / SECTOR_BYTES,
        "output_columns": columns,
        "fours": outputs[4],
        "twos": outputs[2],
        "ones": outputs[1],
        "signed_outputs": columns * height * (not call.relu and unrolled and call.kernel[1] == 3),
        "unrolled_columns": windows * unrolled,
        "looped_columns": windows * (not unrolled),
        "weight_words": call.kernel[1] * sum(times * _weight_words(call, n) for n, times in outputs.items()),
        "data_words": call.kernel[1] * sum(times * _data_words(call, n) for n, times in outputs.items()),
        "products": call.kernel[1] * sum(times * n * (taps_of(call) // 2 + 1) for n, times in outputs.items()),
    }


def _spread(call: KernelCall, phase: int) -> Counts:
    (pairs, width), dilation, above = plane(call), call.dilation[0], call.padding[0]
    first = (phase - above) % dilation
    padding = (first + above) // dilation
    rows = max(0, min(-(-(call.inputs[0][0] - first) // dilation), 2 * pairs - padding))
    columns = call.output[2] // BLOCK * min(call.inputs[0][1], width - call.padding[1])
    odd = padding % 2 if rows else 0
    return {
        "filled_words": BLOCK * pairs * width,
        "map_columns": columns,
        "row_pairs": columns * ((rows - odd) // 2),
        "cut_row_pairs": columns * (odd + (rows - odd) % 2),
    }


def _unrolled(call: KernelCall) -> bool:
    """Whether there is a kernel for this number of columns; any other is a loop."""
    taps, columns = taps_of(call), call.kernel[1]
    return columns == 1 or (columns == 3 and (taps == 3 or (taps == 5 and call.stride[0] == 1)))


def _weight_words(call: KernelCall, outputs: int) -> int:
    """Loaded for one column of the window."""
    if _unrolled(call) and column_words(call) * call.kernel[1] <= _RESIDENT_WORDS:
        return 0
    return column_words(call) if outputs > 1 else taps_of(call) // 2 + 1


def _data_words(call: KernelCall, outputs: int) -> int:
    return (outputs + 1) // 2 + taps_of(call) // 2 if call.stride[0] == 1 else outputs + taps_of(call) // 2
