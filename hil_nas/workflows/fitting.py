"""Whether a board takes a network: the sums that its firmware makes as it is loaded, made before it is sent.

Where things lie in the board's RAM and flash is decided in `boards/src/slots.c`; how much there is, the board says.
"""

from __future__ import annotations

from math import prod

from hil_nas.cost.arena import aligned, arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.cost.macs import network_macs
from hil_nas.cost.tflm_arena import tflm_arena
from hil_nas.deploy.plan import MAX_OPERATORS
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.firmware import USUAL_ENGINE
from hil_nas.device.replies import Identity, Where
from hil_nas.front_ends import FrontEnd
from hil_nas.latency.kernel_work import is_executed
from hil_nas.network import Network

WEIGHTS: Where = "flash"  # where products keep them
MOST_MACS = 60_000_000  # of what runs in seconds


def fits(network: Network, identity: Identity, beside: FrontEnd | None = None, weights: Where = WEIGHTS) -> bool:
    """Whether the board takes a network.

    Args:
        beside: a front end that is loaded too, its tables in flash; None for a network alone.
        weights: where the network's constants are put.
    """
    stored, arena = stored_bytes(network, identity.engine), arena_of(network, identity.engine)
    in_ram = aligned(stored) if weights == "ram" else 0
    front_end = 0 if beside is None else front_end_ram_bytes(beside)
    return (
        prod(network.input_shape) <= identity.input_bytes
        and _operators(network, identity.engine) <= MAX_OPERATORS
        and (weights == "ram" or stored <= identity.store_bytes)
        and in_ram + front_end + arena <= identity.pool_bytes
    )


def is_measured(network: Network, identity: Identity) -> bool:
    """Whether a measurement plan takes a network that it has sampled: the board takes it, and runs it in seconds."""
    return network_macs(network) <= MOST_MACS and fits(network, identity)


def front_end_ram_bytes(config: FrontEnd) -> int:
    """What a front end takes of the board's RAM while its tables lie in flash: features and scratch."""
    return aligned(config.output_bytes) + aligned(config.scratch_bytes)


def arena_of(network: Network, engine: str) -> int:
    """The arena that an engine takes for a network with random weights."""
    return arena_bytes(network) if engine == USUAL_ENGINE else tflm_arena(network, converted=False).arena_bytes


def stored_bytes(network: Network, engine: str) -> int:
    """What a network takes in flash: its plan, or its .tflite."""
    return plan_bytes(network) if engine == USUAL_ENGINE else len(write_tflite(random_graph(network, 0)))


def _operators(network: Network, engine: str) -> int:
    """A reshape is none in a plan, and one in a .tflite."""
    return sum(engine != USUAL_ENGINE or is_executed(x) for x in network.operators())
