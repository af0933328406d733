"""A network as a frozen description: layers with their wiring, shapes in NHWC without the batch.

Nothing here computes; the same description is priced (`cost`, `latency`), trained (`training`),
converted (`deploy`) and drawn (`report`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from hil_nas.errors import InputError

Shape = tuple[int, int, int]  # (height = frames, width = coefficients, channels)
Pair = tuple[int, int]  # (along height, along width)
Kind = Literal[
    "conv", "depthwise", "fully_connected", "average_pool", "max_pool", "add", "concatenation", "reshape", "softmax"
]
INPUT = -1  # as a layer's input: the network's own input


@dataclass(frozen=True)
class Layer:
    """One operator; batch norm is folded and ReLU fused, as they are on the device.

    Attributes:
        kind: the operator. `reshape` moves no bytes, `fully_connected` flattens its input.
        inputs: indices of the layers read, `INPUT` for the network's input.
        out_channels: of conv and fully_connected; every other kind follows its inputs.
        kernel, stride, dilation: (height, width), for conv, depthwise and pools.
        padding: TFLite's SAME or VALID.
        relu: a fused ReLU.
        shape: what a reshape gives.
    """

    kind: Kind
    inputs: tuple[int, ...]
    out_channels: int = 0
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Literal["same", "valid"] = "same"
    relu: bool = False
    shape: Shape | None = None


@dataclass(frozen=True)
class Operator:
    """A layer at the shapes it has in one network: the unit that is measured and priced."""

    layer: Layer
    inputs: tuple[Shape, ...]
    output: Shape


@dataclass(frozen=True)
class Network:
    """Layers in the order they run; the last one is the output.

    Raises:
        InputError: where wiring or shapes do not fit; the message names the layer.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a network has at least one layer, this has none")
        _ = self.shapes

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The output shape of every layer."""
        shapes: list[Shape] = []
        for index, layer in enumerate(self.layers):
            if not layer.inputs or any(not INPUT <= i < index for i in layer.inputs):
                raise InputError(f"layer {index} ({layer.kind}) reads {layer.inputs}, not earlier layers")
            sources = tuple(self.input_shape if i == INPUT else shapes[i] for i in layer.inputs)
            try:
                shapes.append(output_shape(layer, sources))
            except InputError as error:
                raise InputError(f"layer {index}: {error.message}") from None
        return tuple(shapes)

    @property
    def output_shape(self) -> Shape:
        return self.shapes[-1]

    def operators(self) -> Iterator[Operator]:
        """Every layer with its shapes, in order."""
        for layer, shape in zip(self.layers, self.shapes, strict=True):
            sources = tuple(self.input_shape if i == INPUT else self.shapes[i] for i in layer.inputs)
            yield Operator(layer, sources, shape)

    def to_json(self) -> dict[str, Any]:
        return {"input_shape": list(self.input_shape), "layers": [asdict(x) for x in self.layers]}

    @classmethod
    def from_json(cls, data: Any) -> Network:
        """The inverse of `to_json`, for data from outside.

        Raises:
            InputError: for missing or unknown keys and for values of the wrong form.
        """
        if not isinstance(data, dict) or set(data) != {"input_shape", "layers"}:
            raise InputError("a network has the keys 'input_shape' and 'layers'")
        return cls(_ints(data["input_shape"], 3), tuple(_layer(x) for x in data["layers"]))  # type: ignore[arg-type]

    def __str__(self) -> str:
        return json.dumps(self.to_json())


def output_shape(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """The shape a layer gives for the shapes it reads, by TFLite's rules.

    Raises:
        InputError: where they do not fit together.
    """
    first = inputs[0]
    if layer.kind in ("add", "concatenation"):
        return _joined_shape(layer, inputs)
    if len(inputs) != 1:
        raise InputError(f"{layer.kind} reads one tensor, not {len(inputs)}")
    if layer.kind == "reshape":
        if layer.shape is None or _elements(layer.shape) != _elements(first):
            raise InputError(f"reshape from {first} to {layer.shape} changes the number of elements")
        return layer.shape
    if layer.kind == "softmax":
        return first
    if layer.kind in ("conv", "fully_connected") and layer.out_channels < 1:
        raise InputError(f"{layer.kind} has {layer.out_channels} output channels")
    if layer.kind == "fully_connected":
        return (1, 1, layer.out_channels)
    height, width = (_extent(layer, first, axis) for axis in (0, 1))
    return (height, width, layer.out_channels if layer.kind == "conv" else first[2])


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TFLite's SAME padding before and after, along one axis."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


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


def _joined_shape(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    if len(inputs) < 2 or len({x[:2] for x in inputs}) != 1:
        raise InputError(f"{layer.kind} cannot join {inputs}")
    if layer.kind == "concatenation":
        return (*inputs[0][:2], sum(x[2] for x in inputs))
    if len(inputs) != 2 or inputs[0] != inputs[1]:
        raise InputError(f"add cannot join {inputs}")
    return inputs[0]


def _elements(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _ints(value: Any, length: int | None) -> tuple[int, ...]:
    good = isinstance(value, list | tuple) and all(type(x) is int for x in value)
    if not good or (length is not None and len(value) != length):
        raise InputError(f"expected {length or 'some'} whole numbers, found {value!r}")
    return tuple(value)


def _layer(data: Any) -> Layer:
    names = {f.name for f in fields(Layer)}
    if not isinstance(data, dict) or not {"kind", "inputs"} <= set(data) <= names:
        raise InputError(f"a layer has the keys {sorted(names)}, found {data!r}")
    values = dict(data)
    if values["kind"] not in get_args(Kind):
        raise InputError(f"'{values['kind']}' is no kind of layer")
    values["inputs"] = _ints(values["inputs"], None)
    for name in ("kernel", "stride", "dilation"):
        if name in values:
            values[name] = _ints(values[name], 2)
    if values.get("shape") is not None:
        values["shape"] = _ints(values["shape"], 3)
    if values.get("padding", "same") not in ("same", "valid"):
        raise InputError(f"padding is 'same' or 'valid', found {values['padding']!r}")
    if type(values.get("relu", False)) is not bool or type(values.get("out_channels", 0)) is not int:
        raise InputError(f"a layer's relu is true or false and its out_channels a number, found {data!r}")
    return Layer(**values)
