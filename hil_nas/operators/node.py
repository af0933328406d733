"""An operator of a .tflite while it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError, UnsupportedError
from hil_nas.operators.int8 import Activation, Weights
from hil_nas.operators.layer import Shape
from hil_nas.operators.limits import LARGEST_EXTENT
from hil_nas.tflite import schema
from hil_nas.tflite.flatbuffer import Table
from hil_nas.tflite.model_file import ModelFile
from hil_nas.tflite.refusals import HINT_INT8
from hil_nas.tflite.tensor import QuantTensor, array_of

ACTIVATION_CODES = {name: code for code, name in schema.ACTIVATIONS.items()}


@dataclass(frozen=True)
class Node:
    """An operator's place in the file and its tensors.

    Attributes:
        kind: the operator's name in the table.
        code: the schema's name.
        index: in the file's own list.
        inputs: tensor numbers, -1 for an absent optional one.
        output: the tensor that is read as its own.
        outputs: all of them.
    """

    model: ModelFile
    kind: str
    code: str
    index: int
    inputs: tuple[int, ...]
    output: int
    options: Table | None
    outputs: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"operator {self.index} ({self.code})"

    def refuse(self, reason: str, hint: str) -> UnsupportedError:
        return UnsupportedError(f"{self.name} {reason}", hint=hint)

    def option(self, field: int, code: str, default: Any = 0) -> Any:
        return default if self.options is None else self.options.number(field, code, default)

    def source(self, position: int = 0) -> QuantTensor:
        """An input that is computed, not constant."""
        number = self.inputs[position]
        if number < 0 or self.model.constant(number) is not None:
            raise self.refuse(f"has a constant or absent input {position}", "let layers read what layers computed")
        return self.model.activation(number)

    def target(self) -> QuantTensor:
        return self.model.activation(self.output)

    def arity(self, least: int, most: int) -> None:
        if not least <= len(self.inputs) <= most:
            raise InputError(f"{self.name} has {len(self.inputs)} inputs, expected {least} to {most}")

    def activation(self, field: int) -> Activation:
        code = self.option(field, "b")
        if code not in schema.ACTIVATIONS:
            known = ", ".join(schema.ACTIVATIONS.values())
            raise self.refuse(f"has a fused activation of code {code}, known are {known}", "use relu or relu6")
        return cast(Activation, schema.ACTIVATIONS[code])

    def expect(self, shape: tuple[int, ...]) -> None:
        written = self.model.shape(self.output)
        if written != shape:
            raise InputError(f"{self.name} gives {shape}, but its output tensor has the shape {written}")

    def same_scale(self, position: int = 0) -> None:
        """What only moves or compares values must not change their meaning."""
        one, other = self.source(position), self.target()
        if (one.scale, one.zero_point) != (other.scale, other.zero_point):
            raise self.refuse(f"has input {position} and output of different scales", "convert it with TensorFlow 2.21")

    def numbers(self, position: int) -> NDArray[Any]:
        """A constant input of whole numbers, such as axes or extents."""
        number = self.inputs[position]
        values = self.model.constant(number) if number >= 0 else None
        if values is None or values.dtype not in (np.int32, np.int64):
            raise self.refuse(
                f"has an input {position} that is no constant of whole numbers", "give every layer a fixed shape"
            )
        return values

    def weights(self, rank: int, axis: int) -> Weights:
        """Weights and bias of a convolution or a fully connected layer, output channels along `axis`."""
        number = self.inputs[1]
        values = self.model.constant(number) if number >= 0 else None
        if values is None or values.dtype != np.int8 or values.ndim != rank:
            raise self.refuse(f"has no constant int8 weights of {rank} axes", HINT_INT8)
        channels, q = values.shape[axis], self.model.quantization(number)
        if q is None or len(q.scales) not in (1, channels) or np.any(q.zero_points != 0):
            raise self.refuse("has weights without symmetric scales, one or one per output channel", HINT_INT8)
        if len(q.scales) > 1 and q.dimension != axis:
            raise self.refuse(f"has weights quantised along axis {q.dimension}, expected {axis}", HINT_INT8)
        return Weights(array_of(values, np.int8), q.scales, self._bias(channels))

    def _bias(self, channels: int) -> NDArray[np.int32]:
        if len(self.inputs) < 3 or self.inputs[2] < 0:
            return array_of(np.zeros(channels), np.int32)
        bias = self.model.constant(self.inputs[2])
        if bias is None or bias.dtype != np.int32 or bias.shape != (channels,):
            raise self.refuse(f"has no constant int32 bias of shape ({channels},)", HINT_INT8)
        return array_of(bias, np.int32)

    def map_of(self, tensor: QuantTensor) -> Shape:
        """(height, width, channels) of a tensor that must have all of them."""
        if len(tensor.shape) != 4:
            raise self.refuse(
                f"reads a tensor of {len(tensor.shape)} axes, expected (1, height, width, channels)",
                "reshape it before the layer",
            )
        return tensor.map

    def extents(self, *values: int) -> None:
        """Checks kernels, strides and the like."""
        if any(not 1 <= x <= LARGEST_EXTENT for x in values):
            raise InputError(f"{self.name} has a kernel, stride, dilation or padding out of range: {values}")


def node_of(model: ModelFile, index: int, kind: str, expected: int) -> Node:
    """An operator of the file that has one output."""
    (node,) = nodes_of(model, index, kind, expected)
    return node


def nodes_of(model: ModelFile, index: int, kind: str, expected: int, many: bool = False) -> list[Node]:
    """An operator of the file, once for each of its outputs.

    Args:
        kind: its name in the table.
        expected: its member of the schema's union of options, 0 for none that matters.
        many: whether it may have several outputs.

    Raises:
        InputError: where it does not fit together.
    """
    table = model.operators[index]
    code = model.code(table)
    name = f"operator {index} ({code})"
    inputs, outputs = tuple(model.inputs(index)), tuple(model.outputs(index))
    for number in inputs:
        if number != -1:
            model.checked(number)
    for number in outputs:
        model.checked(number)
    if not (outputs if many else len(outputs) == 1) or not inputs:
        raise InputError(f"{name} has {len(inputs)} inputs and {len(outputs)} outputs")
    options = table.table(schema.OPERATOR_OPTIONS) if expected else None
    if options is not None and table.number(schema.OPERATOR_OPTIONS_TYPE, "B") != expected:
        raise InputError(f"{name} has the options of another operator")
    return [Node(model, kind, code, index, inputs, x, options, outputs) for x in outputs]
