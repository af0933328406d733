"""A model with every operator that searches do not use and people's models have, for tests of what carries plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tflite_maker import Maker

PLAN_KINDS = (
    "conv", "lookup", "lookup", "mean", "lookup", "mul", "sub", "add", "maximum", "minimum", "copy", "copy", "lookup",
    "copy", "copy", "copy", "add", "max_pool", "mean", "fully_connected",
)  # fmt: skip


def every_operator(height: int, width: int, classes: int, seed: int = 0) -> bytes:
    """int8 (1, height, width, 1) -> int8 (1, classes)."""
    rng, maker = np.random.default_rng(seed), Maker()
    source = maker.tensor((1, height, width, 1), 0.03, 4)

    def add(name: str, inputs: Sequence[int], shape: Sequence[int], scale: float, zero: int, *options: Any,
            **fields: Any) -> int:  # fmt: skip
        number = maker.tensor(shape, scale, zero)
        maker.operator(name, inputs, number, *options, **fields)
        return number

    def weights(shape: Sequence[int]) -> list[int]:
        values = maker.constant(rng.integers(-127, 128, shape), 0.01, 0, np.int8)
        return [values, maker.constant(rng.integers(-2000, 2000, shape[:1]), 1e-4)]

    map_shape = (1, height, width, 4)
    conv = add("CONV_2D", [source, *weights((4, 3, 3, 1))], map_shape, 0.04, -20, "Conv2DOptions", padding=0,
               strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)  # fmt: skip
    leaky = add("LEAKY_RELU", [conv], map_shape, 0.03, -100, "LeakyReluOptions", alpha=0.2)
    swish = add("HARD_SWISH", [leaky], map_shape, 0.025, -110, "HardSwishOptions")
    mean = add("MEAN", [swish, maker.constant([1, 2])], (1, 1, 1, 4), 0.02, -90, "ReducerOptions", keepDims=True)
    gate = add("LOGISTIC", [mean], (1, 1, 1, 4), 1 / 256, -128)
    gated = add("MUL", [swish, gate], map_shape, 0.02, -100, "MulOptions")
    column = maker.constant(rng.integers(-128, 128, (1, 1, 1, 4)), 0.01, 7, np.int8)
    rest = add("SUB", [column, gated], map_shape, 0.03, 40, "SubOptions")
    number = maker.constant(rng.integers(-128, 128, ()), 0.005, -3, np.int8)
    total = add("ADD", [rest, number], map_shape, 0.025, 30, "AddOptions", fusedActivationFunction=0)
    least = maker.constant(rng.integers(-128, 128, (4,)), 0.025, 30, np.int8)
    raised = add("MAXIMUM", [total, least], map_shape, 0.025, 30, "MaximumMinimumOptions")
    lowered = add("MINIMUM", [raised, total], map_shape, 0.025, 30, "MaximumMinimumOptions")
    turned = add("TRANSPOSE", [lowered, maker.constant([0, 2, 1, 3])], (1, width, height, 4), 0.025, 30,
                 "TransposeOptions")  # fmt: skip
    bounds = [maker.constant(x) for x in ([0, 1, 0, 0], [1, width, height, 4], [1, 1, 2, 1])]
    half = -(-height // 2)
    part = add("STRIDED_SLICE", [turned, *bounds], (1, width - 1, half, 4), 0.025, 30, "StridedSliceOptions")
    curve = add("TANH", [part], (1, width - 1, half, 4), 1 / 128, 0)
    sizes = [maker.constant(x) for x in ([0, 0, 0, 1], [1, width - 1, -1, 3])]
    cut = add("SLICE", [curve, *sizes], (1, width - 1, half, 3), 1 / 128, 0, "SliceOptions")
    parts = [maker.tensor((1, width - 1, half, x), 1 / 128, 0) for x in (1, 2)]
    maker.operator("SPLIT_V", [cut, maker.constant([1, 2]), maker.constant(-1)], parts, "SplitVOptions", numSplits=2)
    both = add("ADD", parts, (1, width - 1, half, 2), 1 / 64, 5, "AddOptions")
    most = add("REDUCE_MAX", [both, maker.constant([1])], (1, half, 2), 1 / 64, 5, "ReducerOptions")
    sums = add("SUM", [most, maker.constant([2])], (1, half), 0.03, 10, "ReducerOptions")
    last = add("FULLY_CONNECTED", [sums, *weights((classes, half))], (1, classes), 0.05, 3, "FullyConnectedOptions")
    return maker.finish(source, last)
