"""What the features of the latency model count, in words for people."""

from __future__ import annotations

import re

from hil_nas.front_ends import KINDS
from hil_nas.latency.kernel_work import stage_path

PATHS = {
    "dsp_1x1": "1x1 convolution: 4 output channels x 2 pixels at a time",
    "dsp_im2col": "convolution: windows gathered, then as a 1x1 convolution",
    "dsp_im2col_words": "convolution of narrow windows, gathered a word for each row",
    "dsp_depthwise": "depthwise, 4 channels spread into columns, then one at a time",
    "dsp_fully_connected": "fully connected, 4 outputs at a time",
    "dsp_average_pool": "average pool, 4 channels at a time",
    "conv_1x1": "1x1 convolution: one matrix product, 2 output channels x 2 pixels at a time",
    "conv_im2col": "convolution through im2col: columns of 16-bit inputs, two at a time",
    "depthwise_3x3": "3x3 depthwise, 4 channels at a time",
    "depthwise_opt": "depthwise of other kernels, through im2col and 4 channels at a time",
    "depthwise_generic": "dilated depthwise, one value at a time",
    "fully_connected": "fully connected, 2 outputs at a time",
    "average_pool": "average pool",
    "max_pool": "max pool",
    "add": "elementwise addition",
    "concatenation": "concatenation: a memcpy for each input at every pixel",
    "delay": "delay line: one move of what is kept, one of what is new",
    "softmax": "softmax",
    **{stage_path(name): f"front end: {text}" for kind in KINDS.values() for name, text in kind.stages.items()},
}
_ALONE = {
    "calls": "once for each call",
    "positions": "output positions",
    "edge_positions": "output positions with a tap outside the map",
    "ragged_positions": "output positions where channels are left over from blocks of 4",
    "ragged_edge_positions": "of those, positions with a tap outside the map",
    "products": "matrix products",
    "weight_sums": "weights summed up for the input's offset",
    "odd_channel_outputs": "outputs of the odd last channel",
    "odd_channel_macs": "multiply-accumulates of the odd last channel",
    "clears": "pixels outside the map, cleared",
    "cleared_bytes": "bytes cleared for pixels outside the map",
    "row_clears": "rows outside the map, cleared",
    "row_cleared_bytes": "bytes cleared for rows outside the map",
    "columns_paired": "pairs of columns, channels by two",
    "columns_odd": "pairs of columns, one channel",
    "columns_both": "pairs of columns, channels by two and an odd one",
    "blocks": "blocks of 4 channels",
    "block_rows": "rows of the kernel, for each block of 4 channels",
    "block_taps": "taps inside the map, for each block of 4 channels",
    "block_tap_pairs": "pairs of taps, for each block of 4 channels",
    "block_odd_taps": "odd last taps, for each block of 4 channels",
    "singles": "channels left over from blocks of 4",
    "single_rows": "rows of the kernel, for each channel left over",
    "single_taps": "taps, for each channel left over",
    "map_rows": "rows of the kernel inside the map",
    "outputs": "output values",
    "divided_outputs": "output values with two divisions for a dilated axis",
    "rows": "rows",
    "taps": "taps inside the map",
    "values": "values",
    "copied_values": "values copied",
    "added_values": "values added",
    "copied_bytes": "bytes copied",
    "compared_blocks": "comparisons of 4 values",
    "compared_singles": "comparisons of single values",
    "clamped_blocks": "clamps of 4 values",
    "clamped_singles": "clamps of single values",
    "pixels": "pixels",
    "copies": "calls of memcpy",
    "copied_aligned": "copies that first step to a word",
    "copied_by_64": "turns copying 64 bytes",
    "copied_by_16": "turns copying 16 bytes",
    "copied_by_4": "turns copying 4 bytes",
    "copied_tail": "copies that end off a word",
    "copied_singly": "bytes copied one by one",
    "moved_by_16": "turns moving 16 bytes",
    "moved_by_4": "turns moving 4 bytes",
    "moved_singly": "bytes moved one by one",
    "chunks": "chunks of weights that lie in RAM at a time",
    "copied_words": "words of weights copied to RAM",
    "pairs": "pairs of pixels, for each chunk of weights",
    "widened_words": "words of both pixels of a pair widened to 16 bits",
    "groups": "groups of 4 output channels x 2 pixels",
    "signed_groups": "of those, groups without a ReLU",
    "signed_outputs": "outputs without a ReLU, where a ReLU takes a cycle less",
    "turns": "turns of the product's loop of 8 steps",
    "steps": "steps of 16 multiply-accumulates",
    "windows": "windows gathered",
    "gathered_blocks": "blocks of windows gathered together",
    "rests": "pixels whose last channels fill no group of 4",
    "narrow_rows": "rows of windows gathered as a word",
    "outside_rows": "rows of windows outside the map",
    "whole_rows": "rows of windows inside the map",
    "cut_rows": "rows of windows with taps outside the map",
    "copied_fours": "words copied to windows",
    "copied_rests": "copies that end with less than a word",
    "filled_fours": "words of zero points",
    "filled_rests": "runs of zero points that end with less than a word",
    "dilated_taps": "taps of dilated windows",
    "dilated_fours": "words copied for taps of dilated windows",
    "flash_sectors": "sectors of 8 bytes that the data cache fetches from flash",
    "flash_lines": "lines of the data cache given up for others",
    **{name: text for kind in KINDS.values() for name, text in kind.counted.items()},
}
_UNITS = {
    "pair": "pairs of outputs",
    "even_pair": "pairs of channels over an even number of pixels",
    "odd_pair": "pairs of channels over an odd number of pixels",
    "lone_pair": "pairs of channels over one pixel",
    "tile": "tiles of 2 channels x 2 columns",
    "left_over": "pairs of channels at the odd last pixel",
    "odd_channel": "the odd last channel of a pair of columns",
    "single_column": "the odd last column",
    "copied_pixel": "pixels widened to 16 bits",
    "odd": "the odd last output",
}


def meaning(name: str) -> str:
    """What a feature counts; its name where it says so itself."""
    if name in _ALONE:
        return _ALONE[name]
    if (match := re.fullmatch(r"(\w+)_by_(16|4|1)", name)) and match[1] in _UNITS:
        return f"{_UNITS[match[1]]}: turns of the loop by {match[2]}"
    if (match := re.fullmatch(r"(\w+)s((?:_\d+)+)", name)) and match[1] in _UNITS:
        loops = match[2].strip("_").replace("_", ", ")
        return f"{_UNITS[match[1]]} that go through the loops by {loops}"
    return name.replace("_", " ")
