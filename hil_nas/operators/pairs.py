"""Operators of two tensors, value by value: an extent of 1 stands for all, and one of the two may be constant."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from hil_nas.errors import InputError
from hil_nas.operators import requantize
from hil_nas.operators.description import Given, LayerRules, OperatorType, PlanKind
from hil_nas.operators.int8 import Constant, QuantOperator
from hil_nas.operators.layer import Layer, Shape
from hil_nas.operators.lowering import Lowering, output_factor
from hil_nas.operators.node import ACTIVATION_CODES, Node
from hil_nas.tflite.refusals import HINT_INT8
from hil_nas.tflite.tensor import QuantTensor, array_of
from hil_nas.tflite.writing import Field


def _read_arithmetic(node: Node) -> QuantOperator:
    return replace(_read_pair(node), activation=node.activation(0))


def _read_choice(node: Node) -> QuantOperator:
    """The larger or the smaller of two values: the bytes are compared as they are."""
    x, target = _read_pair(node), node.target()
    inputs = [(one.scale, one.zero_point) for one in map(node.model.activation, x.inputs)]
    inputs += [(x.constant.scale, x.constant.zero_point)] if x.constant else []
    if set(inputs) != {(target.scale, target.zero_point)}:
        raise node.refuse("has an input and an output of different scales", "convert it with TensorFlow 2.21")
    return x


def _read_pair(node: Node) -> QuantOperator:
    node.arity(2, 2)
    constants = [x for x in (_constant(node, i) for i in (0, 1)) if x is not None]
    if len(constants) == 2:
        raise node.refuse("has two constant inputs", "convert it again: the converter computes such a value itself")
    constant = constants[0] if constants else None
    computed = [i for i in (0, 1) if constant is None or i != constant.position]
    shapes = [node.source(i).map for i in computed] + [x.values.shape for x in constants]
    target = node.target().map
    try:
        given = np.broadcast_shapes(*shapes)
    except ValueError:
        raise InputError(f"{node.name} cannot pair {shapes[0]} and {shapes[1]}") from None
    if given != target:
        raise InputError(f"{node.name} gives {given}, but its output tensor has the shape {target}")
    inputs = tuple(node.inputs[i] for i in computed)
    return QuantOperator(node.kind, inputs, node.output, constant=constant)


def _constant(node: Node, position: int) -> Constant | None:
    """An input with values of its own; its shape is padded to that of a map."""
    number = node.inputs[position]
    values = node.model.constant(number) if number >= 0 else None
    if values is None:
        return None
    if values.dtype != np.int8:
        raise node.refuse(f"has a constant input {position} that is not int8", HINT_INT8)
    shape = (1, 1, 1, 1, *values.shape)[-max(4, values.ndim) :]
    if len(shape) > 4 or shape[0] != 1:
        raise node.refuse(f"has a constant input {position} of shape {values.shape}", "give it up to 3 axes")
    tensor = node.model.scaled(number, values.shape)
    whole: Shape = (shape[1], shape[2], shape[3])
    return Constant(array_of(values.reshape(whole), np.int8), tensor.scale, tensor.zero_point, position)


def _lower_sum(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    pair = _pair(lowering, x)
    inputs, output = requantize.add_multipliers((pair[0].scale, pair[1].scale), lowering.tensors[x.output].scale)
    return {
        **_operands(lowering, x, pair),
        "input_multipliers": tuple(f.multiplier for f in inputs),
        "input_shifts": tuple(f.shift for f in inputs),
        "left_shift": requantize.ADD_LEFT_SHIFT,
        **output_factor(output),
    }


def _lower_mul(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    pair = _pair(lowering, x)
    factor = requantize.product_multiplier((pair[0].scale, pair[1].scale), lowering.tensors[x.output].scale)
    return {**_operands(lowering, x, pair), **output_factor(factor)}


def _lower_choice(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    return {**_operands(lowering, x, _pair(lowering, x)), "input_offsets": (0, 0), "output_offset": 0}


def _pair(lowering: Lowering, x: QuantOperator) -> list[QuantTensor | Constant]:
    """Both inputs, tensors or a constant, in the operator's order."""
    pair: list[QuantTensor | Constant] = [lowering.tensors[i] for i in x.inputs]
    if x.constant is not None:
        pair.insert(x.constant.position, x.constant)
    return pair


def _operands(lowering: Lowering, x: QuantOperator, pair: list[QuantTensor | Constant]) -> dict[str, Any]:
    """Where the inputs stand, their shapes and zero points."""
    arena = [lowering.offsets[i] for i in x.inputs]
    constants = {}
    if x.constant is not None:
        arena.insert(x.constant.position, 0)
        constants[("weights", "bias")[x.constant.position]] = x.constant.values
    shapes = [one.values.shape if isinstance(one, Constant) else one.map for one in pair]
    return {
        "input_count": 2,
        "inputs": tuple(arena),
        "in_shape": shapes[0],
        "second_shape": shapes[1],
        "input_offsets": (-pair[0].zero_point, -pair[1].zero_point),
        **constants,
    }


def _add_output(layer: Layer, inputs: tuple[Shape, ...]) -> Shape:
    """The shape of both inputs, which must be equal: a network has no constants, and nothing is broadcast in it."""
    if len(inputs) != 2 or inputs[0] != inputs[1]:
        raise InputError(f"{layer.kind} cannot join {inputs}")
    return inputs[0]


def _given(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> dict[int, Given]:
    return {} if x.constant is None else {x.constant.position: x.constant}


def _write_activation(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    return [(0, "Int8", ACTIVATION_CODES[x.activation])]


ADD = OperatorType(
    name="add",
    codes=("ADD",),
    options=11,
    read=_read_arithmetic,
    plan=PlanKind("add", 6, 0),
    lower=_lower_sum,
    write=_write_activation,
    given=_given,
    layer=LayerRules(
        output=_add_output,
        keras=lambda layers, _, **common: layers.Add(**common),
        fuses_relu=True,
        scale="own",
        rounds=True,
        spread=lambda levels: sqrt(sum(x * x for x in levels)),
        options=(2, 1),
        kept_bytes=60,
    ),
)
SUB = OperatorType(
    name="sub",
    codes=("SUB",),
    options=28,
    read=_read_arithmetic,
    plan=PlanKind("sub", 10, 0),
    lower=_lower_sum,
    write=_write_activation,
    given=_given,
)
MUL = replace(SUB, name="mul", codes=("MUL",), options=21, plan=PlanKind("mul", 11, 14), lower=_lower_mul)
MAXIMUM = OperatorType(
    name="maximum",
    codes=("MAXIMUM",),
    read=_read_choice,
    plan=PlanKind("maximum", 15),
    lower=_lower_choice,
    write=lambda _, __, ___: [],
    given=_given,
)
MINIMUM = replace(MAXIMUM, name="minimum", codes=("MINIMUM",), plan=PlanKind("minimum", 16))
OPERATORS = (ADD, SUB, MUL, MAXIMUM, MINIMUM)
