"""An operator as cells of a table, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, cast

from hil_nas.network import INPUT, Layer, Operator, Pair, Shape, output_shape
from hil_nas.operators.table import BY_NAME


def operator_of(row: dict[str, str]) -> Operator:
    """
    Raises:
        ValueError: for cells that are no operator.
    """
    inputs = tuple(_shape(x) for x in row["inputs"].split("+"))
    output = _shape(row["output"])
    kind, padding, relu = row["operator"], row["padding"], row["relu"]
    if kind not in BY_NAME or padding not in ("same", "valid") or relu not in ("0", "1"):
        raise ValueError(f"'{kind}' with padding '{padding}' and relu '{relu}' is no operator")
    layer = Layer(
        kind=kind,
        inputs=(INPUT,) * len(inputs),  # the wiring costs nothing and is not kept
        out_channels=output[2] if kind in ("conv", "fully_connected") else 0,
        kernel=_pair(row["kernel"]),
        stride=_pair(row["stride"]),
        dilation=_pair(row["dilation"]),
        padding=cast(Literal["same", "valid"], padding),
        relu=relu == "1",
        shape=output if kind == "delay" else None,
    )
    if output_shape(layer, inputs) != output:
        raise ValueError(f"a {kind} of {inputs} does not give {output}")
    return Operator(layer, inputs, output)


def cells_of(operator: Operator) -> dict[str, str]:
    """By column; the wiring is not kept."""
    layer = operator.layer
    return {
        "operator": layer.kind,
        "inputs": "+".join(joined(x, "x") for x in operator.inputs),
        "output": joined(operator.output, "x"),
        "kernel": joined(layer.kernel, "x"),
        "stride": joined(layer.stride, "x"),
        "dilation": joined(layer.dilation, "x"),
        "padding": layer.padding,
        "relu": "1" if layer.relu else "0",
    }


def joined(values: Sequence[int], separator: str = " ") -> str:
    return separator.join(str(x) for x in values)


def _shape(text: str) -> Shape:
    if not re.fullmatch(r"\d+x\d+x\d+", text):
        raise ValueError(f"'{text}' is no shape")
    height, width, channels = (int(x) for x in text.split("x"))
    return (height, width, channels)


def _pair(text: str) -> Pair:
    if not re.fullmatch(r"\d+x\d+", text):
        raise ValueError(f"'{text}' is no pair")
    first, second = (int(x) for x in text.split("x"))
    return (first, second)
