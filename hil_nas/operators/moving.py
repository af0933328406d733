"""Operators that move values: concatenation, reshapes, transposes, slices, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from hil_nas.errors import InputError, UnsupportedError
from hil_nas.operators.description import LayerRules, OperatorType, PlanKind, only
from hil_nas.operators.int8 import Moved, QuantOperator
from hil_nas.operators.layer import Layer, Shape
from hil_nas.operators.limits import HINT_SMALLER, LARGEST_EXTENT
from hil_nas.operators.lowering import Lowering
from hil_nas.operators.moving_inputs import amounts_of_pad, bounds_of_slice, order_of_axes, write_slice
from hil_nas.operators.node import Node
from hil_nas.operators.slicing import Slice, part_of, slices_of

_COPY = PlanKind("copy", 14)


def _read_concatenation(node: Node) -> QuantOperator:
    node.arity(2, 64)
    shapes = [node.source(i).shape for i in range(len(node.inputs))]
    rank, axis = len(shapes[0]), node.option(0, "i")
    axis += rank if axis < 0 else 0
    if not 1 <= axis < rank or len({(*x[:axis], *x[axis + 1 :]) for x in shapes}) != 1:
        raise InputError(f"{node.name} cannot join {shapes} along axis {axis}")
    if node.activation(1) != "none":
        raise node.refuse("has a fused activation", "put the activation before the concatenation")
    for position in range(len(node.inputs)):
        node.same_scale(position)
    node.expect((*shapes[0][:axis], sum(x[axis] for x in shapes), *shapes[0][axis + 1 :]))
    return QuantOperator(node.kind, node.inputs, node.output, axis=axis)


def _read_reshape(node: Node) -> QuantOperator:
    """RESHAPE, EXPAND_DIMS and SQUEEZE: other names for the same bytes."""
    node.arity(1, 2)
    node.same_scale()
    source, target = node.source().shape, node.target().shape
    if prod(source) != prod(target):
        raise InputError(f"{node.name} reshapes {source} to {target}")
    if node.code == "RESHAPE" and len(node.inputs) == 2 and node.inputs[1] >= 0:
        requested = node.numbers(1).reshape(-1).tolist()
        if len(requested) != len(target) or any(x not in (-1, y) for x, y in zip(requested, target, strict=True)):
            raise InputError(f"{node.name} is asked for {requested}, but its output tensor has the shape {target}")
    return QuantOperator(RESHAPE.name, node.inputs[:1], node.output)


def _read_transpose(node: Node) -> QuantOperator:
    node.arity(2, 2)
    node.same_scale()
    source, order = node.source().shape, node.numbers(1).reshape(-1).tolist()
    if sorted(order) != list(range(len(source))):
        raise InputError(f"{node.name} orders the axes of {source} as {order}")
    node.expect(tuple(source[x] for x in order))
    steps = _steps(source)
    return _copy(node, node.kind, 0, [source[x] for x in order], [steps[x] for x in order])


def _read_slice(node: Node) -> QuantOperator:
    """STRIDED_SLICE and SLICE."""
    node.arity(*((4, 4) if node.code == "STRIDED_SLICE" else (3, 3)))
    node.same_scale()
    return _copy_of(node, slices_of(node, node.source().shape))


def _read_split(node: Node) -> QuantOperator:
    """One output of SPLIT, whose axis comes first, or of SPLIT_V."""
    source = 1 if node.code == "SPLIT" else 0
    node.arity(*((2, 2) if node.code == "SPLIT" else (3, 3)))
    node = replace(node, inputs=(node.inputs[source], *node.inputs[:source], *node.inputs[source + 1 :]))
    node.same_scale()
    shape = node.source().shape
    axes = node.numbers(len(node.inputs) - 1).reshape(-1).tolist()
    axis = axes[0] + (len(shape) if axes and axes[0] < 0 else 0) if len(axes) == 1 else -1
    if not 0 <= axis < len(shape):
        raise InputError(f"{node.name} splits {shape} along axes {axes}")
    extents = [node.model.shape(x)[axis : axis + 1] for x in node.outputs]
    if any(not x for x in extents) or sum(x[0] for x in extents) != shape[axis]:
        raise InputError(f"{node.name} splits {shape} along axis {axis} into {extents}")
    begin = sum(x[0] for x in extents[: node.outputs.index(node.output)])
    return _copy_of(node, part_of(node, shape, axis, begin))


def _copy_of(node: Node, slices: Sequence[Slice]) -> QuantOperator:
    source = node.source().shape
    node.expect(tuple(x.count for x in slices if not x.dropped))
    steps = _steps(source)
    start = sum(x.begin * y for x, y in zip(slices, steps, strict=True))
    kept: list[tuple[Slice, int]] = [(x, y) for x, y in zip(slices, steps, strict=True) if not x.dropped]
    # whatever it is called in the file: one part of a split is a slice
    return _copy(node, STRIDED_SLICE.name, start, [x.count for x, _ in kept], [x.step * y for x, y in kept])


def _read_pad(node: Node) -> QuantOperator:
    node.arity(2, 3)
    node.same_scale()
    source, value = node.source().shape, node.target().zero_point
    amounts = node.numbers(1)
    if amounts.shape != (len(source), 2):
        raise InputError(f"{node.name} pads {source} by amounts of shape {amounts.shape}")
    if np.any(amounts < 0) or np.any(amounts[[0, -1]] != 0):
        raise node.refuse("pads the batch or the channels, or by negative amounts", "pad along time or frequency alone")
    if len(node.inputs) == 3:
        given = node.model.constant(node.inputs[2]) if node.inputs[2] >= 0 else None
        if given is None or given.dtype != np.int8 or given.size != 1:
            raise node.refuse("has no constant int8 pad value", "pad by a constant")
        value = int(given.reshape(-1)[0])
    node.expect(tuple(int(x + y.sum()) for x, y in zip(source, amounts, strict=True)))
    (top, _), (left, _) = [[0, 0], [0, 0], *amounts.tolist()][-3:-1]
    node.extents(top + 1, left + 1)
    return QuantOperator(node.kind, node.inputs[:1], node.output, padding=(top, left), pad_value=value)


def _steps(shape: Sequence[int]) -> list[int]:
    """From value to value along each axis."""
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def _copy(node: Node, kind: str, start: int, shape: list[int], steps: list[int]) -> QuantOperator:
    """A copy value by value, or no operator at all where every value stays in its place."""
    if start == 0 and prod(shape) == prod(node.source().shape):
        moved = [(x, y) for x, y in zip(shape, steps, strict=True) if x > 1]
        if [y for _, y in moved] == _steps([x for x, _ in moved]):
            return QuantOperator(RESHAPE.name, node.inputs[:1], node.output)
    node.target()
    height, width, channels = [0, 0, 0, *steps][-3:]  # where there are fewer axes, the others' extents are 1
    return QuantOperator(kind, node.inputs[:1], node.output, moved=Moved(start, (height, width, channels)))


def _lower_concatenation(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    """Outer steps are the axes before the joined one; in each, one run of bytes per input."""
    outer = prod(lowering.tensors[x.output].shape[: x.axis])
    if outer > LARGEST_EXTENT:
        raise UnsupportedError(f"{x.name} joins in {outer} steps, at most {LARGEST_EXTENT} are run", hint=HINT_SMALLER)
    table = [(lowering.offsets[i], lowering.tensors[i].elements // outer) for i in x.inputs]
    return {
        "inputs": (0, 0),
        "in_shape": (outer, 0, 0),
        "output_offset": 0,
        "weights": np.array(table, np.uint32),
    }


def _lower_copy(_: Lowering, x: QuantOperator) -> dict[str, Any]:
    return {"output_offset": 0, "weights": np.array([x.moved.start, *x.moved.steps], np.uint32)}


def _lower_pad(_: Lowering, x: QuantOperator) -> dict[str, Any]:
    return {"padding": x.padding, "input_offsets": (x.pad_value, 0), "output_offset": 0}


def _concatenated(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    if len(inputs) < 2 or len({x[:2] for x in inputs}) != 1:
        raise InputError(f"{layer.kind} cannot join {inputs}")
    return (*inputs[0][:2], sum(x[2] for x in inputs))


def _reshaped(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    source = only(layer, inputs)
    if layer.shape is None or prod(layer.shape) != prod(source):
        raise InputError(f"{layer.kind} from {source} to {layer.shape} changes the number of elements")
    return layer.shape


CONCATENATION = OperatorType(
    name="concatenation",
    codes=("CONCATENATION",),
    options=10,
    read=_read_concatenation,
    plan=PlanKind("concatenation", 7),
    lower=_lower_concatenation,
    write=lambda x, _, __: [(0, "Int32", x.axis)],
    layer=LayerRules(
        output=_concatenated,
        keras=lambda layers, _, **common: layers.Concatenate(**common),
        options=(8, 4),
        kept_bytes=24,
    ),
)
RESHAPE = OperatorType(
    name="reshape",
    codes=("RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
    read=_read_reshape,
    plan=None,
    write=lambda _, __, ___: [],
    layer=LayerRules(
        output=_reshaped, keras=lambda layers, x, **common: layers.Reshape(x.output, **common), options=(36, 4)
    ),
)
TRANSPOSE = OperatorType(
    name="transpose",
    codes=("TRANSPOSE",),
    read=_read_transpose,
    plan=_COPY,
    lower=_lower_copy,
    write=lambda _, __, ___: [],
    given=order_of_axes,
)
STRIDED_SLICE = OperatorType(
    name="strided_slice",
    codes=("STRIDED_SLICE",),
    options=32,
    read=_read_slice,
    plan=_COPY,
    lower=_lower_copy,
    write=write_slice,
    given=bounds_of_slice,
)
SLICE = OperatorType(name="slice", codes=("SLICE",), read=_read_slice, plan=_COPY, lower=_lower_copy)
SPLIT = OperatorType(
    name="split", codes=("SPLIT_V", "SPLIT"), read=_read_split, plan=_COPY, lower=_lower_copy, many_outputs=True
)
PAD = OperatorType(
    name="pad",
    codes=("PAD", "PADV2"),
    read=_read_pad,
    plan=PlanKind("pad", 8),
    lower=_lower_pad,
    write=lambda _, __, ___: [],
    given=amounts_of_pad,
)
OPERATORS = (CONCATENATION, RESHAPE, TRANSPOSE, STRIDED_SLICE, SLICE, SPLIT, PAD)
