"""Functions of one int8 value as tables of all 256 results: the device looks up what the host has computed.

Each is to the bit what TensorFlow Lite Micro's reference kernel of the same name computes: hard_swish.h, leaky_relu.h,
requantize.h, integer_ops/logistic.h and integer_ops/tanh.h of tensorflow/lite/kernels/internal/reference, and
activations.cc of tensorflow/lite/micro/kernels. Factors are computed in double, as TFLM does since the autumn of 2026;
before, it computed some in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy import fixed_point, requantize
from hil_nas.deploy.graph import QuantOperator, QuantTensor, array_of
from hil_nas.deploy.requantize import Multiplier, quantize_multiplier
from hil_nas.errors import UnsupportedError

_CURVE_INTEGER_BITS = 4  # of the arguments of logistic and tanh
Function = Callable[[int], int]  # of a value less the input's zero point


def lookup_table(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> NDArray[np.int8]:
    """int8 (256,): the output for every input from -128 on.

    Raises:
        UnsupportedError: for scales of which the kernel computes nothing.
    """
    function = LOOKUPS[operator.kind](operator, source, target)
    values = [fixed_point.saturated(function(x - source.zero_point), 8) for x in range(-128, 128)]
    return array_of(values, np.int8)


def _requantize(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    factor = quantize_multiplier(source.scale / target.scale)
    return lambda x: fixed_point.multiplied(x, factor) + target.zero_point


def _relu(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    factor = quantize_multiplier(source.scale / target.scale)
    low, _ = requantize.activation_range("relu", target.scale, target.zero_point)
    return lambda x: max(low, fixed_point.multiplied(x, factor) + target.zero_point)


def _relu6(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    low, high = requantize.activation_range("relu6", target.scale, target.zero_point)
    return lambda x: max(low, min(x + target.zero_point, high))


def _leaky_relu(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    slope = source.scale * operator.alpha / target.scale
    above, below = quantize_multiplier(source.scale / target.scale), quantize_multiplier(abs(slope))
    sign = -1 if slope < 0 else 1

    def function(x: int) -> int:
        scaled = fixed_point.multiplied(x, above) if x >= 0 else sign * fixed_point.multiplied(x, below)
        return scaled + target.zero_point

    return function


def _logistic(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    return _curve(operator, source, fixed_point.logistic, result_bits=8, offset=-128)


def _tanh(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    return _curve(operator, source, fixed_point.tanh, result_bits=7, offset=0)


def _curve(
    operator: QuantOperator, source: QuantTensor, curve: Callable[[int, int], int], result_bits: int, offset: int
) -> Function:
    """Logistic or tanh: saturated where the argument leaves (-16, 16), elsewhere in fixed point."""
    factor, radius = requantize.curve_parameters(source.scale, _CURVE_INTEGER_BITS)

    def function(x: int) -> int:
        if abs(x) >= radius:
            return 127 if x > 0 else -128
        value = curve(fixed_point.multiplied(x, factor), _CURVE_INTEGER_BITS)
        return fixed_point.rounded_shift(value, 31 - result_bits) + offset

    return function


def _hard_swish(operator: QuantOperator, source: QuantTensor, target: QuantTensor) -> Function:
    """x * relu6(x + 3) / 6 on 16-bit words."""
    fine = source.scale / 128
    output, gate = quantize_multiplier(fine / target.scale), quantize_multiplier(fine / (3 / 32768))
    if output.shift > 0:
        raise UnsupportedError(
            f"{operator.name} has an output scale of {target.scale} for an input scale of {source.scale}, which"
            " TensorFlow Lite Micro refuses",
            hint="convert again with data that is representative of what the model will hear",
        )
    by, of_gate = _halfword(output), _halfword(gate)

    def function(x: int) -> int:
        value = x << 7
        opened = fixed_point.high_product(value << max(gate.shift - 1, 0), of_gate, 15)
        if gate.shift > 0:
            opened = fixed_point.saturated(opened << 1, 16)
        opened = fixed_point.rounded_shift(opened, max(-gate.shift, 0))
        opened = (opened + (1 << 15)) >> 1  # from -1..1 to 0..1
        product = opened * fixed_point.high_product(value, by, 15)
        product = product >> 15 if product >= 0 else -(-product >> 15)
        return fixed_point.rounded_shift(product, -output.shift) + target.zero_point

    return function


def _halfword(factor: Multiplier) -> int:
    """The multiplier in 16 bits."""
    return min((factor.multiplier + (1 << 15)) >> 16, (1 << 15) - 1)


LOOKUPS: dict[str, Callable[[QuantOperator, QuantTensor, QuantTensor], Function]] = {
    "requantize": _requantize,
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "logistic": _logistic,
    "tanh": _tanh,
    "hard_swish": _hard_swish,
}
