"""What is said of an operator, in one place: in a .tflite, in a plan, and in a network where networks have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError
from hil_nas.operators.int8 import Constant, QuantOperator
from hil_nas.operators.layer import Layer, Operator, Shape
from hil_nas.operators.lowering import Lowering
from hil_nas.operators.node import Node
from hil_nas.tflite.tensor import QuantTensor
from hil_nas.tflite.writing import Field

CONSTANTS = ("weights", "bias", "multipliers", "shifts")  # of an operator, as they follow each other in a plan
Given = Constant | NDArray[np.int32]
OutputShape = Callable[[Layer, tuple[Shape, ...]], Shape]


@dataclass(frozen=True)
class PlanKind:
    """What the device runs for an operator, or for several.

    Attributes:
        name, code: as in `enum plan_kind` of boards/include/plan.h and on the wire.
        most_left_shift: of the output's scaling, for which no value leaves 32 bits (boards/src/kernels/plain).
    """

    name: str
    code: int
    most_left_shift: int = 31


@dataclass(frozen=True, kw_only=True)
class LayerRules:
    """An operator that networks have.

    Attributes:
        output: the shape it gives for the shapes it reads; raises InputError where they do not fit together.
        keras: (keras.layers, the operator, name and activation) -> a Keras layer; None for one that is not trained and
            converted, as a network that takes one step of a stream is made of one that has been.
        weights: (layer, source) -> the shape of its weights, in the file's order without axes of 1; output channels
            first, but for a depthwise kernel, whose channels are last.
        per_channel: whether weights have a scale, and so a multiplier and a shift, per output channel.
        windowed: whether kernel and stride mean something.
        fuses_relu: whether a ReLU can be part of it.
        scale: of its output: its own, that of what it reads, or one that never changes.
        rounds: whether its output is rounded; what only moves or compares values is not.
        spread: standard deviation of the output before a ReLU, for random inputs of these.
        options: size and alignment in bytes of its parameters in TensorFlow Lite Micro's interpreter, None for one that
            is several operators there
        kept_bytes: and what its kernel keeps there.
    """

    output: OutputShape
    keras: Callable[..., Any] | None = None
    weights: Callable[[Layer, Shape], tuple[int, ...]] | None = None
    per_channel: bool = False
    windowed: bool = False
    fuses_relu: bool = False
    scale: Literal["own", "kept", "fixed"] = "kept"
    rounds: bool = False
    spread: Callable[[Sequence[float]], float] = max
    options: tuple[int, int] | None = None
    kept_bytes: int = 0

    def weights_shape(self, operator: Operator) -> tuple[int, ...]:
        """() where it has none."""
        return self.weights(operator.layer, operator.inputs[0]) if self.weights else ()


def whole_maps(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> tuple[Shape, Shape]:
    """The maps that are read and written; of a reduction those of its runs of values, see `QuantOperator.reduced`."""
    if any(x.reduced):
        return x.reduced, (x.reduced[0], 1, x.reduced[2])
    return source.map, target.map


@dataclass(frozen=True, kw_only=True)
class OperatorType:
    """One row of the table.

    Attributes:
        name: everywhere but in a .tflite.
        codes: what a .tflite calls it, the one that is written first; none where it is a pattern of several there.
        options: its member of the schema's union of options, 0 for none that matters.
        read: from a file; raises InputError and UnsupportedError. None where it has no code.
        plan: None where nothing runs, as the output is the input under another name.
        lower: the fields of `struct plan_op` that differ from the default, and constants by the names of CONSTANTS.
        as_kernel: the same bits as another operator, where it has no kernel of its own for these tensors.
        maps: the shapes that the plan has.
        write: its options in a file as (operator, source, target) -> fields; None where it is not written.
        given: inputs in a file that are no tensors of a graph, but for weights, by their place: axes, bounds, amounts.
        layer: None where no network has it.
        many_outputs: whether in a file it may have several, each of which is read as an operator of its own.
    """

    name: str
    codes: tuple[str, ...]
    options: int = 0
    read: Callable[[Node], QuantOperator] | None = None
    plan: PlanKind | None
    lower: Callable[[Lowering, QuantOperator], dict[str, Any]] = lambda _, __: {}
    as_kernel: Callable[[QuantOperator, QuantTensor], QuantOperator] = lambda x, _: x
    maps: Callable[[QuantOperator, QuantTensor, QuantTensor], tuple[Shape, Shape]] = whole_maps
    write: Callable[[QuantOperator, QuantTensor, QuantTensor], list[Field]] | None = None
    given: Callable[[QuantOperator, QuantTensor, QuantTensor], dict[int, Given]] = lambda _, __, ___: {}
    layer: LayerRules | None = None
    many_outputs: bool = False


def only(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """The one shape that a layer reads.

    Raises:
        InputError: where it reads several.
    """
    if len(inputs) != 1:
        raise InputError(f"{layer.kind} reads one tensor, not {len(inputs)}")
    return inputs[0]
