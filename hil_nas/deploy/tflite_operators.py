"""The operators of a .tflite, one reader each; every shape is computed again and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from hil_nas.deploy import schema
from hil_nas.deploy.flatbuffer import Table
from hil_nas.deploy.graph import Activation, GraphKind, QuantOperator, QuantTensor, Weights, array_of
from hil_nas.deploy.model_file import ModelFile, finite
from hil_nas.errors import InputError, UnsupportedError
from hil_nas.network import Kind, Layer, Pair, Shape, output_shape, same_padding

_LARGEST_EXTENT = 0xFFFF  # the plan's shapes are 16 bits wide


@dataclass(frozen=True)
class _Node:
    """An operator while it is read."""

    model: ModelFile
    code: int
    index: int
    inputs: tuple[int, ...]  # -1 for an absent optional one
    output: int
    options: Table | None

    @property
    def name(self) -> str:
        return f"operator {self.index} ({schema.operator_name(self.code)})"

    def refuse(self, reason: str, hint: str | None = None) -> UnsupportedError:
        return UnsupportedError(f"{self.name} {reason}", hint=hint)

    def option(self, field: int, code: str, default: Any = 0) -> Any:
        return default if self.options is None else self.options.number(field, code, default)

    def source(self, position: int = 0) -> QuantTensor:
        """An input that is computed, not constant."""
        number = self.inputs[position]
        if number < 0 or self.model.constant(number) is not None:
            raise self.refuse(f"has a constant or absent input {position}, which is not lowered")
        return self.model.activation(number)

    def target(self) -> QuantTensor:
        return self.model.activation(self.output)

    def arity(self, least: int, most: int) -> None:
        if not least <= len(self.inputs) <= most:
            raise InputError(f"{self.name} has {len(self.inputs)} inputs, expected {least} to {most}")

    def activation(self, field: int) -> Activation:
        code = self.option(field, "b")
        if code not in schema.ACTIVATIONS:
            raise self.refuse(f"has a fused activation of code {code}, lowered are {[*schema.ACTIVATIONS.values()]}")
        return cast(Activation, schema.ACTIVATIONS[code])

    def expect(self, shape: tuple[int, ...]) -> None:
        found = self.model.shape(self.output)
        if found != shape:
            raise InputError(f"{self.name} gives {shape}, but its output tensor has the shape {found}")

    def same_scale(self, position: int = 0) -> None:
        """What only moves or compares values must not change their meaning."""
        one, other = self.source(position), self.target()
        if (one.scale, one.zero_point) != (other.scale, other.zero_point):
            raise self.refuse(f"has input {position} and output of different scales, which is not lowered")


def read_operator(model: ModelFile, index: int, table: Table) -> QuantOperator:
    """One operator of the file.

    Raises:
        InputError: where it does not fit together.
        UnsupportedError: where it is not lowered.
    """
    code = model.code(table)
    if code not in _READERS:
        names = ", ".join(schema.operator_name(x) for x in _READERS)
        raise UnsupportedError(
            f"operator {index} ({schema.operator_name(code)}) is not lowered", hint=f"lowered are {names}"
        )
    inputs = tuple(int(x) for x in table.numbers(schema.OPERATOR_INPUTS, "<i4"))
    outputs = table.numbers(schema.OPERATOR_OUTPUTS, "<i4")
    if len(outputs) != 1 or not inputs:
        raise InputError(f"operator {index} has {len(inputs)} inputs and {len(outputs)} outputs")
    for number in inputs:
        if number != -1:
            model.checked(number)
    options = table.table(schema.OPERATOR_OPTIONS) if schema.OPTIONS[code] else None
    if options is not None and table.number(schema.OPERATOR_OPTIONS_TYPE, "B") != schema.OPTIONS[code]:
        raise InputError(f"operator {index} ({schema.operator_name(code)}) has the options of another operator")
    return _READERS[code](_Node(model, code, index, inputs, model.checked(int(outputs[0])), options))


def _read_conv(node: _Node) -> QuantOperator:
    node.arity(2, 3)
    weights = _weights(node, rank=4, axis=0)
    out, height, width, channels = weights.values.shape
    if channels != node.source().shape[-1]:
        raise node.refuse(f"has groups: {node.source().shape[-1]} channels for weights of {channels}")
    options = (1, 2, 4, 5)  # stride w and h, dilation w and h
    return _windowed(node, "conv", "conv", (height, width), options, activation=3, weights=weights, out_channels=out)


def _read_depthwise(node: _Node) -> QuantOperator:
    node.arity(2, 3)
    weights = _weights(node, rank=4, axis=3)
    _, height, width, out = weights.values.shape
    channels = node.source().shape[-1]
    if weights.values.shape[0] != 1 or out % channels:
        raise InputError(f"{node.name} has weights of {weights.values.shape} for {channels} channels")
    values = Weights(array_of(weights.values[0], np.int8), weights.scales, weights.bias)
    return _windowed(
        node, "depthwise", "conv", (height, width), (1, 2, 5, 6), activation=4, weights=values, out_channels=out
    )


def _read_pool(node: _Node) -> QuantOperator:
    node.arity(1, 1)
    node.same_scale()
    kernel = (node.option(4, "i"), node.option(3, "i"))
    kind: GraphKind = "max_pool" if node.code == schema.MAX_POOL_2D else "average_pool"
    return _windowed(node, kind, "max_pool", kernel, (1, 2, None, None), activation=5)


def _windowed(
    node: _Node,
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
    source = _map_of(node, node.source())
    _extents(node, *kernel, *stride, *dilation)
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


def _read_fully_connected(node: _Node) -> QuantOperator:
    node.arity(2, 3)
    if node.option(1, "b"):
        raise node.refuse("has shuffled weights, which are not lowered")
    weights = _weights(node, rank=2, axis=0)
    out, depth = weights.values.shape
    elements = int(np.prod(node.source().shape))
    if elements % depth or int(np.prod(node.target().shape)) != elements // depth * out:
        raise InputError(f"{node.name} maps {node.source().shape} by {(out, depth)} to {node.target().shape}")
    return QuantOperator("fully_connected", node.inputs[:1], node.output, weights, activation=node.activation(0))


def _read_add(node: _Node) -> QuantOperator:
    node.arity(2, 2)
    shapes = [node.source(0).shape, node.source(1).shape, node.target().shape]
    if len({_without_leading_ones(x) for x in shapes}) != 1:
        raise node.refuse(f"broadcasts {shapes[0]} and {shapes[1]}, which is not lowered")
    return QuantOperator("add", node.inputs, node.output, activation=node.activation(0))


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The converter adds (4,) to (1, 1, 1, 4), which is no broadcast."""
    first = next((i for i, x in enumerate(shape) if x != 1), len(shape))
    return shape[first:]


