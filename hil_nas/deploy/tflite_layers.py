"""Readers of layers with weights or windows: convolutions, fully connected layers, pools."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from hil_nas.deploy import schema
from hil_nas.deploy.graph import GraphKind, QuantOperator, Weights, array_of
from hil_nas.deploy.refusals import HINT_INT8
from hil_nas.deploy.tflite_node import Node
from hil_nas.errors import InputError
from hil_nas.network import Kind, Layer, Pair, output_shape, same_padding


def read_conv(node: Node) -> QuantOperator:
    node.arity(2, 3)
    weights = node.weights(rank=4, axis=0)
    out, height, width, channels = weights.values.shape
    if channels != node.source().shape[-1]:
        raise node.refuse(
            f"has groups: {node.source().shape[-1]} channels for weights of {channels}",
            "use groups=1, or DepthwiseConv2D",
        )
    options = (1, 2, 4, 5)  # stride w and h, dilation w and h
    return _windowed(node, "conv", "conv", (height, width), options, activation=3, weights=weights, out_channels=out)


def read_depthwise(node: Node) -> QuantOperator:
    node.arity(2, 3)
    weights = node.weights(rank=4, axis=3)
    _, height, width, out = weights.values.shape
    channels = node.source().shape[-1]
    if weights.values.shape[0] != 1 or out % channels:
        raise InputError(f"{node.name} has weights of {weights.values.shape} for {channels} channels")
    values = Weights(array_of(weights.values[0], np.int8), weights.scales, weights.bias)
    return _windowed(
        node, "depthwise", "conv", (height, width), (1, 2, 5, 6), activation=4, weights=values, out_channels=out
    )


def read_pool(node: Node) -> QuantOperator:
    node.arity(1, 1)
    node.same_scale()
    kernel = (node.option(4, "i"), node.option(3, "i"))
    kind: GraphKind = "max_pool" if node.code == schema.MAX_POOL_2D else "average_pool"
    return _windowed(node, kind, "max_pool", kernel, (1, 2, None, None), activation=5)


def read_fully_connected(node: Node) -> QuantOperator:
    node.arity(2, 3)
    if node.option(1, "b"):
        raise node.refuse("has shuffled weights", HINT_INT8)
    weights = node.weights(rank=2, axis=0)
    out, depth = weights.values.shape
    elements = int(np.prod(node.source().shape))
    if elements % depth or int(np.prod(node.target().shape)) != elements // depth * out:
        raise InputError(f"{node.name} maps {node.source().shape} by {(out, depth)} to {node.target().shape}")
    return QuantOperator("fully_connected", node.inputs[:1], node.output, weights, activation=node.activation(0))


def _windowed(
    node: Node,
    kind: GraphKind,
    rule: Kind,
    kernel: Pair,
    options: tuple[int, int, int | None, int | None],
    *,
    activation: int,
    weights: Weights | None = None,
    out_channels: int = 0,
) -> QuantOperator:
    """Convolutions and pools: a window with stride, dilation and padding."""
    if node.options is None:
        raise InputError(f"{node.name} has no options")
    stride = (node.option(options[1], "i"), node.option(options[0], "i"))
    dilation = tuple(1 if x is None else node.option(x, "i", 1) for x in (options[3], options[2]))
    padding = schema.PADDINGS.get(node.option(0, "b"))
    if padding is None:
        raise InputError(f"{node.name} has the padding {node.option(0, 'b')}, expected SAME or VALID")
    source = node.map_of(node.source())
    node.extents(*kernel, *stride, *dilation)
    layer = Layer(rule, (-1,), out_channels, kernel, stride, cast(Pair, dilation), cast(Any, padding))
    try:
        node.expect((1, *output_shape(layer, (source,))))
    except InputError as error:
        raise InputError(f"{node.name}: {error.message}") from None
    before = (0, 0)
    if padding == "same":
        before = cast(Pair, tuple(same_padding(source[i], kernel[i], stride[i], dilation[i])[0] for i in (0, 1)))
    return QuantOperator(
        kind,
        node.inputs[:1],
        node.output,
        weights,
        kernel,
        stride,
        cast(Pair, dilation),
        before,
        node.activation(activation),
    )
