"""What a network costs without measuring: pure functions of its description, no torch."""

from hil_nas.cost.arena import ArenaPlan, Buffer, Layout, Step, arena_bytes, plan_buffers, plan_steps
from hil_nas.cost.blob import plan_bytes
from hil_nas.cost.duplicates import without_duplicates
from hil_nas.cost.macs import network_macs, operator_macs, operator_parameters, parameters

__all__ = [
    "ArenaPlan",
    "Buffer",
    "Layout",
    "Step",
    "arena_bytes",
    "network_macs",
    "operator_macs",
    "operator_parameters",
    "parameters",
    "plan_buffers",
    "plan_bytes",
    "plan_steps",
    "without_duplicates",
]
