"""Random weights for a network: enough to measure it, with neither torch nor TensorFlow."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from hil_nas.deploy.graph import Activation, GraphKind, QuantGraph, QuantOperator, QuantTensor, Weights, array_of
from hil_nas.network import INPUT, Layer, Network, Operator, same_padding

_KINDS: dict[str, GraphKind] = {
    "conv": "conv",
    "depthwise": "depthwise",
    "dense": "fully_connected",
    "avg_pool": "average_pool",
    "max_pool": "max_pool",
    "add": "add",
    "concat": "concatenation",
    "reshape": "reshape",
    "softmax": "softmax",
}
_INPUT_SCALE, _INPUT_ZERO_POINT = 0.04, 3
_WEIGHT_SPREAD = 40.0  # standard deviation of the int8 weights
_RANGE = 3.0  # standard deviations of an activation that int8 covers


def random_graph(network: Network, seed: int) -> QuantGraph:
    """An int8 graph of this structure whose activations neither vanish nor saturate.

    The operators stand in the network's order, reshapes included.
    """
    random = np.random.default_rng(seed)
    tensors = [QuantTensor((1, *network.input_shape), _INPUT_SCALE, _INPUT_ZERO_POINT)]
    operators = []
    for operator in network.operators():
        sources = [tensors[_number(i)] for i in operator.layer.inputs]
        scales = random.uniform(0.7, 1.4, operator.output[2]) * _weight_scale(operator)
        tensors.append(_output(operator, sources))
        operators.append(_operator(operator, len(tensors) - 1, scales, sources, random))
    return QuantGraph(tuple(tensors), tuple(operators), 0, len(tensors) - 1)


def _number(layer: int) -> int:
    return 0 if layer == INPUT else layer + 1


def _fan_in(operator: Operator) -> int:
    """Products that one output sums."""
    kind, source = operator.layer.kind, operator.inputs[0]
    if kind == "dense":
        return prod(source)
    return prod(operator.layer.kernel) * (source[2] if kind == "conv" else 1)


def _weight_scale(operator: Operator) -> float:
    """Keeps the variance of what flows through (He et al. 2015)."""
    return sqrt(2.0 / _fan_in(operator)) / _WEIGHT_SPREAD


def _output(operator: Operator, sources: list[QuantTensor]) -> QuantTensor:
    """The output's scale and zero point, in the form a converter gives them."""
    shape, layer, first = (1, *operator.output), operator.layer, sources[0]
    if layer.kind == "softmax":
        return QuantTensor(shape, 1 / 256, -128)
    if layer.kind in ("conv", "depthwise", "dense", "add"):
        spread = max(x.scale for x in sources) * 64
        span = _RANGE * spread * (sqrt(2.0) if layer.kind == "add" else 1.0)
        scale, zero = (span / 255, -128) if layer.relu else (2 * span / 255, 5)
        return QuantTensor(shape, float(np.float32(scale)), zero)
    return QuantTensor(shape, first.scale, first.zero_point)


def _operator(
    operator: Operator, output: int, scales: np.ndarray, sources: list[QuantTensor], random: np.random.Generator
) -> QuantOperator:
    layer = operator.layer
    activation: Activation = "relu" if layer.relu else "none"
    return QuantOperator(
        _KINDS[layer.kind],
        tuple(_number(i) for i in layer.inputs),
        output,
        _weights(operator, scales, sources[0].scale, random),
        layer.kernel,
        layer.stride,
        layer.dilation,
        _padding(layer, operator),
        activation,
    )


def _weights(operator: Operator, scales: np.ndarray, input_scale: float, random: np.random.Generator) -> Weights | None:
    kind, channels = operator.layer.kind, operator.output[2]
    kernel, source = operator.layer.kernel, operator.inputs[0]
    shapes = {
        "conv": (channels, *kernel, source[2]),
        "depthwise": (*kernel, channels),
        "dense": (channels, prod(source)),
    }
    if kind not in shapes:
        return None
    values = np.clip(np.rint(random.normal(0, _WEIGHT_SPREAD, shapes[kind])), -127, 127)
    scales = scales[:1] if kind == "dense" else scales
    bias = random.normal(0, 0.1, channels) / (input_scale * scales)
    return Weights(array_of(values, np.int8), array_of(scales, np.float32), array_of(np.rint(bias), np.int32))


def _padding(layer: Layer, operator: Operator) -> tuple[int, int]:
    if layer.padding == "valid" or layer.kind not in ("conv", "depthwise", "avg_pool", "max_pool"):
        return 0, 0
    source = operator.inputs[0]
    dilation = layer.dilation if layer.kind in ("conv", "depthwise") else (1, 1)
    top, left = (same_padding(source[i], layer.kernel[i], layer.stride[i], dilation[i])[0] for i in (0, 1))
    return top, left