def _read_concatenation(node: _Node) -> QuantOperator:
    node.arity(2, 64)
    shapes = [node.source(i).shape for i in range(len(node.inputs))]
    rank, axis = len(shapes[0]), node.option(0, "i")
    axis += rank if axis < 0 else 0
    if not 1 <= axis < rank or len({(*x[:axis], *x[axis + 1 :]) for x in shapes}) != 1:
        raise InputError(f"{node.name} cannot join {shapes} along axis {axis}")
    if node.activation(1) != "none":
        raise node.refuse("has a fused activation, which is not lowered")
    for position in range(len(node.inputs)):
        node.same_scale(position)
    node.expect((*shapes[0][:axis], sum(x[axis] for x in shapes), *shapes[0][axis + 1 :]))
    return QuantOperator("concatenation", node.inputs, node.output, axis=axis)


def _read_reshape(node: _Node) -> QuantOperator:
    node.arity(1, 2)
    node.same_scale()
    if np.prod(node.source().shape) != np.prod(node.target().shape):
        raise InputError(f"{node.name} reshapes {node.source().shape} to {node.target().shape}")
    return QuantOperator("reshape", node.inputs[:1], node.output)


def _read_pad(node: _Node) -> QuantOperator:
    node.arity(2, 3)
    node.same_scale()
    source, value = _map_of(node, node.source()), node.target().zero_point
    amounts = node.model.constant(node.inputs[1]) if node.inputs[1] >= 0 else None
    if amounts is None or amounts.shape != (4, 2):
        raise node.refuse("has no constant paddings of shape (4, 2)")
    if np.any(amounts < 0) or np.any(amounts[[0, 3]] != 0):
        raise node.refuse("pads the batch or the channels, or by negative amounts, which is not lowered")
    if len(node.inputs) == 3:
        given = node.model.constant(node.inputs[2]) if node.inputs[2] >= 0 else None
        if given is None or given.dtype != np.int8 or given.size != 1:
            raise node.refuse("has no constant int8 pad value")
        value = int(given.reshape(-1)[0])
    (top, bottom), (left, right) = amounts[1].tolist(), amounts[2].tolist()
    _extents(node, top + 1, left + 1)
    node.expect((1, source[0] + top + bottom, source[1] + left + right, source[2]))
    return QuantOperator("pad", node.inputs[:1], node.output, padding=(top, left), pad_value=value)


