"""Softmax over the last axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hil_nas.operators import requantize
from hil_nas.operators.description import LayerRules, OperatorType, PlanKind, only
from hil_nas.operators.functions import fixed_scale, read_function
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.lowering import Lowering
from hil_nas.operators.node import Node
from hil_nas.tflite.model_file import finite


def _read(node: Node) -> QuantOperator:
    fixed_scale(node, 1 / 256, -128)
    return replace(read_function(node), beta=finite(node.option(0, "f"), f"{node.name}'s beta"))


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
