"""Softmax over the last axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hil_nas.errors import UnsupportedError
from hil_nas.operators import requantize
from hil_nas.operators.description import LayerRules, OperatorType, PlanKind, only
from hil_nas.operators.functions import fixed_scale, read_function
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.layer import Shape
from hil_nas.operators.limits import check_extents
from hil_nas.operators.lowering import Lowering
from hil_nas.operators.node import Node
from hil_nas.tflite.model_file import finite

_MOST_CLASSES = 511  # with more the reference softmax would shift by more than 31


def _read(node: Node) -> QuantOperator:
    fixed_scale(node, 1 / 256, -128)
    return replace(read_function(node), beta=finite(node.option(0, "f"), f"{node.name}'s beta"))


def _check(x: QuantOperator, source: Shape, target: Shape) -> None:
    check_extents(x, source, target)
    if source[2] > _MOST_CLASSES:
        raise UnsupportedError(
            f"{x.name} is over {source[2]} classes, at most {_MOST_CLASSES} are run",
            hint="leave it out: the largest output is the same without it",
        )


def _lower(lowering: Lowering, x: QuantOperator) -> dict[str, Any]:
    factor, least = requantize.softmax_parameters(x.beta, lowering.tensors[x.inputs[0]].scale)
    return {"input_multipliers": (factor.multiplier, 0), "input_shifts": (factor.shift, 0), "left_shift": least}


SOFTMAX = OperatorType(
    name="softmax",
    codes=("SOFTMAX",),
    options=9,
    read=_read,
    plan=PlanKind("softmax", 9),
    lower=_lower,
    check=_check,
    write=lambda x, _, __: [(0, "Float32", x.beta)],
    layer=LayerRules(
        output=only,
        keras=lambda layers, _, **common: layers.Softmax(**common),
        scale="fixed",
        options=(4, 4),
        kept_bytes=64,
    ),
)
OPERATORS = (SOFTMAX,)
