"""The `tiny` space in the search's hands: its supernet, its draws, its cost table and its derivation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.protocols import AS_LEARNED, Logits, View, digest, entropy, logs_of, made
from hil_nas.nas.schedule import Schedule
from hil_nas.nas.settings import Settings
from hil_nas.nas.tiny.architecture import Probabilities
from hil_nas.nas.tiny.chain_graph import Preference
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.derive import derive, feasible_configs
from hil_nas.nas.tiny.expected import ExpectedCost
from hil_nas.nas.tiny.genotype import TinyGenotype
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.supernet import TinySupernet

_WIDE = 5.0  # what a network with e times the channels in one layer gains, as a log-probability


class TinyNetworks:
    """Chains as the loop trains them; as `nas.protocols.Networks`.

    Args:
        temperature: of the samples, at first, behind the warm-up and at last.
        generator: where the first weights come from.
        feasible: configurations that can hold the limits; None: all.
    """

    def __init__(
        self,
        space: TinySpace,
        settings: Settings,
        temperature: tuple[float, float, float],
        generator: torch.Generator,
        device: torch.device,
        feasible: Sequence[int] | None = None,
    ) -> None:
        self.space, self.settings, self.device, self._temperature = space, settings, device, temperature
        self._schedule = Schedule(settings.epochs, settings.warmup_epochs)
        self.net = TinySupernet(space, generator, feasible).to(device)

    def weight_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, self.settings.weight_rate, weight_decay=self.settings.weight_decay)

    def draw(self, generator: torch.Generator, epoch: int) -> Logits:
        drawn = self.net.architecture.draw(generator, self._schedule.falling(self._temperature, epoch))
        return lambda x: self.net.mixture(x, drawn)

    def probabilities(self) -> Probabilities:
        return self.net.architecture.probabilities(self.net.alignment.weights())


class TinyStrategy(TinyNetworks):
    """As `nas.protocols.Strategy`; points are `Choice`s.

    Args:
        cost_table: of the space to search.
        generator: where the first weights come from.

    Raises:
        InfeasibleError: where no network holds the limits.
    """

    settings: TinySettings

    def __init__(
        self,
        cost_table: CostTable,
        settings: TinySettings,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.cost_table, self.feasible = cost_table, feasible_configs(cost_table, limits)
        super().__init__(cost_table.space, settings, settings.temperature, generator, device, self.feasible)

    def identity(self) -> dict[str, Any]:
        tables = (self.cost_table.cycles, self.cost_table.ram, self.cost_table.flash)
        parts = [p for x in tables for p in (x.front_end, x.align, x.stem, x.chain, x.head)]
        return {"space": {"name": "tiny", **self.space.to_json()}, "costs": digest(parts)}

    def expected_cost(self, ratio: float) -> Callable[[], Expectation]:
        expected = ExpectedCost(self.cost_table.corrected(ratio)).to(self.device)
        return lambda: expected(self.probabilities())

    def preference(self, view: View[Choice] = AS_LEARNED) -> Preference:
        """Log-probabilities as they stand; those of samples and neighbours prefer width itself to alpha's widths.

        Weights that all widths share undervalue size: below a limit alpha prefers chains longer and narrower than
        those that then learn best, and samples of its operations, each as wide as the limit leaves room, beat it.
        """
        with torch.no_grad():
            now = self.probabilities()
        configs, stem, widths, operations = logs_of(now.configs, now.stem, now.widths, now.operations)
        if view.noise is not None or view.around is not None:
            channels = np.asarray(self.space.widths)
            widths = np.broadcast_to(_WIDE * np.log(channels / channels[-1]), widths.shape)
        if (point := view.around) is not None:
            stem = made(stem.shape, (point.stem[0],))
            operations = made(operations.shape, *enumerate(o for o, _ in point.chain))
        return Preference(view.configs(configs), *map(view.disturbed, (stem, widths, operations)))

    def derive(self, ratio: float, limits: Limits, view: View[Choice] = AS_LEARNED) -> Choice:
        return derive(self.cost_table.corrected(ratio), self.preference(view), limits)

    def at(self, point: Choice) -> tuple[TinyGenotype, FrontEnd]:
        return self.space.at(point)

    def cost(self, point: Choice, ratio: float) -> Cost:
        return self.cost_table.corrected(ratio).cost(point)

    def network_cycles(self, point: Choice) -> float:
        return self.cost_table.network_cycles(point)

    def figures(self, point: Choice) -> dict[str, Any]:
        with torch.no_grad():
            now = self.probabilities()
        named = {"gamma": now.configs, "stem": now.stem, "operations": now.operations, "widths": now.widths}
        skip = self.net.architecture.group("skip")
        return {
            "derived_positions": len(self.at(point)[0].chain),
            "skip_share": float(now.operations[:, skip].sum(1).mean()),
            "entropy": {name: entropy(x) for name, x in named.items()},
        }
