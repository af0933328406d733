"""Depthwise convolutions of the list `dsp`: the twin of `boards/src/kernels/dsp/depthwise.c`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.kernels.dsp.requantise import scalings, scalings_unfit
from hil_nas.kernels.kernel import Constants, Fault, KernelCall

BLOCK = 4
HEIGHTS = (3, 5, 9, 15)  # of the kernels there are; windows in between are padded with zeros
MAX_COLUMNS = 64
MAX_EXTENT = 0x7FFF
MAX_SCRATCH_BYTES = 1 << 24
WORD_BYTES, CHANNEL_BYTES = 4, 16


def fault(call: KernelCall) -> Fault | None:
    channels = call.inputs[0][2]
    if channels != call.output[2] or channels % BLOCK != 0:
        return Fault(f"has {channels} channels, no multiple of {BLOCK}", f"use a multiple of {BLOCK}")
    if max(*call.inputs[0], *call.output, *call.stride, *call.dilation) > MAX_EXTENT:
        return Fault(f"has an extent above {MAX_EXTENT}", "pool, or use a stride, before it")
    if call.kernel[0] > HEIGHTS[-1] or call.kernel[1] > MAX_COLUMNS or call.stride[0] > 2:
        return Fault("has a window or a stride that is too large", "use a smaller one")
    if call.dilation[0] > 1 and call.stride[0] > 1:
        return Fault("has a stride of dilated rows", "use either")
    if scratch_bytes(call) > MAX_SCRATCH_BYTES:
        return Fault("has too large a map", "pool, or use a stride, before it")
    return None


def unfit(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Fault | None:
    """Scalings that cannot be taken, or a sum that twice leaves 32 bits."""
    most = int(np.abs(_bias(call, fields, constants)).max()) + 128 * 128 * prod(call.kernel)
    if most >= 1 << 30:
        return Fault("has biases that are too large", "let another list run it")
    return scalings_unfit(fields, constants, call.output[2])


def scratch_bytes(call: KernelCall) -> int:
    """Four channels of the padded map in 16 bits."""
    return WORD_BYTES * BLOCK * prod(plane(call))


def in_place(call: KernelCall) -> tuple[int, ...]:
    """A channel is read before it is written; of dilated rows, where each phase writes the rows that it reads."""
    dilation = call.dilation[0]
    good = dilation == 1 or (call.inputs[0] == call.output and call.padding[0] % dilation == 0)
    return (0,) if good else ()


def constant_bytes(call: KernelCall) -> tuple[int, ...]:
    return (call.output[2] * (CHANNEL_BYTES + WORD_BYTES * call.kernel[1] * column_words(call)),)


def packed(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Constants:
    """Of each channel twice its bias, with the input's offset in it, its scaling, and twice its weights in pairs."""
    twice = (2 * _bias(call, fields, constants)).astype(np.int32)
    pairs = _pairs(call, 2 * _weights(call, constants).astype(np.int16))
    return {"weights": np.column_stack([twice, scalings(fields, constants, call.output[2]), pairs])}


def _pairs(call: KernelCall, weights: NDArray[np.int16]) -> NDArray[np.int32]:
    """(channels, words): per column of the window the pairs of taps that rows in pairs are multiplied by.

    With stride 1 outputs in even rows need {0, 1}, {2, 3} and so on, those in odd rows {1, 2}, {3, 4}: they lie as
    {0, 1}, then {2i, 2i + 1} and {2i - 1, 2i} in turn; a single tap is taken from a half of a pair. With stride 2
    there are even ones alone, the last tap's with a zero.
    """
    taps = taps_of(call)
    padded = np.zeros((taps + 1, *weights.shape[1:]), np.int16)
    padded[: len(weights)] = weights
    if call.stride[0] == 2:
        firsts = list(range(0, taps, 2))
    else:
        firsts = [0, *(x for i in range(1, taps // 2) for x in (2 * i, 2 * i - 1)), taps - 2]
    both = np.stack([padded[firsts], padded[[x + 1 for x in firsts]]], axis=-1)  # (words, width, channels, 2)
    return np.ascontiguousarray(both.transpose(2, 1, 0, 3)).view("<i4").reshape(weights.shape[2], -1)


def _weights(call: KernelCall, constants: Constants) -> NDArray[np.int8]:
    """(height, width, channels)"""
    return constants["weights"].reshape(*call.kernel, call.output[2])


def _bias(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> NDArray[np.int64]:
    """(channels,), what the sum is for an input of zeros."""
    sums = _weights(call, constants).sum(axis=(0, 1), dtype=np.int64)
    bias: NDArray[np.int64] = constants["bias"].astype(np.int64) + fields["input_offsets"][0] * sums
    return bias


def plane(call: KernelCall) -> tuple[int, int]:
    """Words of a column of the padded map, two rows each, and columns; of dilated rows, those that an output sees."""
    out_rows = -(-call.output[0] // call.dilation[0])
    rows = (out_rows - 1) * call.stride[0] + taps_of(call)
    columns = (call.output[1] - 1) * call.stride[1] + (call.kernel[1] - 1) * call.dilation[1] + 1
    return (rows + 1) // 2, columns


def taps_of(call: KernelCall) -> int:
    """The height of the kernel that runs the window."""
    return next(x for x in HEIGHTS if x >= call.kernel[0])


def column_words(call: KernelCall) -> int:
    """Pairs of taps of a channel for one column of the window."""
    taps = taps_of(call)
    return taps - 1 if call.stride[0] == 1 else taps // 2 + 1
