"""What convolutions and pools share: a window that slides with stride, dilation and padding."""

from __future__ import annotations

from typing import Any

from hil_nas.errors import InputError
from hil_nas.operators.description import only
from hil_nas.operators.int8 import QuantOperator, Weights
from hil_nas.operators.layer import INPUT, Layer, Operator, Pair, Shape, same_padding
from hil_nas.operators.node import Node
from hil_nas.tflite import schema
from hil_nas.tflite.tensor import QuantTensor
from hil_nas.tflite.writing import Field

_PADDING_CODES = {name: code for code, name in schema.PADDINGS.items()}


def window_output(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """The map that a window gives, by TFLite's rules; a layer without channels of its own keeps them.

    Raises:
        InputError: where window and map do not fit together.
    """
    source = only(layer, inputs)
    height, width = (_extent(layer, source, axis) for axis in (0, 1))
    return height, width, layer.out_channels or source[2]


def pooled_output(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """The same for what keeps its channels whatever the layer says."""
    return (*window_output(layer, inputs)[:2], inputs[0][2])


def padding_of(layer: Layer, source: Shape) -> Pair:
    """Rows and columns of padding before the map."""
    if layer.padding == "valid":
        return (0, 0)
    before = [same_padding(source[i], layer.kernel[i], layer.stride[i], layer.dilation[i])[0] for i in (0, 1)]
    return before[0], before[1]


def read_window(
    node: Node,
    kernel: Pair,
    *,
    activation: int,
    dilation: tuple[int, int] | None = None,
    weights: Weights | None = None,
    out_channels: int = 0,
) -> QuantOperator:
    """An operator with a window, its output's shape computed again.

    Args:
        activation, dilation: numbers of the options' fields; dilation along width and height.
    """
    if node.options is None:
        raise InputError(f"{node.name} has no options")
    stride = (node.option(2, "i"), node.option(1, "i"))
    dilated = (1, 1) if dilation is None else (node.option(dilation[1], "i", 1), node.option(dilation[0], "i", 1))
    padding = schema.PADDINGS.get(node.option(0, "b"))
    if padding is None:
        raise InputError(f"{node.name} has the padding {node.option(0, 'b')}, expected SAME or VALID")
    source = node.map_of(node.source())
    node.extents(*kernel, *stride, *dilated)
    layer = Layer(node.kind, (INPUT,), out_channels, kernel, stride, dilated, padding)
    try:
        node.expect((1, *window_output(layer, (source,))))
    except InputError as error:
        raise InputError(f"{node.name}: {error.message}") from None
    return QuantOperator(
        node.kind,
        node.inputs[:1],
        node.output,
        weights,
        kernel,
        stride,
        dilated,
        padding_of(layer, source),
        node.activation(activation),
    )


def write_window(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    """The options of padding and stride: VALID where that gives the output's extents, as then nothing is padded."""
    layer = Layer(x.kind, (INPUT,), 1, x.kernel, x.stride, x.dilation, "valid")
    try:
        fits = window_output(layer, (source.map,))[:2] == target.map[:2]
    except InputError:
        fits = False
    padding = _PADDING_CODES["valid" if fits else "same"]
    return [(0, "Int8", padding), (1, "Int32", x.stride[1]), (2, "Int32", x.stride[0])]


def plan_window(x: QuantOperator) -> dict[str, Any]:
    """The plan's fields of a window."""
    return {"kernel": x.kernel, "stride": x.stride, "padding": x.padding}


def keras_window(x: Operator) -> dict[str, Any]:
    """A window in Keras' words, but for its size, which pools call by another."""
    return {"strides": x.layer.stride, "padding": x.layer.padding}


def _extent(layer: Layer, shape: Shape, axis: int) -> int:
    size, kernel, stride = shape[axis], layer.kernel[axis], layer.stride[axis]
    if min(kernel, stride, layer.dilation[axis]) < 1:
        raise InputError(f"{layer.kind} has a kernel, stride or dilation below 1")
    if layer.padding == "same":
        return -(-size // stride)
    reach = (kernel - 1) * layer.dilation[axis] + 1
    if reach > size:
        raise InputError(f"{layer.kind} with a valid kernel of {reach} does not fit {shape}")
    return (size - reach) // stride + 1
