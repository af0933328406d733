"""Readers of what computes value by value: functions of one tensor, and sums, differences and products of two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hil_nas.deploy import schema
from hil_nas.deploy.graph import Constant, GraphKind, QuantOperator, array_of
from hil_nas.deploy.model_file import finite
from hil_nas.deploy.refusals import HINT_INT8
from hil_nas.deploy.tflite_node import Node
from hil_nas.errors import InputError
from hil_nas.network import Shape

_CURVES = {schema.LOGISTIC: (1 / 256, -128), schema.TANH: (1 / 128, 0)}  # scale and zero point of the output


def read_function(node: Node) -> QuantOperator:
    """One value in, one out."""
    node.arity(1, 1)
    node.expect(node.source().shape)
    node.target()
    alpha = 0.0
    if node.code == schema.RELU6:
        node.same_scale()
    if node.code == schema.LEAKY_RELU:
        alpha = finite(node.option(0, "f"), f"{node.name}'s alpha")
    kind: GraphKind = "requantize" if node.code == schema.QUANTIZE else node.kind
    return QuantOperator(kind, node.inputs, node.output, alpha=alpha)


def read_curve(node: Node) -> QuantOperator:
    """Functions between fixed bounds, whose output has the one scale that the kernel computes for."""
    _fixed_scale(node, *_CURVES[node.code])
    return read_function(node)


def read_softmax(node: Node) -> QuantOperator:
    _fixed_scale(node, 1 / 256, -128)
    beta = finite(node.option(0, "f"), f"{node.name}'s beta")
    return replace(read_function(node), beta=beta)


def read_pair(node: Node) -> QuantOperator:
    """Add, sub and mul, where an input's extents of 1 stand for all; one of the two may be constant."""
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
    return QuantOperator(node.kind, inputs, node.output, activation=node.activation(0), constant=constant)


def _fixed_scale(node: Node, scale: float, zero_point: int) -> None:
    target = node.target()
    if (target.scale, target.zero_point) != (scale, zero_point):
        raise node.refuse(
            f"has an output of scale {target.scale}, zero point {target.zero_point},"
            f" not 1/{1 / scale:g} and {zero_point}",
            "convert it with TensorFlow 2, which fixes them",
        )


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
