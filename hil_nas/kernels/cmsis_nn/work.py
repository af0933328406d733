"""How often each loop of CMSIS-NN 4.0.0's kernels turns for a call, and which of them the wrappers choose.

The counts follow its sources as they compile for a Cortex-M4 with the DSP extension (no MVE): every feature is a number
of loop turns or of flash misses, so that its coefficient is the cycles of one turn and cannot be negative. Files named
in the comments stand under its `Source/`.
"""

from __future__ import annotations

from itertools import combinations

from hil_nas.kernels.cmsis_nn.flash_traffic import Taps, depthwise_misses, pointwise_misses, rows_sweep
from hil_nas.kernels.flash_cache import Misses
from hil_nas.kernels.kernel import Counts, KernelCall


def conv_path(call: KernelCall) -> str:
    # arm_convolve_wrapper_s8.c; without MVE arm_convolve_1_x_n_s8.c calls arm_convolve_s8, and the fast and the
    # strided 1x1 convolution are one matrix product, called once or once per row
    pointwise = call.kernel == (1, 1) and call.dilation == (1, 1) and call.padding == (0, 0)
    return "conv_1x1" if pointwise else "conv_im2col"


def depthwise_path(call: KernelCall) -> str:
    # arm_depthwise_conv_wrapper_s8.c; a Layer has no depth multiplier
    if call.dilation != (1, 1):
        return "depthwise_generic"
    if call.kernel == (3, 3) and max(call.padding) <= 1:
        return "depthwise_3x3"
    return "depthwise_opt"


# --- convolutions by matrix products ---------------------------------------------------------------------


