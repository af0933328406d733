"""What every product takes beside its network: measured on the board, not assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hil_nas.audio.front_end import HostFrontEnd
from hil_nas.audio.tables import front_end_blob
from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.device.device import Device
from hil_nas.mfcc import MfccConfig
from hil_nas.network import Network
from hil_nas.workflows.profile import measure_front_ends, measure_network


@dataclass(frozen=True)
class Overhead:
    """Bytes that do not depend on the network: firmware, audio, deepest stack; and each front end's own.

    Attributes:
        ram_bytes: without arena and front end.
        flash_bytes: the firmware's image.
        front_end_cycles: measured, by configuration.
        front_end_ram_bytes, front_end_flash_bytes: scratch and tables by configuration.
    """

    ram_bytes: int
    flash_bytes: int
    front_end_cycles: dict[MfccConfig, int]
    front_end_ram_bytes: dict[MfccConfig, int]
    front_end_flash_bytes: dict[MfccConfig, int]

    def to_json(self) -> dict[str, Any]:
        return {k: {str(c): x for c, x in v.items()} if isinstance(v, dict) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Overhead:
        """The inverse of `to_json`."""
        values: dict[str, Any] = {
            k: {MfccConfig.parse(c): x for c, x in v.items()} if isinstance(v, dict) else v for k, v in data.items()
        }
        return cls(**values)

    def ram(self, network: Network, config: MfccConfig) -> int:
        """All RAM of a product with this network and front end."""
        return self.ram_bytes + self.front_end_ram_bytes[config] + arena_bytes(network)

    def flash(self, network: Network, config: MfccConfig) -> int:
        """All flash of a product with this network and front end."""
        return self.flash_bytes + self.front_end_flash_bytes[config] + plan_bytes(network)


def measure_overhead(
    device: Device, host: HostFrontEnd, configs: tuple[MfccConfig, ...], probes: Sequence[Network]
) -> Overhead:
    """Runs every front end and a few networks, and reads the board's own account of its memory and deepest stack.

    Args:
        probes: networks that between them use the space's operators.
    """
    identity = device.identify()
    blobs = {x: front_end_blob(x, 1.0, 0) for x in configs}
    cycles = {x.config: x.median_cycles for x in measure_front_ends(device, identity, configs)}
    for network in probes:
        measure_network(device, identity, network)
    memory = device.memory()
    counted = memory.arena_bytes + memory.front_end_scratch_bytes
    tables = memory.plan_bytes + memory.front_end_tables_bytes
    return Overhead(
        memory.ram_bytes - counted,
        memory.flash_bytes - tables,
        {config: int(count) for config, count in cycles.items()},
        {config: host.scratch_bytes(blob) for config, blob in blobs.items()},
        {config: len(blob) for config, blob in blobs.items()},
    )
