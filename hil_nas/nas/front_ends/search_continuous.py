"""The search without a list: a `tiny` supernet trained by the loop, the front end its continuous variable.

What it ends at is rounded to what a device has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hil_nas.front_ends import FrontEnd
from hil_nas.learning.accelerator import accelerator
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.front_ends.anchors import AnchorCosts, FrontEndCosts, FrontEndSpace, holds
from hil_nas.nas.front_ends.point import ClipSet, ContinuousFrontEnd, ContinuousSettings, Extract
from hil_nas.nas.search_loop import Loop
from hil_nas.nas.tiny.band import Band
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.derive import feasible_configs
from hil_nas.nas.tiny.expected import ExpectedCost, average_cycles
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.nas.tiny.strategy import FILLED, TinyNetworks

_JUDGES = 8  # batches that judge a rounding


@dataclass(frozen=True)
class FrontEndResult:
    """What a search for a front end found.

    Attributes:
        config: what a device can do, and some network on it holds the limits.
        point: window and hop in samples and coefficients, before rounding.
        history: one entry an epoch, as `on_epoch` got them.
    """

    config: FrontEnd
    point: tuple[float, float, float]
    history: tuple[dict[str, Any], ...]


def search_front_end(
    space: FrontEndSpace,
    tiny: TinySpace,
    extract: Extract,
    train: ClipSet,
    validation: ClipSet,
    costs: FrontEndCosts,
    limits: Limits,
    settings: ContinuousSettings,
    *,
    seed: int,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: torch.device | None = None,
) -> FrontEndResult:
    """Finds the front end on which networks recognise best within the limits.

    Args:
        tiny: the networks; its configurations are not used.
        extract: the differentiable front end.
        train, validation: disjoint sets of clips; the first trains weights, the second alpha and the front end.
        on_epoch, checkpoint, resume: as `Loop.run` takes them.
        device: where the supernet is trained; None: a GPU where there is one.

    Raises:
        InfeasibleError: where no network holds the limits on the cheapest configuration; before anything is trained.
        RunError: where the checkpoint is of another search.
    """
    feasible_configs(costs.table(replace(tiny, configs=(space.cheapest,))), limits)
    device = device or accelerator()
    whole = FrontEndSearch(space, tiny, extract, train, validation, costs, limits, settings, seed, device)
    identity = {
        "space": asdict(space),
        "networks": {**tiny.to_json(), "configs": []},
        "costs": whole.anchors.digest,
        "limits": asdict(limits),
        "settings": asdict(settings),
        "seed": seed,
        "train": train.digest(),
        "validation": validation.digest(),
    }
    whole.loop.run(identity, on_epoch=on_epoch, checkpoint=checkpoint, resume=resume)
    return whole.result()


class FrontEndSearch:
    """The parts of a search for a front end; its construction trains nothing."""

    def __init__(
        self,
        space: FrontEndSpace,
        tiny: TinySpace,
        extract: Extract,
        train: ClipSet,
        validation: ClipSet,
        costs: FrontEndCosts,
        limits: Limits,
        settings: ContinuousSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        self.space, self.costs, self.limits, self.settings, self.device = space, costs, limits, settings, device
        self.tiny = replace(tiny, configs=(space.config(*space.start[:2], space.coefficients[1]),))
        generator = torch.Generator().manual_seed(seed)
        self.anchors = AnchorCosts(space, tiny, costs).to(device)
        table = self.anchors.table
        worth = settings.worth / table.most_parameters
        average = average_cycles(table)
        band, full = Band(table, limits, settings.band, average, worth), Band(table, limits, FILLED, average)
        self.networks = TinyNetworks(self.tiny, settings, band, full, settings.paths, generator, device)
        self.front_end = ContinuousFrontEnd(
            space, self.networks, self.anchors, extract, train, validation, limits, settings, generator, device
        )
        self.loop = Loop(self.networks, self.front_end, limits, generator, device)

    def result(self) -> FrontEndResult:
        """The mean of the last epoch as the configuration that supernet and exact costs say most for."""
        window, hop, coefficients = self.front_end.mean_point()
        tables = {x: self.table(x) for x in self.space.roundings(window, hop, coefficients)}
        held = [x for x, table in tables.items() if holds(table, self.limits)]
        config = min(held, key=lambda x: self.objective(x, tables[x])) if held else self._cheaper(hop)
        return FrontEndResult(config, (window, hop, coefficients), tuple(self.loop.history))

    def objective(self, config: FrontEnd, table: CostTable) -> float:
        """Validation loss with the exact cost's penalty, on the same batches and draws for every configuration."""
        generator = torch.Generator().manual_seed(0)
        numbers = [config.window_samples, config.hop_samples, config.columns]
        point = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        indices = torch.arange(len(self.front_end.clips["validation"]), device=self.device)
        batches = torch.split(indices, self.settings.batch)[:_JUDGES]
        exact = ExpectedCost(table).to(self.device)
        with torch.no_grad():
            readings = [self.front_end.at(point, "validation", x, self.front_end.expected) for x in batches]
            losses = [self.networks.loss(x, "train", generator) for x in readings]
            penalty = self.loop.multipliers.penalty(exact(self.networks.probabilities()))
            return float(torch.stack(losses).mean() + penalty)

    def table(self, config: FrontEnd) -> CostTable:
        """The networks on one configuration."""
        return self.costs.table(replace(self.tiny, configs=(config,)))

    def _cheaper(self, hop: float) -> FrontEnd:
        """Where no rounding holds the limits: the first of ever cheaper configurations that does, else the cheapest."""
        for config in self.space.cheaper_than(hop):
            if holds(self.table(config), self.limits):
                return config
        return self.space.cheapest
