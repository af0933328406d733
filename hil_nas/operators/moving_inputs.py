"""What a file has beside the tensors of slices, transposes and pads: bounds, orders and amounts, from what was read."""

from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np

from hil_nas.errors import UnsupportedError
from hil_nas.operators.description import Given
from hil_nas.operators.int8 import QuantOperator
from hil_nas.tflite.tensor import QuantTensor
from hil_nas.tflite.writing import Field


def amounts_of_pad(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> dict[int, Given]:
    """Before and behind each axis.

    Raises:
        UnsupportedError: for another value than the real 0.
    """
    if x.pad_value != target.zero_point:
        raise UnsupportedError(f"{x.name} pads by another value than 0, which is not written to a .tflite")
    rank = len(source.shape)
    before = np.zeros(rank, np.int32)
    before[rank - 3], before[rank - 2] = x.padding
    behind = np.array(target.shape) - source.shape - before
    return {1: np.stack([before, behind], axis=1).astype(np.int32)}


def order_of_axes(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> dict[int, Given]:
    """Of a transpose: each axis of the output is that of the input with its step; those of one value fill the rest."""
    steps, rank = _steps(source), len(source.shape)
    wanted = [y if n > 1 else 0 for n, y in zip(target.shape[-3:], x.moved.steps[-rank:], strict=True)]
    wanted = [*[0] * (rank - len(wanted)), *wanted]
    named = [next((i for i in range(rank) if y and steps[i] == y and source.shape[i] > 1), None) for y in wanted]
    others = iter([i for i in range(rank) if i not in named])
    return {1: np.array([next(others) if i is None else i for i in named], np.int32)}


def bounds_of_slice(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> dict[int, Given]:
    """Begin, end and stride along each axis of the input."""
    begins, counts, strides = _slices(x, source, target)
    ends = [b + (n - 1) * y + 1 for b, n, y in zip(begins, counts, strides, strict=True)]
    return {place: np.array(y, np.int32) for place, y in enumerate((begins, ends, strides), start=1)}


def write_slice(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    """No mask but that of axes of one value which the output has lost."""
    _, counts, _ = _slices(x, source, target)
    single = [i for i, n in enumerate(counts) if n == 1]
    for lost in reversed(list(combinations(single, len(counts) - len(target.shape)))):
        if [n for i, n in enumerate(counts) if i not in lost] == list(target.shape):
            return [*((i, "Int32", 0) for i in range(4)), (4, "Int32", sum(1 << i for i in lost))]
    raise UnsupportedError(f"{x.name} slices {source.shape} to {target.shape}, which is not written to a .tflite")


def _slices(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> tuple[list[int], list[int], list[int]]:
    """(begins, counts, strides) along the input's axes."""
    steps, left, begins = _steps(source), x.moved.start, []
    for y in steps:
        begins.append(left // y)
        left %= y
    counts, strides = [1] * len(steps), [1] * len(steps)
    for n, y in zip(target.map, x.moved.steps, strict=True):
        if n > 1:
            axis = next(i for i, z in enumerate(steps) if z <= y and source.shape[i] > 1)
            counts[axis], strides[axis] = n, y // steps[axis]
    return begins, counts, strides


def _steps(tensor: QuantTensor) -> list[int]:
    """From value to value along each axis."""
    return [prod(tensor.shape[i + 1 :]) for i in range(len(tensor.shape))]
