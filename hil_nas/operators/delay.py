"""The delay line: the one operator that keeps something from one inference to the next.

It holds the last rows of a stream. Each inference brings some new ones: what was there moves up by so many, the oldest
leave, the new ones are appended. In the beginning, and after a reset, all of it is the tensor's zero point, the real
value 0.
"""

from __future__ import annotations

from math import prod

from hil_nas.errors import InputError
from hil_nas.operators.description import LayerRules, OperatorType, PlanKind, only
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.layer import Layer, Shape
from hil_nas.tflite.tensor import QuantTensor


def time_axis(new: tuple[int, ...], kept: tuple[int, ...]) -> int | None:
    """The axis along which a delay line of shape `kept` takes values of shape `new`: the one in which they differ.

    None where these are no shapes of a delay line, which is longer along one axis and has no values along those before.
    """
    differing = [i for i, (x, y) in enumerate(zip(new, kept, strict=False)) if x != y]
    if len(new) != len(kept) or len(differing) != 1:
        return None
    axis = differing[0]
    return axis if new[axis] < kept[axis] and prod(new[:axis]) == 1 else None


def _maps(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> tuple[Shape, Shape]:
    """Rows of a stream along the height; what stands beside them keeps its two axes where it has them."""
    axis = time_axis(source.shape, target.shape)
    if axis is None:
        raise InputError(f"{x.name} keeps {target.shape} of a stream that brings {source.shape} at a time")
    *outer, channels = (1, *source.shape[axis + 1 :])
    beside = (prod(outer), channels)
    return (source.shape[axis], *beside), (target.shape[axis], *beside)


def _kept(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    source = only(layer, inputs)
    if layer.shape is None or layer.shape[1:] != source[1:] or layer.shape[0] <= source[0]:
        raise InputError(f"{layer.kind} from {source} to {layer.shape} keeps no more rows than are new, or other ones")
    return layer.shape


DELAY = OperatorType(
    name="delay", codes=(), plan=PlanKind("delay", 17), maps=_maps, layer=LayerRules(output=_kept)
)
OPERATORS = (DELAY,)
