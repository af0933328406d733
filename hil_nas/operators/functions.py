"""Functions of one int8 value as tables of all 256 results: the device looks up what the host has computed.

Each is to the bit what TensorFlow Lite Micro's reference kernel of the same name computes: hard_swish.h, leaky_relu.h,
requantize.h, integer_ops/logistic.h and integer_ops/tanh.h of tensorflow/lite/kernels/internal/reference, and
activations.cc of tensorflow/lite/micro/kernels. Factors are computed in double, as TFLM does since the autumn of 2026;
before, it computed some in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hil_nas.errors import UnsupportedError
from hil_nas.operators import fixed_point, requantize
from hil_nas.operators.description import OperatorType, PlanKind
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.lowering import Lowering
from hil_nas.operators.node import Node
from hil_nas.operators.requantize import Multiplier, quantize_multiplier
from hil_nas.tflite.model_file import finite
from hil_nas.tflite.tensor import QuantTensor

_LOOKUP = PlanKind("lookup", 12)
_CURVE_INTEGER_BITS = 4  # of the arguments of logistic and tanh
Function = Callable[[int], int]  # of a value less the input's zero point
Make = Callable[[QuantOperator, QuantTensor, QuantTensor], Function]


def read_function(node: Node) -> QuantOperator:
    """Reads an operator that computes each value of its output from one value of its input."""
    node.arity(1, 1)
    node.expect(node.source().shape)
    node.target()
    return QuantOperator(node.kind, node.inputs, node.output)


def fixed_scale(node: Node, scale: float, zero_point: int) -> None:
    """For functions between fixed bounds, whose output has the one scale that the kernel computes for."""
    target = node.target()
    if (target.scale, target.zero_point) != (scale, zero_point):
        raise node.refuse(
            f"has an output of scale {target.scale}, zero point {target.zero_point},"
            f" not 1/{1 / scale:g} and {zero_point}",
            "convert it with TensorFlow 2, which fixes them",
        )


def _read_relu6(node: Node) -> QuantOperator:
    node.same_scale()
    return read_function(node)


def _read_leaky_relu(node: Node) -> QuantOperator:
    x = read_function(node)
    return replace(x, alpha=finite(node.option(0, "f"), f"{node.name}'s alpha"))


def _read_logistic(node: Node) -> QuantOperator:
    fixed_scale(node, 1 / 256, -128)
    return read_function(node)


def _read_tanh(node: Node) -> QuantOperator:
    fixed_scale(node, 1 / 128, 0)
    return read_function(node)


def _looked_up(
    name: str, make: Make, read: Callable[[Node], QuantOperator] = read_function, code: str = "", options: int = 0
) -> OperatorType:
    """A function as an operator: its table is the output for every input from -128 on."""

    def lower(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
        source, target = lowering.tensors[x.inputs[0]], lowering.tensors[x.output]
        function = make(x, source, target)
        values = [fixed_point.saturated(function(i - source.zero_point), 8) for i in range(-128, 128)]
        return {"output_offset": 0, "weights": np.array(values, np.int8)}

    return OperatorType(
        name=name,
        codes=(code or name.upper(),),
        options=options,
        read=read,
        plan=_LOOKUP,
        lower=lower,
        write=lambda x, _, __: [(0, "Float32", x.alpha)],
    )


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


REQUANTIZE = _looked_up("requantize", _requantize, code="QUANTIZE")
RELU = _looked_up("relu", _relu)
RELU6 = _looked_up("relu6", _relu6, _read_relu6)
LEAKY_RELU = _looked_up("leaky_relu", _leaky_relu, _read_leaky_relu, options=75)
LOGISTIC = _looked_up("logistic", _logistic, _read_logistic)
TANH = _looked_up("tanh", _tanh, _read_tanh)
HARD_SWISH = _looked_up("hard_swish", _hard_swish)
OPERATORS = (LOGISTIC, TANH, RELU, RELU6, LEAKY_RELU, HARD_SWISH, REQUANTIZE)
