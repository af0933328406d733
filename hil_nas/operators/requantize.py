"""Fixed-point parameters, computed as TensorFlow Lite computes them.

Sources: tensorflow/lite/kernels/internal/quantization_util.cc (QuantizeMultiplier, PreprocessSoftmaxScaling,
CalculateInputRadius), tensorflow/lite/kernels/kernel_util.cc (activation ranges, the multiplier of a fully
connected layer), add_common.cc, mul_common.cc and logistic_common.cc of tensorflow/lite/micro/kernels,
tensorflow/lite/kernels/internal/reference/reduce.h. float32 and double stand where they stand there; a multiplier of a
subtraction is in double since the autumn of 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, frexp, ldexp

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.operators.int8 import Activation

ADD_LEFT_SHIFT = 20
_SOFTMAX_INTEGER_BITS = 5
_INT8 = (-128, 127)


@dataclass(frozen=True)
class Multiplier:
    """A real factor as `multiplier * 2**(shift - 31)`; a positive shift goes left, as in CMSIS-NN."""

    multiplier: int
    shift: int


def quantize_multiplier(real: float) -> Multiplier:
    """`real` >= 0 as a 31-bit fraction and a power of two.

    Raises:
        InputError: for a factor that is negative, not finite or above 2**30.
    """
    if not 0 <= real < 2.0**30:
        raise InputError(f"a scale factor of {real} is not in 0 to 2**30")
    fraction, shift = frexp(real)
    fixed = _round_half_away(ldexp(fraction, 31))
    if fixed == 1 << 31:
        fixed, shift = fixed // 2, shift + 1
    return Multiplier(0, 0) if shift < -31 else Multiplier(fixed, shift)


def convolution_multipliers(
    input_scale: float, weight_scales: NDArray[np.float32], output_scale: float
) -> list[Multiplier]:
    """One per weight scale, in double throughout."""
    return [quantize_multiplier(input_scale * float(x) / output_scale) for x in weight_scales]


def add_multipliers(scales: tuple[float, float], output_scale: float) -> tuple[list[Multiplier], Multiplier]:
    """(one per input, the output's), for a left shift of 20; of a subtraction too."""
    twice_largest = 2 * max(scales)
    inputs = [quantize_multiplier(x / twice_largest) for x in scales]
    return inputs, quantize_multiplier(twice_largest / ((1 << ADD_LEFT_SHIFT) * output_scale))


def product_multiplier(scales: tuple[float, float], output_scale: float) -> Multiplier:
    """Of products of two tensors' values: in a multiplication and in a fully connected layer."""
    return quantize_multiplier(scales[0] * scales[1] / output_scale)


def mean_multiplier(input_scale: float, output_scale: float, count: int) -> Multiplier:
    """Of the sum of `count` values, divided by their number."""
    factor = quantize_multiplier(input_scale / output_scale)
    shift = min(count.bit_length() - 1, 32, 31 + factor.shift)
    return Multiplier((factor.multiplier << shift) // count, factor.shift - shift)


def softmax_parameters(beta: float, input_scale: float) -> tuple[Multiplier, int]:
    """(the beta multiplier, diff_min): inputs further below the largest than diff_min give 0."""
    factor, radius = curve_parameters(beta * input_scale, _SOFTMAX_INTEGER_BITS)
    return factor, -min(radius, 255)  # int8 values never differ by more


def curve_parameters(input_scale: float, integer_bits: int) -> tuple[Multiplier, int]:
    """(factor to a fixed point of so many integer bits, radius): beyond the radius the fixed point ends.

    Raises:
        InputError: for a scale below what TFLite computes.
    """
    real = min(input_scale * (1 << (31 - integer_bits)), 2.0**31 - 1)
    fraction, shift = frexp(real)
    fixed = _round_half_away(ldexp(fraction, 31))
    if fixed == 1 << 31:
        fixed, shift = fixed // 2, shift + 1
    if shift < 0:
        raise InputError(f"a scale of {input_scale} is below what TFLite computes")
    return Multiplier(fixed, shift), floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**shift)


def activation_range(activation: Activation, scale: float, zero_point: int) -> tuple[int, int]:
    """The int8 range that a fused activation leaves."""
    low, high = _INT8
    if activation in ("relu", "relu6"):
        low = max(low, _quantize(0.0, scale, zero_point))
    if activation == "relu6":
        high = min(high, _quantize(6.0, scale, zero_point))
    if activation == "relu_n1_to_1":
        low = max(low, _quantize(-1.0, scale, zero_point))
        high = min(high, _quantize(1.0, scale, zero_point))
    return low, high


def _quantize(real: float, scale: float, zero_point: int) -> int:
    return zero_point + _round_half_away(float(np.float32(real) / np.float32(scale)))


def _round_half_away(value: float) -> int:
    return floor(value + 0.5) if value >= 0 else -floor(-value + 0.5)
