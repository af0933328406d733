"""Multiply-accumulates and parameters."""

from __future__ import annotations

from math import prod

from hil_nas.network import Network, Operator


def operator_macs(operator: Operator) -> int:
    """Multiply-accumulates of one inference; taps that fall on padding count, as is usual in the field.

    Only conv, depthwise and fully_connected multiply; every other kind has 0.
    """
    kind, outputs = operator.layer.kind, prod(operator.output)
    if kind == "conv":
        return outputs * prod(operator.layer.kernel) * operator.inputs[0][2]
    if kind == "depthwise":
        return outputs * prod(operator.layer.kernel)
    if kind == "fully_connected":
        return outputs * prod(operator.inputs[0])
    return 0


def operator_parameters(operator: Operator) -> tuple[int, int]:
    """(int8 weights, int32 biases) of one operator; both 0 for kinds without any."""
    channels = operator.output[2]
    if operator.layer.kind == "conv":
        return channels * prod(operator.layer.kernel) * operator.inputs[0][2], channels
    if operator.layer.kind == "depthwise":
        return channels * prod(operator.layer.kernel), channels
    if operator.layer.kind == "fully_connected":
        return channels * prod(operator.inputs[0]), channels
    return 0, 0


def network_macs(network: Network) -> int:
    """Multiply-accumulates of one inference."""
    return sum(operator_macs(x) for x in network.operators())


def parameters(network: Network) -> int:
    """Weights and biases, batch norm folded."""
    return sum(sum(operator_parameters(x)) for x in network.operators())
