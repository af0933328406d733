"""What a search of chains must beat: the networks with most parameters that fill the limits. Nothing is learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.protocols import AS_LEARNED, Floats, View, digest, made
from hil_nas.nas.tiny.chain_graph import Preference
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.derive import derive, feasible_configs
from hil_nas.nas.tiny.genotype import TinyGenotype
from hil_nas.nas.tiny.space import Choice

_WORTH = 40.0  # of the parameters of the largest network, as a log-probability: noise then costs about a tenth of them


class TinyDerivation:
    """Networks of a cost table within limits, by a preference; as `nas.protocols.Deriving`, points are `Choice`s.

    Raises:
        InfeasibleError: where no network holds the limits.
    """

    def __init__(self, cost_table: CostTable, limits: Limits) -> None:
        self.cost_table, self.space = cost_table, cost_table.space
        self.feasible = feasible_configs(cost_table, limits)

    def identity(self) -> dict[str, Any]:
        table = self.cost_table
        tables = (table.cycles, table.ram, table.state, table.flash)
        parts = [p for x in tables for p in (x.front_end, x.align, x.stem, x.chain, x.head)]
        return {"space": {"name": "tiny", **self.space.to_json()}, "costs": digest(parts)}

    def at(self, point: Choice) -> tuple[TinyGenotype, FrontEnd]:
        return self.space.at(point)

    def cost(self, point: Choice, ratio: float) -> Cost:
        return self.cost_table.corrected(ratio).cost(point)

    def network_cycles(self, point: Choice) -> float:
        return self.cost_table.network_cycles(point)


class MostParameters(TinyDerivation):
    """As `nas.protocols.Deriving`: of the networks that hold the limits, the one with most parameters.

    Gamma is a front end's share of the parameters that its largest network has.
    """

    def __init__(self, cost_table: CostTable, limits: Limits) -> None:
        super().__init__(cost_table, limits)
        sizes, largest = np.zeros(len(self.space.configs)), dict[int, Choice]()
        for config in self.feasible:
            largest[config] = derive(cost_table, self._preference(View(config), 1.0), limits)
            sizes[config] = cost_table.network_parameters(largest[config])
        self._limits, self._largest = limits, largest[int(sizes.argmax())]
        self._most = float(sizes.max())
        self._gammas: Floats = sizes / sizes.sum()

    def gammas(self) -> Floats:
        return self._gammas

    def derive(self, ratio: float, limits: Limits, view: View[Choice] = AS_LEARNED) -> Choice:
        if view is AS_LEARNED and (ratio, limits) == (1.0, self._limits):
            return self._largest
        return derive(self.cost_table.corrected(ratio), self._preference(view, _WORTH / self._most), limits)

    def _preference(self, view: View[Choice], worth: float) -> Preference:
        even = Preference.none(self.cost_table)
        stem, operations = even.stem, even.operations
        if (point := view.around) is not None:
            stem = made(stem.shape, (point.stem[0],))
            operations = made(operations.shape, *enumerate(o for o, _ in point.chain))
        stem, widths, operations = map(view.disturbed, (stem, even.widths, operations))
        return Preference(view.configs(even.configs), stem, widths, operations, worth)
