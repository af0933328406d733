"""A network as a frozen description: layers with their wiring, shapes in NHWC without the batch.

Nothing here computes; the same description is priced (`cost`, `latency`), trained (`training`),
converted (`deploy`) and drawn (`report`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from hil_nas.errors import InputError
from hil_nas.operators.layer import INPUT, Layer, Operator, Pair, Shape, same_padding
from hil_nas.operators.table import layer_rules

__all__ = ["INPUT", "Layer", "Network", "Operator", "Pair", "Shape", "output_shape", "same_padding"]


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
    return layer_rules(layer.kind).output(layer, inputs)


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
    if not isinstance(values["kind"], str):
        raise InputError(f"a layer's kind is a name, found {values['kind']!r}")
    layer_rules(values["kind"])
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
