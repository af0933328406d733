"""Convolutions as one product: the twin of `boards/src/kernels/dsp/product.h` and `conv.c`.

The board adds up 256 * D0 + D1 and D1 of two output channels in 32 bits that may wrap around, and takes D0 from their
difference. That is exact while D0 has 24 bits, which is decided here from the weights: for any int8 input, a sum lies
between bias + sum(w * x) with x at that end of int8 that makes each term least, and at the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.kernels.dsp.requantise import scalings, scalings_unfit
from hil_nas.kernels.kernel import Constants, Fault, KernelCall

GROUP_CHANNELS = 4
MAX_EXTENT = 32767
MAX_COLUMN = 1024  # with more, usual weights would leave the 24 bits
MAX_SUM = 1 << 23
_CHUNK_BYTES, _BLOCK_BYTES, _MAX_BLOCK = 4096, 1024, 8
_STEP_BYTES, _GROUP_BYTES = 8, 64
_STEP_ORDER = (0, 2, 1, 3)  # of a word's values, as SXTB16 takes them
_OTHERS = "let another list run it"


@dataclass(frozen=True)
class Sizes:
    """`struct sizes` of conv.c.

    Attributes:
        column: values of a window.
        steps: of two values each, in a column that is filled up to a multiple of four.
        copied: whether weights lie in RAM while they are used.
        gathered: whether columns are no runs of whole words in the input, one behind the other.
        block: pixels that are gathered at a time.
        always, each: bytes of scratch memory, of each group whose weights lie in RAM at a time.
        chunk: how many do.
        in_place: whether the output may lie over the input.
    """

    column: int
    steps: int
    groups: int
    pixels: int
    group_bytes: int
    copied: bool
    gathered: bool
    block: int
    always: int
    each: int
    chunk: int
    in_place: bool


def sizes_of(call: KernelCall) -> Sizes:
    """How a call is run: by its own sizes alone, so that a search may price it before there is a network around it.

    Weights go through RAM in chunks of at most 4 KB. For each, all columns are widened again (3 to 4 % of a 1x1
    kernel's cycles) or gathered again (7 % of a first layer's): chunks of 2 KB would take 7 % more cycles of a searched
    network and an eighth off its arena. A 1x1 kernel needs all weights at once to run in place, and does where they
    take no more than the second map that this saves.
    """
    column = prod(call.kernel) * call.inputs[0][2]
    steps, groups, pixels = 2 * -(-column // 4), -(-call.output[2] // GROUP_CHANNELS), prod(call.output[:2])
    group_bytes = _GROUP_BYTES + _STEP_BYTES * steps
    copied = pixels > 2
    gathered = call.kernel != (1, 1) or call.stride != (1, 1) or column % 4 != 0
    block = max(2, min(_MAX_BLOCK, _BLOCK_BYTES // (2 * steps) // 2 * 2))
    always = _STEP_BYTES * steps + GROUP_CHANNELS * block + gathered * block * 2 * steps
    each = GROUP_CHANNELS + copied * group_bytes
    chunks = -(-groups // max(1, _CHUNK_BYTES // group_bytes)) if copied else 1
    chunk, fits = -(-groups // chunks), not gathered and call.output[2] % GROUP_CHANNELS == 0
    in_place = fits and (groups - chunk) * each <= min(prod(call.inputs[0]), prod(call.output))
    chunk = groups if in_place else chunk
    return Sizes(column, steps, groups, pixels, group_bytes, copied, gathered, block, always, each, chunk, in_place)


def scratch_bytes(call: KernelCall) -> int:
    """Two columns, bytes of gathered columns, outputs of channels that fill no group; and for each group of a chunk its
    weights and its outputs of a pixel that is none.
    """
    x = sizes_of(call)
    return x.always + x.chunk * x.each


def constant_bytes(call: KernelCall) -> tuple[int, ...]:
    """Groups of weights with their biases and scalings."""
    x = sizes_of(call)
    return (x.groups * x.group_bytes,)


def fault(call: KernelCall) -> Fault | None:
    x = sizes_of(call)
    if x.column > MAX_COLUMN:
        return Fault(f"has windows of {x.column} values, at most {MAX_COLUMN} are run", _OTHERS)
    if max(*call.inputs[0], *call.output, *call.kernel, *call.stride, *call.dilation) > MAX_EXTENT:
        return Fault(f"has an extent above {MAX_EXTENT}", _OTHERS)
    return None


def unfit(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Fault | None:
    weights, bias = _folded(call, fields, constants)
    lowest = bias + np.minimum(weights * -128, weights * 127).sum(axis=1)
    highest = bias + np.maximum(weights * -128, weights * 127).sum(axis=1)
    if lowest.min() <= -MAX_SUM or highest.max() >= MAX_SUM:
        return Fault(f"has sums of {MAX_SUM} and more", _OTHERS)
    if _halves(weights).min() < -(1 << 15):
        return Fault("has a weight of -128", _OTHERS)
    return scalings_unfit(fields, constants, call.output[2])


def packed(call: KernelCall, fields: Mapping[str, Any], constants: Constants) -> Constants:
    """Groups of four channels: starts of the sums, weights step by step, scalings."""
    x = sizes_of(call)
    channels = x.groups * GROUP_CHANNELS
    weights, bias = _folded(call, fields, constants)
    halves = _halves(weights).astype("<i2")  # (groups, 2, 2 * steps)
    words = np.ascontiguousarray(halves.reshape(x.groups, 2, x.steps, 2).transpose(0, 2, 1, 3))
    pairs = bias.reshape(x.groups, 2, 2)
    starts = np.stack([256 * pairs[..., 0] + pairs[..., 1], pairs[..., 1]], axis=2)  # wraps around like the sums
    by = np.zeros((channels, 3), np.int32)
    by[: call.output[2]] = scalings(fields, constants, call.output[2])
    parts = (
        starts.reshape(x.groups, 4).astype("<i4"),
        words.view("<i4").reshape(x.groups, 2 * x.steps),
        by.astype("<i4").reshape(x.groups, 3 * GROUP_CHANNELS),
    )
    return {"weights": np.concatenate(parts, axis=1)}


def _folded(
    call: KernelCall, fields: Mapping[str, Any], constants: Constants
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(channels, 2 * steps) weights and (channels,) biases with the input's offset, filled up with zeros."""
    x = sizes_of(call)
    weights = np.zeros((x.groups * GROUP_CHANNELS, 2 * x.steps), np.int64)
    weights[: call.output[2], : x.column] = constants["weights"].reshape(call.output[2], x.column)
    bias = np.zeros(len(weights), np.int64)
    bias[: call.output[2]] = constants["bias"]
    return weights, bias + fields["input_offsets"][0] * weights.sum(axis=1)


def _halves(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups, 2, values): 256 * w0 + w1 of pairs of channels, values in the order of the steps."""
    pairs = weights.reshape(-1, 2, 2, weights.shape[1])
    mixed = 256 * pairs[:, :, 0] + pairs[:, :, 1]
    return mixed.reshape(*mixed.shape[:2], -1, 4)[..., _STEP_ORDER].reshape(mixed.shape)
