"""Pools, and the largest of a run of values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hil_nas.operators.description import LayerRules, OperatorType, PlanKind
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.lowering import Lowering
from hil_nas.operators.node import ACTIVATION_CODES, Node
from hil_nas.operators.reductions import read_reduction, reduced_axes, write_reduction
from hil_nas.operators.windows import keras_window, plan_window, pooled_output, read_window, write_window
from hil_nas.tflite.tensor import QuantTensor
from hil_nas.tflite.writing import Field


def _read_pool(node: Node) -> QuantOperator:
    node.arity(1, 1)
    node.same_scale()
    return read_window(node, (node.option(4, "i"), node.option(3, "i")), activation=5)


def _write_pool(x: QuantOperator, source: QuantTensor, target: QuantTensor) -> list[Field]:
    kernel: list[Field] = [(3, "Int32", x.kernel[1]), (4, "Int32", x.kernel[0])]
    return [*write_window(x, source, target), *kernel, (5, "Int8", ACTIVATION_CODES[x.activation])]


def _lower_pool(_: Lowering, x: QuantOperator) -> dict[str, Any]:
    return {**plan_window(x), "output_offset": 0}


def _read_reduce_max(node: Node) -> QuantOperator:
    x = read_reduction(node)
    node.same_scale()
    return x


AVERAGE_POOL = OperatorType(
    name="average_pool",
    codes=("AVERAGE_POOL_2D",),
    options=5,
    read=_read_pool,
    plan=PlanKind("average_pool", 4),
    lower=_lower_pool,
    write=_write_pool,
    layer=LayerRules(
        output=pooled_output,
        keras=lambda layers, x, **common: layers.AveragePooling2D(x.layer.kernel, **keras_window(x), **common),
        windowed=True,
        rounds=True,
        options=(40, 4),
        kept_bytes=36,
    ),
)
MAX_POOL = OperatorType(
    name="max_pool",
    codes=("MAX_POOL_2D",),
    options=5,
    read=_read_pool,
    plan=PlanKind("max_pool", 5),
    lower=_lower_pool,
    write=_write_pool,
    layer=LayerRules(
        output=pooled_output,
        keras=lambda layers, x, **common: layers.MaxPooling2D(x.layer.kernel, **keras_window(x), **common),
        windowed=True,
        options=(40, 4),
        kept_bytes=36,
    ),
)
REDUCE_MAX = OperatorType(
    name="reduce_max",
    codes=("REDUCE_MAX",),
    options=27,
    read=_read_reduce_max,
    plan=MAX_POOL.plan,
    as_kernel=lambda x, _: replace(x, kind=MAX_POOL.name, kernel=(1, x.reduced[1])),
    write=write_reduction,
    given=reduced_axes,
)
OPERATORS = (AVERAGE_POOL, MAX_POOL, REDUCE_MAX)