def _read_softmax(node: _Node) -> QuantOperator:
    node.arity(1, 1)
    node.expect(node.source().shape)
    target = node.target()
    if target.zero_point != -128 or target.scale != 1 / 256:
        raise node.refuse(f"has an output of scale {target.scale}, zero point {target.zero_point}, not 1/256 and -128")
    beta = finite(node.option(0, "f"), f"{node.name}'s beta")
    return QuantOperator("softmax", node.inputs, node.output, beta=beta)


def _read_quantize(node: _Node) -> QuantOperator:
    """From int8 to int8 of another scale; the input's type has been checked by reading it."""
    node.arity(1, 1)
    node.expect(node.source().shape)
    node.target()
    return QuantOperator("requantize", node.inputs, node.output)


_READERS: dict[int, Callable[[_Node], QuantOperator]] = {
    schema.CONV_2D: _read_conv,
    schema.DEPTHWISE_CONV_2D: _read_depthwise,
    schema.FULLY_CONNECTED: _read_fully_connected,
    schema.AVERAGE_POOL_2D: _read_pool,
    schema.MAX_POOL_2D: _read_pool,
    schema.ADD: _read_add,
    schema.CONCATENATION: _read_concatenation,
    schema.RESHAPE: _read_reshape,
    schema.PAD: _read_pad,
    schema.PADV2: _read_pad,
    schema.SOFTMAX: _read_softmax,
    schema.QUANTIZE: _read_quantize,
}


def _weights(node: _Node, rank: int, axis: int) -> Weights:
    """Weights and bias of a convolution or a fully connected layer, output channels along `axis`."""
    number = node.inputs[1]
    values = node.model.constant(number) if number >= 0 else None
    if values is None or values.dtype != np.int8 or values.ndim != rank:
        raise node.refuse(f"has no constant int8 weights of {rank} axes")
    channels, q = values.shape[axis], node.model.quantization(number)
    if q is None or len(q.scales) not in (1, channels) or np.any(q.zero_points != 0):
        raise node.refuse("has weights without symmetric scales, one or one per output channel")
    if len(q.scales) > 1 and q.dimension != axis:
        raise node.refuse(f"has weights quantised along axis {q.dimension}, expected {axis}")
    return Weights(array_of(values, np.int8), q.scales, _bias(node, channels))


def _bias(node: _Node, channels: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    if len(node.inputs) < 3 or node.inputs[2] < 0:
        return array_of(np.zeros(channels), np.int32)
    bias = node.model.constant(node.inputs[2])
    if bias is None or bias.dtype != np.int32 or bias.shape != (channels,):
        raise node.refuse(f"has no constant int32 bias of shape ({channels},)")
    return array_of(bias, np.int32)


def _map_of(node: _Node, tensor: QuantTensor) -> Shape:
    """(height, width, channels) of a tensor that must have all of them."""
    if len(tensor.shape) != 4:
        raise node.refuse(f"reads a tensor of {len(tensor.shape)} axes, expected (1, height, width, channels)")
    return tensor.map


def _extents(node: _Node, *values: int) -> None:
    if any(not 1 <= x <= _LARGEST_EXTENT for x in values):
        raise InputError(f"{node.name} has a kernel, stride, dilation or padding out of range: {values}")
