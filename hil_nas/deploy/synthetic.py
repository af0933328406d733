"""Random weights for a network: enough to measure it, with neither torch nor TensorFlow."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt

import numpy as np

from hil_nas.deploy.graph import QuantGraph
from hil_nas.network import INPUT, Network, Operator
from hil_nas.operators.int8 import Activation, QuantOperator, Weights
from hil_nas.operators.table import layer_rules
from hil_nas.operators.windows import padding_of
from hil_nas.tflite.tensor import QuantTensor, array_of

_INPUT = (float(np.float32(0.04)), 3)  # scale and zero point
_UNIFORM_INT8 = 74.0  # root mean square of uniformly distributed int8 values
_WEIGHT_SPREAD = 40.0  # standard deviation of the int8 weights
_RANGE = 4.0  # standard deviations of an activation that int8 covers


def random_graph(network: Network, seed: int) -> QuantGraph:
    """An int8 graph of this structure whose activations neither vanish nor saturate.

    The operators stand in the network's order, reshapes included.
    """
    random = np.random.default_rng(seed)
    tensors = [QuantTensor((1, *network.input_shape), *_INPUT)]
    levels = [_INPUT[0] * _UNIFORM_INT8]  # root mean square of every tensor, as it should come out
    spreads = []
    for operator in network.operators():
        numbers = [_number(i) for i in operator.layer.inputs]
        spreads.append(layer_rules(operator.layer.kind).spread([levels[i] for i in numbers]))
        levels.append(spreads[-1] / sqrt(2.0) if operator.layer.relu else spreads[-1])
        tensors.append(_output(operator, tensors[numbers[0]], spreads[-1]))
    tensors = _tied(network, tensors)
    operators = []
    for number, (operator, spread) in enumerate(zip(network.operators(), spreads, strict=True), start=1):
        weights = _weights(operator, tensors[_number(operator.layer.inputs[0])].scale, spread, random)
        operators.append(_operator(operator, number, weights))
    return QuantGraph(tuple(tensors), tuple(operators), 0, len(tensors) - 1)


def _tied(network: Network, tensors: list[QuantTensor]) -> list[QuantTensor]:
    """What is copied is not rescaled: all that a concatenation joins, and what pools pass on, gets the widest scale."""
    group = list(range(len(tensors)))
    for number, layer in enumerate(network.layers, start=1):
        if layer_rules(layer.kind).scale == "kept":
            joined = {group[number], *(group[_number(i)] for i in layer.inputs)}
            group = [min(joined) if x in joined else x for x in group]
    widest: dict[int, QuantTensor] = {}
    for number, tensor in zip(group, tensors, strict=True):
        widest[number] = max(widest.get(number, tensor), tensor, key=lambda x: x.scale)
    return [
        replace(x, scale=widest[i].scale, zero_point=widest[i].zero_point) for i, x in zip(group, tensors, strict=True)
    ]


def _number(layer: int) -> int:
    return 0 if layer == INPUT else layer + 1


def _output(operator: Operator, source: QuantTensor, spread: float) -> QuantTensor:
    """The output's scale and zero point, in the form a converter gives them."""
    layer = operator.layer
    rules = layer_rules(layer.kind)
    shape = (1, layer.out_channels) if layer.kind == "fully_connected" else (1, *operator.output)
    if rules.scale == "fixed":
        return QuantTensor(source.shape, 1 / 256, -128)
    if rules.scale == "own":
        low, zero_point = (0.0, -128) if layer.relu else (-_RANGE * spread, 5)
        return QuantTensor(shape, float(np.float32((_RANGE * spread - low) / 255)), zero_point)
    return QuantTensor(shape, source.scale, source.zero_point)


def _operator(operator: Operator, output: int, weights: Weights | None) -> QuantOperator:
    layer = operator.layer
    activation: Activation = "relu" if layer.relu else "none"
    return QuantOperator(
        layer.kind,
        tuple(_number(i) for i in layer.inputs),
        output,
        weights,
        layer.kernel,
        layer.stride,
        layer.dilation,
        padding_of(layer, operator.inputs[0]) if layer_rules(layer.kind).windowed else (0, 0),
        activation,
        label=f"operator {output - 1} ({layer.kind})",
    )


def _weights(operator: Operator, input_scale: float, spread: float, random: np.random.Generator) -> Weights | None:
    rules, channels = layer_rules(operator.layer.kind), operator.output[2]
    shape = rules.weights_shape(operator)
    if not shape:
        return None
    values = np.clip(np.rint(random.normal(0, _WEIGHT_SPREAD, shape)), -127, 127)
    fan_in = prod(shape) // channels  # products that one output sums
    scales = random.uniform(0.7, 1.2, channels if rules.per_channel else 1) * sqrt(2.0 / fan_in) / _WEIGHT_SPREAD
    bias = random.normal(0, 0.1 * spread, channels) / (input_scale * scales)
    return Weights(array_of(values, np.int8), array_of(scales, np.float32), array_of(np.rint(bias), np.int32))
