"""Sums and means over axes that lie beside each other."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from hil_nas.errors import InputError
from hil_nas.operators import requantize
from hil_nas.operators.description import Given, OperatorType, PlanKind
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.lowering import Lowering, output_factor
from hil_nas.operators.node import Node
from hil_nas.tflite.tensor import QuantTensor
from hil_nas.tflite.writing import Field


def read_reduction(node: Node) -> QuantOperator:
    """Reads a reduction as runs of values, each of which becomes one value."""
    node.arity(2, 2)
    source, kept = node.source().shape, bool(node.option(0, "b"))
    axes = {int(x) + (len(source) if x < 0 else 0) for x in node.numbers(1).reshape(-1)}
    if not axes or not axes <= set(range(len(source))):
        raise InputError(f"{node.name} reduces the axes {sorted(axes)} of {source}")
    node.expect(tuple(1 if i in axes else x for i, x in enumerate(source) if kept or i not in axes))
    node.target()
    first, last = min(axes), max(axes)
    if any(source[i] != 1 for i in range(first, last) if i not in axes):
        raise node.refuse(f"reduces the axes {sorted(axes)} of {source}", "reduce axes that lie beside each other")
    runs = (prod(source[:first]), prod(source[first : last + 1]), prod(source[last + 1 :]))
    return QuantOperator(node.kind, node.inputs[:1], node.output, reduced=runs, axes=tuple(sorted(axes)))


def write_reduction(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    """Whether the axes stay, with one value each."""
    return [(0, "Bool", len(source.shape) == len(target.shape))]


def reduced_axes(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> dict[int, Given]:
    return {1: np.array(x.axes, np.int32)}


def _lower(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    """The fields of a plan; a sum is a mean without the division."""
    source, target = lowering.tensors[x.inputs[0]], lowering.tensors[x.output]
    count = x.reduced[1] if x.kind == MEAN.name else 1
    factor = requantize.mean_multiplier(source.scale, target.scale, count)
    return {"input_offsets": (-source.zero_point, 0), **output_factor(factor)}


MEAN = OperatorType(
    name="mean",
    codes=("MEAN",),
    options=27,
    read=read_reduction,
    plan=PlanKind("mean", 13, 6),
    lower=_lower,
    write=write_reduction,
    given=reduced_axes,
)
SUM = replace(MEAN, name="sum", codes=("SUM",))
OPERATORS = (MEAN, SUM)
