"""What a STRIDED_SLICE, a SLICE or one part of a split takes of each axis."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.errors import InputError
from hil_nas.operators.node import Node

# options of the operator; each bit of a mask stands for an axis
_BEGIN_MASK, _END_MASK, _ELLIPSIS_MASK, _NEW_AXIS_MASK, _SHRINK_MASK, _OFFSET = range(6)


@dataclass(frozen=True)
class Slice:
    """`count` values of an axis, `step` apart; a dropped axis has one and is not in the output's shape."""

    begin: int
    step: int
    count: int
    dropped: bool


def slices_of(node: Node, shape: tuple[int, ...]) -> list[Slice]:
    """One for each axis of the input of a STRIDED_SLICE or a SLICE.

    Raises:
        InputError: where they take nothing, or more than there is.
        UnsupportedError: for slices that go backwards or add axes.
    """
    return _strided(node, shape) if node.code == "STRIDED_SLICE" else _sized(node, shape)


def part_of(node: Node, shape: tuple[int, ...], axis: int, begin: int) -> list[Slice]:
    """One for each axis of the input, for an output that has all but its own part of one axis."""
    count = node.target().shape[axis]
    if begin + count > shape[axis]:
        raise InputError(f"{node.name} takes {begin} to {begin + count} of {shape[axis]} along axis {axis}")
    return [Slice(begin, 1, count, False) if i == axis else Slice(0, 1, x, False) for i, x in enumerate(shape)]


def _sized(node: Node, shape: tuple[int, ...]) -> list[Slice]:
    """A SLICE has no steps, and a size of -1 is all that is left."""
    begins, sizes = (node.numbers(i).reshape(-1).tolist() for i in (1, 2))
    if not len(begins) == len(sizes) == len(shape):
        raise InputError(f"{node.name} slices {shape} from {begins} by sizes of {sizes}")
    counts = [x - begin if size == -1 else size for x, begin, size in zip(shape, begins, sizes, strict=True)]
    if any(begin < 0 or count < 1 or begin + count > x for x, begin, count in zip(shape, begins, counts, strict=True)):
        raise InputError(f"{node.name} slices {shape} from {begins} by sizes of {sizes}")
    return [Slice(begin, 1, count, False) for begin, count in zip(begins, counts, strict=True)]


def _strided(node: Node, shape: tuple[int, ...]) -> list[Slice]:
    begins, ends, steps = (node.numbers(i).reshape(-1).tolist() for i in (1, 2, 3))
    if not len(begins) == len(ends) == len(steps) <= len(shape):
        raise InputError(f"{node.name} slices {shape} from {begins} to {ends} by {steps}")
    if any(node.option(x, "i") for x in (_ELLIPSIS_MASK, _NEW_AXIS_MASK)) or node.option(_OFFSET, "b"):
        raise node.refuse("adds axes or leaves some out by an ellipsis", "slice every axis by begin:end:step")
    whole = [Slice(0, 1, x, False) for x in shape[len(begins) :]]
    return [_slice(node, axis, *x) for axis, x in enumerate(zip(shape, begins, ends, steps, strict=False))] + whole


def _slice(node: Node, axis: int, extent: int, begin: int, end: int, step: int) -> Slice:
    def masked(mask: int) -> bool:
        return bool(node.option(mask, "i") >> axis & 1)

    if step < 1:
        raise node.refuse(f"slices axis {axis} backwards", "slice from the beginning to the end")
    first = 0 if masked(_BEGIN_MASK) else _within(begin, extent)
    if masked(_SHRINK_MASK):
        behind = first + 1
    else:
        behind = extent if masked(_END_MASK) else _within(end, extent)
    count = -(-(behind - first) // step)
    if count < 1 or first >= extent:
        raise InputError(f"{node.name} takes nothing of axis {axis}: {begin} to {end} of {extent}")
    return Slice(first, step, count, masked(_SHRINK_MASK))


def _within(index: int, extent: int) -> int:
    """As Python counts: negative places from the end, beyond the axis its edges."""
    return max(0, min(index + extent if index < 0 else index, extent))
