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
from hil_nas.streaming import step_network
from hil_nas.workflows.footprint import Footprint, measure_footprint
from hil_nas.workflows.measure import folder_name, latency_ms, measure_front_ends, measure_network, provenance_of
from hil_nas.workflows.measure_stream import measure_decision, measure_stream_footprint
from hil_nas.workflows.memory_lines import listening_ram_lines
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
        given = {"--max-latency": config.budget.max_latency_s, "--max-load": config.budget.max_load}
        named = " and ".join(name for name, limit in given.items() if limit is not None)
        if named and latency_ms(identity.clock_kind, identity.clock_hz, 1.0) is None:
            raise InputError(
                f"{config.board} counts {identity.clock_kind}, so {named} means nothing there",
                hint=f"use @virtual or the board itself, or leave out {named}",
            )
        provenance = provenance_of(identity)
        rows = model_folder(folder_name(identity), provenance, folders.models, folders.shipped_models)
        return cls(board, identity, LatencyModel.load(rows, expected=provenance), config)

    def milliseconds(self, cycles: float) -> float | None:
        """Cycles as milliseconds; None on a clock that gives no time."""
        return latency_ms(self.identity.clock_kind, self.identity.clock_hz, cycles)

    def limits(self, footprint: Footprint) -> Limits:
        """The budget in the board's units; where it is silent or beyond, what the board takes is the limit."""
        budget, ram, flash = self.config.decided_budget, *footprint.most_bytes(self.identity)
        cycles = None if budget.max_latency_s is None else budget.max_latency_s * self.identity.clock_hz
        most = (min(budget.max_ram_bytes or ram, ram), min(budget.max_flash_bytes or flash, flash))
        return Limits(cycles, *most, latency_s=budget.max_latency_s)

    def expect_inputs(self, configs: Sequence[FrontEnd]) -> None:
        """Refuse what the board takes no network for."""
        for config in configs:
            frames = self.frames(config)
            if frames * config.columns > self.identity.input_bytes:
                raise InputError(
                    f"{config} gives {frames} x {config.columns} features, {self.config.board} takes at "
                    f"most {self.identity.input_bytes}", hint="choose a longer hop or fewer coefficients",
                )  # fmt: skip

    def frames(self, config: FrontEnd) -> int:
        """That a network reads at a time: of a clip, or those that are new in a decision of a stream."""
        period = self.config.period_samples
        return config.frames if period is None else period // config.hop_samples

    def deployed(self, network: Network, config: FrontEnd) -> Network:
        """What runs on the board of a network that reads clips: itself, or its step of a stream."""
        return network if self.config.period_samples is None else step_network(network, self.frames(config))

    def footprint(self, configs: Sequence[FrontEnd], classes: int) -> Footprint:
        """Measured, with these front ends."""
        period = self.config.period_samples
        if period is None:
            return self.board.do(lambda device: measure_footprint(device, configs))
        return self.board.do(lambda device: measure_stream_footprint(device, configs, period, classes))

    def cycles(self, network: Network, config: FrontEnd) -> float:
        """Measured, without a front end."""
        deployed = self.deployed(network, config)
        total, _ = self.board.do(lambda device: measure_network(device, self.identity, deployed))
        return float(total.median_cycles)

    def cost(self, network: Network, config: FrontEnd) -> Cost:
        """Measured, with its front end."""
        return self.board.do(lambda device: self._cost(device, self.deployed(network, config), config))

    def _cost(self, device: Device, network: Network, config: FrontEnd) -> Cost:
        if self.config.period_samples is not None:
            cycles = float(measure_decision(device, network, config))
            memory = device.memory()
            ram_bytes = sum(listening_ram_lines(memory).values())
            if not self.config.price_front_end:
                cycles = float(measure_network(device, self.identity, network)[0].median_cycles)
            return Cost(cycles, ram_bytes, memory.flash_bytes)
        own = measure_network(device, self.identity, network)[0].median_cycles
        front_end = next(measure_front_ends(device, self.identity, [config])).median_cycles
        memory = device.memory()
        return Cost(own + front_end * self.config.price_front_end, memory.ram_bytes, memory.flash_bytes)

    def predicted(self, network: Network, config: FrontEnd, footprint: Footprint) -> dict[str, Any]:
        """By the latency model and the planner, as result.json says it; of a stream for one decision."""
        network = self.deployed(network, config)
        # A front end that a gradient found may lie beyond those measured for the model; its own was measured first.
        # What a decision takes beside its network no model knows: it is as measured.
        front_end, own = self.model.extrapolated_front_end_cycles(config), self.model.network_cycles(network)
        if self.config.period_samples is not None:
            front_end = float(footprint.front_end_cycles[config])
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
