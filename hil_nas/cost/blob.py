"""The size of a plan: what a network takes in flash beside the executor's code."""

from __future__ import annotations

from hil_nas.cost.macs import operator_parameters
from hil_nas.network import Network, Operator
from hil_nas.operators.lowering import constant_room
from hil_nas.operators.table import layer_rules, runs

HEADER_BYTES = 64  # struct plan_header
OPERATOR_BYTES = 128  # struct plan_op
_INT32_BYTES = 4


def plan_bytes(network: Network) -> int:
    """Exactly the length of the network's lowered plan, constants included."""
    total = HEADER_BYTES
    for operator in network.operators():
        if runs(operator.layer.kind):
            total += OPERATOR_BYTES + sum(constant_room(x) for x in _constant_bytes(operator))
    return total


def _constant_bytes(operator: Operator) -> list[int]:
    """Weights, biases, multipliers and shifts of one operator, and what else lies beside it."""
    rules = layer_rules(operator.layer.kind)
    weights, biases = operator_parameters(operator)
    words = [_INT32_BYTES * biases] * (3 if rules.per_channel else 1)
    return [weights, *words, rules.plan_constants_bytes(operator)]
