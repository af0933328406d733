"""The size of a plan: what a network takes in flash beside the executor's code."""

from __future__ import annotations

from hil_nas.cost.macs import operator_parameters
from hil_nas.network import Network, Operator

HEADER_BYTES = 64  # struct plan_header
OPERATOR_BYTES = 128  # struct plan_op
CONSTANT_ALIGNMENT_BYTES = 32  # a line of the STM32L4's flash cache: weights then miss it alike, wherever they lie
_INT32_BYTES = 4
_CONCATENATION_ENTRY_BYTES = 8


def plan_bytes(network: Network) -> int:
    """Exactly the length of the network's lowered plan, constants included."""
    total = HEADER_BYTES
    for operator in network.operators():
        if operator.layer.kind != "reshape":
            total += OPERATOR_BYTES + sum(constant_room(x) for x in _constant_bytes(operator))
    return total


def constant_room(size_bytes: int) -> int:
    """What constants of a size take in a plan, the gap to the next ones included."""
    return -(-size_bytes // CONSTANT_ALIGNMENT_BYTES) * CONSTANT_ALIGNMENT_BYTES


def _constant_bytes(operator: Operator) -> list[int]:
    """Weights, biases, multipliers and shifts of one operator."""
    weights, biases = operator_parameters(operator)
    if operator.layer.kind in ("conv", "depthwise"):
        return [weights, *[_INT32_BYTES * biases] * 3]
    if operator.layer.kind == "fully_connected":
        return [weights, _INT32_BYTES * biases]
    if operator.layer.kind == "concatenation":
        return [_CONCATENATION_ENTRY_BYTES * len(operator.inputs)]
    return []