def conv_1x1(call: KernelCall) -> Counts:
    """arm_nn_mat_mult_nt_t_s8.c: once for the map, or once per output row where the stride is not 1."""
    (height, width, outputs), depth = call.output, call.inputs[0][2]
    strided = call.stride != (1, 1)
    products, rows = (height, width) if strided else (1, height * width)
    pairs = products * (outputs // 2)  # of output channels
    tiles, left_overs = pairs * (rows // 2), pairs * (rows % 2)  # 2 channels x 2 pixels, 2 channels x 1
    odd = products * rows * (outputs % 2)
    misses = pointwise_misses(depth, outputs, rows).times(products)
    return {
        "products": products,
        **_pairs(pairs, rows, depth),
        "weight_sums": pairs * depth,
        **_blocks("tile", tiles, depth, 16),
        **_blocks("left_over", left_overs, depth, 16),
        "odd_channel_outputs": odd,
        "odd_channel_macs": odd * depth,
        **_missed(misses),
    }


def _pairs(pairs: int, rows: int, depth: int) -> Counts:
    """Pairs of output channels, under the loops that they go through: tiles of two pixels, one pixel alone, or both.

    Few pixels make a pair's code run once, so that fetching it is what a pair costs.
    """
    ways = {"even": rows % 2 == 0, "odd": rows > 1 and rows % 2 == 1, "lone": rows == 1}
    counts: Counts = {}
    for name, taken in ways.items():
        counts |= _entered(f"{name}_pair", pairs * taken, depth, 16)
    return counts


def conv_im2col(call: KernelCall) -> Counts:
    """arm_convolve_s8.c with arm_nn_mat_mult_kernel_s8_s16.c and arm_q7_to_q15_with_offset.c."""
    height, width, outputs = call.output
    depth = call.inputs[0][2]
    taps = call.kernel[0] * call.kernel[1]
    positions, column = height * width, taps * depth
    inside = _inside(call)
    outside = positions * taps - inside
    columns, single = positions // 2, positions % 2
    return {
        "positions": positions,
        "edge_positions": _edge_positions(call),
        **_copies(inside, outside, depth),
        **_column_pairs(columns, outputs),
        **_blocks("tile", columns * (outputs // 2), column, 4),
        **_blocks("odd_channel", columns * (outputs % 2), column, 4),
        **_blocks("single_column", single * outputs, column, 4),
        **_missed(rows_sweep(column, outputs).times(columns + single)),
    }


def _column_pairs(columns: int, outputs: int) -> Counts:
    """Under the loops that a pair of columns goes through: channels by two, an odd one, or both."""
    return {
        "columns_paired": columns * (outputs % 2 == 0),
        "columns_odd": columns * (outputs == 1),
        "columns_both": columns * (outputs % 2 == 1 and outputs > 1),
    }


# --- depthwise convolutions ------------------------------------------------------------------------------


def depthwise_3x3(call: KernelCall) -> Counts:
    """arm_depthwise_conv_3x3_s8.c: blocks of 4 channels, then channels singly; only taps inside are read."""
    height, width, channels = call.output
    rows, columns = _taps(call, 0), _taps(call, 1)
    taps = _extents(rows) * _extents(columns)
    kernel_rows = _extents(rows) * width
    blocks, singles = channels // 4, channels % 4
    ragged = blocks > 0 and singles > 0  # both loops: more code than the instruction cache holds
    return {
        "positions": height * width,
        "ragged_positions": height * width * ragged,
        "ragged_edge_positions": _edge_positions(call) * ragged,
        "blocks": height * width * blocks,
        "block_rows": kernel_rows * blocks,
        "block_taps": taps * blocks,
        "singles": height * width * singles,
        "single_rows": kernel_rows * singles,
        "single_taps": taps * singles,
        **_missed(depthwise_misses(rows, columns, (3, 3), channels, 4)),
    }


def depthwise_opt(call: KernelCall) -> Counts:
    """arm_depthwise_conv_s8_opt.c: one column of 16-bit values per pixel, then blocks of 4 channels."""
    height, width, channels = call.output
    kernel = call.kernel
    rows, columns = _taps(call, 0), _taps(call, 1)
    positions, taps = height * width, kernel[0] * kernel[1]
    inside = _extents(rows) * _extents(columns)
    beside = _extents(rows) * (width * kernel[1] - _extents(columns))  # in a row of the map, past its edge
    cleared_rows = width * (height * kernel[0] - _extents(rows))
    clears = width * sum((first > 0) + (end < kernel[0]) for first, end in rows)
    blocks, singles = positions * (channels // 4), positions * (channels % 4)
    whole: Taps = ((0, kernel[0]),)
    misses = depthwise_misses(whole * height, ((0, kernel[1]),) * width, kernel, channels, 4)
    return {
        "positions": positions,
        "map_rows": _extents(rows) * width,
        **_copies(inside, beside, channels),
        "row_clears": clears,
        "row_cleared_bytes": cleared_rows * kernel[1] * channels * 2,
        "blocks": blocks,
        "block_tap_pairs": blocks * (taps // 2),
        "block_odd_taps": blocks * (taps % 2),
        "singles": singles,
        "single_taps": singles * taps,
        **_missed(misses),
    }


def depthwise_generic(call: KernelCall) -> Counts:
    """depthwise_conv_s8_generic in arm_depthwise_conv_s8.c: one output value after the other."""
    height, width, channels = call.output
    rows, columns = _taps(call, 0), _taps(call, 1)
    outputs = height * width * channels
    dilated = sum(x > 1 for x in call.dilation)
    return {
        "positions": height * width,
        "outputs": outputs,
        "divided_outputs": outputs * dilated,  # two divisions per dilated axis
        "rows": _extents(rows) * width * channels,
        "taps": _extents(rows) * _extents(columns) * channels,
        **_missed(depthwise_misses(rows, columns, call.kernel, channels, 1)),
    }


# --- everything else -------------------------------------------------------------------------------------


def fully_connected(call: KernelCall) -> Counts:
    """arm_nn_vec_mat_mult_t_s8.c: two outputs at a time; every weight is read once."""
    height, width, channels = call.inputs[0]
    depth, outputs = height * width * channels, call.output[2]
    return {
        **_blocks("pair", outputs // 2, depth, 4),
        **_blocks("odd", outputs % 2, depth, 4),
        **_missed(rows_sweep(depth, outputs).cold),
    }


def average_pool(call: KernelCall) -> Counts:
    """arm_avgpool_s8.c: the first tap is copied to 32 bits, the others added, then one division a value."""
    height, width, channels = call.output
    positions, taps = height * width, _inside(call)
    return {
        "positions": positions,
        "rows": _extents(_taps(call, 0)) * width,
        "taps": taps,
        "copied_values": positions * channels,
        "added_values": (taps - positions) * channels,
    }


def max_pool(call: KernelCall) -> Counts:
    """arm_max_pool_s8.c: the first tap is copied, the others compared, then all is clamped."""
    height, width, channels = call.output
    positions, taps = height * width, _inside(call)
    values = positions * channels
    return {
        "positions": positions,
        "rows": _extents(_taps(call, 0)) * width,
        "taps": taps,
        "copied_bytes": values,
        "compared_blocks": (taps - positions) * (channels // 4),
        "compared_singles": (taps - positions) * (channels % 4),
        "clamped_blocks": values // 4,
        "clamped_singles": values % 4,
    }


# --- shared ----------------------------------------------------------------------------------------------


def _blocks(name: str, times: int, length: int, widest: int) -> Counts:
    """An inner product run `times`: the turns of its loops by 16 (where `widest` is), by 4 and singly."""
    turns = _turns(length, widest)
    return {**{f"{name}_by_{x}": times * n for x, n in turns.items()}, **_entered(name, times, length, widest)}


def _entered(name: str, times: int, length: int, widest: int) -> Counts:
    """What happens `times`, under the loops that a length goes through, as one name of several.

    The loops a kernel goes through before it comes back decide whether its code stays in the 1 KiB instruction
    cache, and so what coming back costs.
    """
    turns = _turns(length, widest)
    entered = [x for x, n in turns.items() if n]
    ways = [x for count in range(1, len(turns) + 1) for x in combinations(turns, count)]
    return {f"{name}s_{'_'.join(x)}": times * (list(x) == entered) for x in ways}


def _turns(length: int, widest: int) -> dict[str, int]:
    if widest == 16:
        return {"16": length // 16, "4": length % 16 // 4, "1": length % 4}
    return {"4": length // 4, "1": length % 4}


def _copies(inside: int, outside: int, depth: int) -> Counts:
    """im2col: pixels widened to 16 bits by four and singly, and pixels outside the map cleared."""
    return {
        **_blocks("copied_pixel", inside, depth, 4),
        "clears": outside,
        "cleared_bytes": outside * depth * 2,
    }


def _missed(misses: Misses) -> Counts:
    return {"flash_sectors": misses.sectors, "flash_lines": misses.lines}


def _taps(call: KernelCall, axis: int) -> Taps:
    """Per output position along an axis: the first tap inside the map and the end of those inside."""
    size, before = call.inputs[0][axis], call.padding[axis]
    kernel, stride, dilation = call.kernel[axis], call.stride[axis], call.dilation[axis]
    starts = (i * stride - before for i in range(call.output[axis]))
    return tuple((max(0, -(x // dilation)), min(kernel, -((x - size) // dilation))) for x in starts)


def _extents(taps: Taps) -> int:
    """Taps inside, over all positions along the axis."""
    return sum(end - first for first, end in taps)


def _edge_positions(call: KernelCall) -> int:
    """Output positions with a tap outside the map."""
    whole = [sum(taps == (0, call.kernel[axis]) for taps in _taps(call, axis)) for axis in (0, 1)]
    return call.output[0] * call.output[1] - whole[0] * whole[1]


def _inside(call: KernelCall) -> int:
    """Taps inside the map, over all output positions."""
    return _extents(_taps(call, 0)) * _extents(_taps(call, 1))
