"""Readers of what moves values and of what reduces axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from hil_nas.deploy import schema
from hil_nas.deploy.graph import GraphKind, Moved, QuantOperator
from hil_nas.deploy.slicing import Slice, slices_of
from hil_nas.deploy.tflite_node import Node
from hil_nas.errors import InputError


def read_concatenation(node: Node) -> QuantOperator:
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
    return QuantOperator("concatenation", node.inputs, node.output, axis=axis)


def read_reshape(node: Node) -> QuantOperator:
    """RESHAPE, EXPAND_DIMS and SQUEEZE: other names for the same bytes."""
    node.arity(1, 2)
    node.same_scale()
    source, target = node.source().shape, node.target().shape
    if prod(source) != prod(target):
        raise InputError(f"{node.name} reshapes {source} to {target}")
    if node.code == schema.RESHAPE and len(node.inputs) == 2 and node.inputs[1] >= 0:
        asked = node.numbers(1).reshape(-1).tolist()
        if len(asked) != len(target) or any(x not in (-1, y) for x, y in zip(asked, target, strict=True)):
            raise InputError(f"{node.name} is asked for {asked}, but its output tensor has the shape {target}")
    return QuantOperator("reshape", node.inputs[:1], node.output)


def read_transpose(node: Node) -> QuantOperator:
    node.arity(2, 2)
    node.same_scale()
    source, order = node.source().shape, node.numbers(1).reshape(-1).tolist()
    if sorted(order) != list(range(len(source))):
        raise InputError(f"{node.name} orders the axes of {source} as {order}")
    node.expect(tuple(source[x] for x in order))
    steps = _steps(source)
    return _copy(node, "transpose", 0, [source[x] for x in order], [steps[x] for x in order])


def read_strided_slice(node: Node) -> QuantOperator:
    node.arity(4, 4)
    node.same_scale()
    source = node.source().shape
    slices = slices_of(node, source)
    node.expect(tuple(x.count for x in slices if not x.dropped))
    steps = _steps(source)
    start = sum(x.begin * y for x, y in zip(slices, steps, strict=True))
    kept: list[tuple[Slice, int]] = [(x, y) for x, y in zip(slices, steps, strict=True) if not x.dropped]
    return _copy(node, "strided_slice", start, [x.count for x, _ in kept], [x.step * y for x, y in kept])


def read_pad(node: Node) -> QuantOperator:
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
    return QuantOperator("pad", node.inputs[:1], node.output, padding=(top, left), pad_value=value)


def read_reduction(node: Node) -> QuantOperator:
    """MEAN, SUM and REDUCE_MAX over axes that lie beside each other."""
    node.arity(2, 2)
    source, kept = node.source().shape, bool(node.option(0, "b"))
    axes = {int(x) + (len(source) if x < 0 else 0) for x in node.numbers(1).reshape(-1)}
    if not axes or not axes <= set(range(len(source))):
        raise InputError(f"{node.name} reduces the axes {sorted(axes)} of {source}")
    shape = tuple(1 if i in axes else x for i, x in enumerate(source) if kept or i not in axes)
    node.expect(shape)
    if node.code == schema.REDUCE_MAX:
        node.same_scale()
    node.target()
    first, last = min(axes), max(axes)
    if any(source[i] != 1 for i in range(first, last) if i not in axes):
        raise node.refuse(f"reduces the axes {sorted(axes)} of {source}", "reduce axes that lie beside each other")
    runs = (prod(source[:first]), prod(source[first : last + 1]), prod(source[last + 1 :]))
    return QuantOperator(node.kind, node.inputs[:1], node.output, reduced=runs)


def _steps(shape: Sequence[int]) -> list[int]:
    """From value to value along each axis."""
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def _copy(node: Node, kind: GraphKind, start: int, shape: list[int], steps: list[int]) -> QuantOperator:
    """A copy value by value, or no operator at all where every value stays in its place."""
    if start == 0 and prod(shape) == prod(node.source().shape):
        moved = [(x, y) for x, y in zip(shape, steps, strict=True) if x > 1]
        if [y for _, y in moved] == _steps([x for x, _ in moved]):
            return QuantOperator("reshape", node.inputs[:1], node.output)
    node.target()
    height, width, channels = [0, 0, 0, *steps][-3:]  # where there are fewer axes, the others' extents are 1
    return QuantOperator(kind, node.inputs[:1], node.output, moved=Moved(start, (height, width, channels)))
