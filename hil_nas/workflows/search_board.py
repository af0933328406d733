"""The board that a search is for: who answers, what its latency model says, what it measures, what it has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hil_nas.config import SearchConfig
from hil_nas.device.device import Device
from hil_nas.device.replies import Identity
from hil_nas.errors import InputError
from hil_nas.folders import Folders
from hil_nas.front_ends import FrontEnd
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.store import model_folder
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.network import Network
from hil_nas.workflows.footprint import Footprint, measure_footprint
from hil_nas.workflows.measure import folder_name, latency_ms, measure_front_ends, measure_network, provenance_of
from hil_nas.workflows.patience import PatientBoard


@dataclass(frozen=True)
class SearchBoard:
    """An open board and its latency model.

    Attributes:
        config: of the search; its budget holds here.
    """

    board: PatientBoard
    identity: Identity
    model: LatencyModel
    config: SearchConfig

    @classmethod
    def of(cls, board: PatientBoard, config: SearchConfig, folders: Folders) -> SearchBoard:
        """Asks who answers, and loads the latency model that holds for it.

        Raises:
            InputError: where there is none, or for a latency limit on a clock that gives no time.
        """
        identity: Identity = board.do(lambda device: device.identify())
        if latency_ms(identity.clock_kind, identity.clock_hz, 1.0) is None and config.budget.max_latency_s:
            raise InputError(
                f"{config.board} counts {identity.clock_kind}, so --max-latency means nothing there",
                hint="use @virtual or the board itself, or leave out --max-latency",
            )
        provenance = provenance_of(identity)
        rows = model_folder(folder_name(identity), provenance, folders.models, folders.shipped_models)
        return cls(board, identity, LatencyModel.load(rows, expected=provenance), config)

    def milliseconds(self, cycles: float) -> float | None:
        """Cycles as milliseconds; None on a clock that gives no time."""
        return latency_ms(self.identity.clock_kind, self.identity.clock_hz, cycles)

    def limits(self, footprint: Footprint) -> Limits:
        """The budget in the board's units; where it is silent or beyond, what the board takes is the limit."""
        budget, ram, flash = self.config.budget, *footprint.most_bytes(self.identity)
        cycles = None if budget.max_latency_s is None else budget.max_latency_s * self.identity.clock_hz
        most = (min(budget.max_ram_bytes or ram, ram), min(budget.max_flash_bytes or flash, flash))
        return Limits(cycles, *most, latency_s=budget.max_latency_s)

    def expect_inputs(self, configs: Sequence[FrontEnd]) -> None:
        """Refuse what the board takes no network for."""
        for config in configs:
            if config.output_bytes > self.identity.input_bytes:
                raise InputError(
                    f"{config} gives {config.frames} x {config.columns} features, {self.config.board} takes at "
                    f"most {self.identity.input_bytes}", hint="choose a longer hop or fewer coefficients",
                )  # fmt: skip

    def footprint(self, configs: Sequence[FrontEnd]) -> Footprint:
        """Measured, with these front ends."""
        return self.board.do(lambda device: measure_footprint(device, configs))

    def cycles(self, network: Network) -> float:
        """Measured, without a front end."""
        total, _ = self.board.do(lambda device: measure_network(device, self.identity, network))
        return float(total.median_cycles)

    def cost(self, network: Network, config: FrontEnd) -> Cost:
        """Measured, with its front end."""

        def measure(device: Device) -> Cost:
            own = measure_network(device, self.identity, network)[0].median_cycles
            front_end = next(measure_front_ends(device, self.identity, [config])).median_cycles
            memory = device.memory()
            return Cost(own + front_end * self.config.price_front_end, memory.ram_bytes, memory.flash_bytes)

        return self.board.do(measure)

    def predicted(self, network: Network, config: FrontEnd, footprint: Footprint) -> dict[str, Any]:
        """By the latency model and the planner, as result.json says it."""
        # A front end that a gradient found may lie beyond those measured for the model; its own was measured first.
        front_end, own = self.model.extrapolated_front_end_cycles(config), self.model.network_cycles(network)
        return {
            "latency_ms": self.milliseconds(front_end + own),
            "front_end_ms": self.milliseconds(front_end),
            "network_ms": self.milliseconds(own),
            "front_end_cycles": round(front_end),
            "network_cycles": round(own),
            "network_spread_percent": 100 * self.model.network_spread(network),
            "ram_bytes": footprint.ram(network, config),
            "flash_bytes": footprint.flash(network, config),
        }
