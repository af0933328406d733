"""The size of a plan: what a network takes in flash beside the executor's code."""

from __future__ import annotations

from hil_nas.kernels import call_of, kernel_for
from hil_nas.network import Network
from hil_nas.operators.lowering import constant_room
from hil_nas.operators.table import runs

HEADER_BYTES = 64  # struct plan_header
OPERATOR_BYTES = 128  # struct plan_op


def plan_bytes(network: Network) -> int:
    """Exactly the length of the network's lowered plan, constants included."""
    total = HEADER_BYTES
    for operator in network.operators():
        if runs(operator.layer.kind):
            call = call_of(operator)
            total += OPERATOR_BYTES + sum(constant_room(x) for x in kernel_for(call).constant_bytes(call))
    return total
