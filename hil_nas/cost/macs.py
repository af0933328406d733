"""Multiply-accumulates and parameters."""

from __future__ import annotations

from math import prod

from hil_nas.network import Network, Operator
from hil_nas.operators.table import layer_rules


def operator_macs(operator: Operator) -> int:
    """Multiply-accumulates of one inference; taps that fall on padding count, as is usual in the field.

    At every position of the output each weight multiplies once; an operator without weights has 0.
    """
    return prod(operator.output[:2]) * operator_parameters(operator)[0]


def operator_parameters(operator: Operator) -> tuple[int, int]:
    """(int8 weights, int32 biases) of one operator; both 0 for kinds without any."""
    shape = layer_rules(operator.layer.kind).weights_shape(operator)
    return (prod(shape), operator.output[2]) if shape else (0, 0)


def network_macs(network: Network) -> int:
    """Multiply-accumulates of one inference."""
    return sum(operator_macs(x) for x in network.operators())


def parameters(network: Network) -> int:
    """Weights and biases, batch norm folded."""
    return sum(sum(operator_parameters(x)) for x in network.operators())
