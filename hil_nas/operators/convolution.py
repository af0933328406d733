"""Convolutions, depthwise ones and fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod, sqrt
from typing import Any

import numpy as np

from hil_nas.errors import InputError
from hil_nas.operators import requantize
from hil_nas.operators.description import LayerRules, OperatorType, PlanKind, only
from hil_nas.operators.int8 import QuantOperator, Weights
from hil_nas.operators.layer import Layer, Shape
from hil_nas.operators.lowering import Lowering, output_factor
from hil_nas.operators.node import ACTIVATION_CODES, Node
from hil_nas.operators.windows import keras_window, plan_window, pooled_output, read_window, window_output, write_window
from hil_nas.tflite.refusals import HINT_INT8
from hil_nas.tflite.tensor import QuantTensor, array_of
from hil_nas.tflite.writing import Field


def _read_conv(node: Node) -> QuantOperator:
    node.arity(2, 3)
    weights = node.weights(rank=4, axis=0)
    out, height, width, channels = weights.values.shape
    if channels != node.source().shape[-1]:
        raise node.refuse(
            f"has groups: {node.source().shape[-1]} channels for weights of {channels}",
            "use groups=1, or DepthwiseConv2D",
        )
    return read_window(node, (height, width), activation=3, dilation=(4, 5), weights=weights, out_channels=out)


def _read_depthwise(node: Node) -> QuantOperator:
    node.arity(2, 3)
    weights = node.weights(rank=4, axis=3)
    _, height, width, out = weights.values.shape
    channels = node.source().shape[-1]
    if weights.values.shape[0] != 1 or out % channels:
        raise InputError(f"{node.name} has weights of {weights.values.shape} for {channels} channels")
    values = Weights(array_of(weights.values[0], np.int8), weights.scales, weights.bias)
    return read_window(node, (height, width), activation=4, dilation=(5, 6), weights=values, out_channels=out)


def _read_fully_connected(node: Node) -> QuantOperator:
    node.arity(2, 3)
    if node.option(1, "b"):
        raise node.refuse("has shuffled weights", HINT_INT8)
    weights = node.weights(rank=2, axis=0)
    out, depth = weights.values.shape
    elements = prod(node.source().shape)
    if elements % depth or prod(node.target().shape) != elements // depth * out:
        raise InputError(f"{node.name} maps {node.source().shape} by {(out, depth)} to {node.target().shape}")
    return QuantOperator(node.kind, node.inputs[:1], node.output, weights, activation=node.activation(0))


def _conv_maps(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> tuple[Shape, Shape]:
    """The maps read and written; a fully connected layer that runs as a convolution reads its input as rows."""
    assert x.weights is not None
    out, depth = len(x.weights.values), x.weights.values.shape[-1]
    if source.map[2] == depth:
        return source.map, target.map
    rows = source.elements // depth
    return (rows, 1, depth), (rows, 1, out)


def _vector_maps(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> tuple[Shape, Shape]:
    assert x.weights is not None
    return source.map, (1, 1, len(x.weights.values))


def _fully_connected_as_kernel(x: QuantOperator, source: QuantTensor) -> QuantOperator:
    """Itself, or a 1x1 convolution where it has a scale per channel or several rows: its own kernel takes neither."""
    assert x.weights is not None
    out, depth = x.weights.values.shape
    if len(x.weights.scales) == 1 and source.elements == depth:
        return x
    values = x.weights.values.reshape(out, 1, 1, depth)  # OI -> OHWI
    return replace(x, kind=CONV.name, weights=Weights(values, x.weights.scales, x.weights.bias))


def _lower_convolution(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    assert x.weights is not None
    source, target = lowering.tensors[x.inputs[0]], lowering.tensors[x.output]
    scales = np.broadcast_to(x.weights.scales, x.weights.bias.shape)
    factors = requantize.convolution_multipliers(source.scale, scales, target.scale)
    return {
        **plan_window(x),
        "dilation": x.dilation,
        "input_offsets": (-source.zero_point, 0),
        "weights": x.weights.values,
        "bias": x.weights.bias,
        "multipliers": np.array([f.multiplier for f in factors], np.int32),
        "shifts": np.array([f.shift for f in factors], np.int32),
    }


def _lower_fully_connected(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    assert x.weights is not None
    source, target = lowering.tensors[x.inputs[0]], lowering.tensors[x.output]
    factor = requantize.product_multiplier((source.scale, float(x.weights.scales[0])), target.scale)
    return {
        "input_offsets": (-source.zero_point, 0),
        "weights": x.weights.values,
        "bias": x.weights.bias,
        **output_factor(factor),
    }


def _write_conv(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    activation = (3, "Int8", ACTIVATION_CODES[x.activation])
    return [*write_window(x, source, target), activation, *_write_dilation(4, x)]


def _write_depthwise(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    multiplier = (3, "Int32", target.map[2] // source.map[2])
    activation = (4, "Int8", ACTIVATION_CODES[x.activation])
    return [*write_window(x, source, target), multiplier, activation, *_write_dilation(5, x)]


def _write_fully_connected(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    rows = 2 < len(target.shape) == len(source.shape)
    return [(0, "Int8", ACTIVATION_CODES[x.activation]), (2, "Bool", rows)]


def _write_dilation(first: int, x: QuantOperator) -> list[Field]:
    return [(first, "Int32", x.dilation[1]), (first + 1, "Int32", x.dilation[0])]


def _conv_output(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    only(layer, inputs)
    _check_channels(layer)
    return window_output(layer, inputs)


def _fully_connected_output(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    only(layer, inputs)
    _check_channels(layer)
    return (1, 1, layer.out_channels)


def _check_channels(layer: Layer) -> None:
    if layer.out_channels < 1:
        raise InputError(f"{layer.kind} has {layer.out_channels} output channels")


def _spread(levels: Sequence[float]) -> float:
    """Weights are drawn with variance 2 / fan-in (He et al. 2015)."""
    return levels[0] * sqrt(2.0)


CONV = OperatorType(
    name="conv",
    codes=("CONV_2D",),
    options=1,
    read=_read_conv,
    plan=PlanKind("conv", 1),
    lower=_lower_convolution,
    maps=_conv_maps,
    write=_write_conv,
    layer=LayerRules(
        output=_conv_output,
        keras=lambda layers, x, **common: layers.Conv2D(
            x.layer.out_channels, x.layer.kernel, **keras_window(x), **common
        ),
        weights=lambda layer, source: (layer.out_channels, *layer.kernel, source[2]),
        per_channel=True,
        windowed=True,
        fuses_relu=True,
        scale="own",
        rounds=True,
        spread=_spread,
        options=(28, 4),
        kept_bytes=60,
    ),
)
DEPTHWISE = OperatorType(
    name="depthwise",
    codes=("DEPTHWISE_CONV_2D",),
    options=2,
    read=_read_depthwise,
    plan=PlanKind("depthwise", 2),
    lower=_lower_convolution,
    write=_write_depthwise,
    layer=LayerRules(
        output=pooled_output,
        keras=lambda layers, x, **common: layers.DepthwiseConv2D(x.layer.kernel, **keras_window(x), **common),
        weights=lambda layer, source: (*layer.kernel, source[2]),
        per_channel=True,
        windowed=True,
        fuses_relu=True,
        scale="own",
        rounds=True,
        spread=_spread,
        options=(28, 4),
        kept_bytes=60,
    ),
)
FULLY_CONNECTED = OperatorType(
    name="fully_connected",
    codes=("FULLY_CONNECTED",),
    options=8,
    read=_read_fully_connected,
    plan=PlanKind("fully_connected", 3),
    lower=_lower_fully_connected,
    as_kernel=_fully_connected_as_kernel,
    maps=_vector_maps,
    write=_write_fully_connected,
    layer=LayerRules(
        output=_fully_connected_output,
        keras=lambda layers, x, **common: layers.Dense(x.layer.out_channels, **common),
        weights=lambda layer, source: (layer.out_channels, prod(source)),
        fuses_relu=True,
        scale="own",
        rounds=True,
        spread=_spread,
        options=(5, 1),
        kept_bytes=72,
    ),
)
OPERATORS = (CONV, DEPTHWISE, FULLY_CONNECTED)
