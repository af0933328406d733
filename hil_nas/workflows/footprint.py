"""What every product takes beside its network: measured on the board, not assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hil_nas.cost.arena import ALIGNMENT_BYTES
from hil_nas.device.device import Device
from hil_nas.device.firmware import USUAL_ENGINE
from hil_nas.device.replies import Identity
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.network import Network
from hil_nas.workflows.fitting import arena_of, stored_bytes
from hil_nas.workflows.measure import measure_network, run_front_ends
from hil_nas.workflows.measurement_plan import every_kernel


@dataclass(frozen=True)
class Footprint:
    """Bytes that do not depend on the network: firmware, audio, deepest stack; and each front end's own.

    Attributes:
        engine: that runs networks.
        ram_bytes: data, bss and audio, and the stack that the deepest of the kernels takes.
        flash_bytes: the firmware's image.
        front_end_cycles: measured, by configuration: of a clip, or of a stream's decision all beside the network.
        front_end_ram_bytes: scratch and what lies beside the arena, by configuration: the features, or a stream's own.
        front_end_flash_bytes: tables by configuration.
    """

    ram_bytes: int
    flash_bytes: int
    front_end_cycles: dict[FrontEnd, int]
    front_end_ram_bytes: dict[FrontEnd, int]
    front_end_flash_bytes: dict[FrontEnd, int]
    engine: str = USUAL_ENGINE

    def to_json(self) -> dict[str, Any]:
        return {k: {str(c): x for c, x in v.items()} if isinstance(v, dict) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Footprint:
        """The inverse of `to_json`."""
        values: dict[str, Any] = {
            k: {parse_front_end(c): x for c, x in v.items()} if isinstance(v, dict) else v for k, v in data.items()
        }
        return cls(**values)

    def most_bytes(self, identity: Identity) -> tuple[int, int]:
        """RAM and flash of the largest product that the board takes, whichever its front end.

        Less than its memories: the firmware keeps RAM for any input and for a deep stack, and image and plan each
        have a part of the flash.
        """
        gaps_bytes = 2 * (ALIGNMENT_BYTES - 1)  # at most, behind features and scratch
        return self.ram_bytes + identity.pool_bytes - gaps_bytes, self.flash_bytes + identity.store_bytes

    def ram(self, network: Network, config: FrontEnd) -> int:
        """All RAM of a product with this network and front end."""
        return self.ram_bytes + self.front_end_ram_bytes[config] + arena_of(network, self.engine)

    def flash(self, network: Network, config: FrontEnd) -> int:
        """All flash of a product with this network and front end."""
        return self.flash_bytes + self.front_end_flash_bytes[config] + stored_bytes(network, self.engine)


def measure_footprint(device: Device, configs: Sequence[FrontEnd]) -> Footprint:
    """Runs every kernel and every front end, and reads the board's own account of its memory and deepest stack.

    The stack of a kernel does not depend on the sizes it works on, so no network of kernels that ran here goes
    deeper; one that lacks the deepest of them needs less than is said here, by some hundred bytes.

    Raises:
        DeviceError: where the board does not take or run one.
    """
    identity = device.identify()
    run_every_kernel(device, identity)
    front_ends = list(run_front_ends(device, identity, configs))  # the last stays loaded, and with it the audio counts
    memory = device.memory()
    counted = memory.arena_bytes + memory.front_end_scratch_bytes + memory.io_bytes
    tables = memory.plan_bytes + memory.front_end_tables_bytes
    return Footprint(
        memory.ram_bytes - counted,
        memory.flash_bytes - tables,
        {row.config: int(row.median_cycles) for row, _, _ in front_ends},
        {row.config: info.scratch_bytes + info.frames * info.columns for row, info, _ in front_ends},
        {row.config: table_bytes for row, _, table_bytes in front_ends},
        identity.engine,
    )


def run_every_kernel(device: Device, identity: Identity) -> None:
    """Runs each kernel that networks have, for the deepest stack."""
    for network in every_kernel():
        measure_network(device, identity, network)
