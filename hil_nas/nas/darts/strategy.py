"""The `darts` space in the search's hands: its supernet, its mixtures, its cost table and its derivation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.darts.cost_table import DartsCostTable
from hil_nas.nas.darts.derive import DartsPreference, derive_darts, feasible_darts_configs
from hil_nas.nas.darts.expected import DartsExpectedCost, skip_share
from hil_nas.nas.darts.genotype import DartsGenotype
from hil_nas.nas.darts.settings import DartsSettings
from hil_nas.nas.darts.space import CELL_INPUTS, CELL_KINDS, OPERATORS
from hil_nas.nas.darts.supernet import DartsProbabilities, DartsSupernet
from hil_nas.nas.protocols import AS_LEARNED, Floats, Half, Reading, View, by_name, digest, entropy, logs_of, made

DartsPoint = tuple[DartsGenotype, int]  # and its configuration


def _source(source: int) -> str:
    return f"input {source + 1}" if source < CELL_INPUTS else f"node {source - CELL_INPUTS + 1}"



class DartsStrategy:
    """As `nas.protocols.Strategy`.

    Args:
        cost_table: of the space to search.
        generator: where the first weights come from.

    Raises:
        InfeasibleError: where no network was found that holds the limits.
    """

    def __init__(
        self,
        cost_table: DartsCostTable,
        settings: DartsSettings,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.cost_table, self.space, self.settings, self.device = cost_table, cost_table.space, settings, device
        self.feasible = feasible_darts_configs(cost_table, limits)
        self.net = DartsSupernet(self.space, generator, self.feasible).to(device)
        with torch.no_grad():
            self._average_cycles = float(self.expected_cost(1.0)().cycles)  # before anything is learned

    def identity(self) -> dict[str, Any]:
        tables = [x for t in (self.cost_table.cycles, self.cost_table.flash) for x in (t.front_end, t.fixed, t.edges)]
        cost_table = digest([*tables, self.cost_table.arena, self.cost_table.front_end_ram])
        return {"space": {"name": "darts", **self.space.to_json()}, "costs": cost_table}

    def weight_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.SGD(weights, settings.weight_rate, settings.momentum, weight_decay=settings.weight_decay)

    def reads(self, half: Half, generator: torch.Generator) -> tuple[int, ...]:
        return self.net.alignment.configs

    def loss(self, reading: Reading, half: Half, generator: torch.Generator) -> Tensor:
        """Of all front ends mixed by gamma, and all operators by alpha or some that are drawn."""
        architecture, count = self.net.architecture, self.settings.drawn
        mixture = architecture.draw(generator, count) if count else architecture.mixture()
        logits = self.net(self.net.alignment(reading.features), mixture)
        return F.cross_entropy(logits.float(), reading.labels)

    def probabilities(self) -> DartsProbabilities:
        return self.net.architecture.probabilities(self.net.alignment.weights())

    def expected_cost(self, ratio: float) -> Callable[[], Expectation]:
        expected = DartsExpectedCost(self.cost_table.corrected(ratio)).to(self.device)
        return lambda: expected(self.probabilities())

    def preference(self, view: View[DartsPoint] = AS_LEARNED) -> DartsPreference:
        """Log-probabilities as they stand, or around a point."""
        with torch.no_grad():
            now = self.probabilities()
        configs, *cells = logs_of(now.configs, now.alpha, now.beta)
        if view.around is not None:
            edges = list(self._edges_of(view.around[0]))
            cells = [made(cells[0].shape, *edges), made(cells[1].shape, *(x[:2] for x in edges))]
        return DartsPreference(view.configs(configs), *map(view.disturbed, cells))

    def _edges_of(self, genotype: DartsGenotype) -> Iterator[tuple[int, int, int]]:
        """(kind of cell, edge, operator) of everything that is kept."""
        for k, kind in enumerate(CELL_KINDS):
            for node, edges in enumerate(genotype.cell(kind).nodes):
                for edge in edges:
                    yield k, self.space.edges_of(node)[edge.source], OPERATORS.index(edge.operator)

    def derive(self, ratio: float, limits: Limits, view: View[DartsPoint] = AS_LEARNED) -> DartsPoint:
        least = min(self.settings.floor * (limits.cycles or 0.0), self._average_cycles)
        return derive_darts(self.cost_table.corrected(ratio), self.preference(view), limits, least)

    def at(self, point: DartsPoint) -> tuple[DartsGenotype, FrontEnd]:
        genotype, config = point
        return genotype, self.space.configs[config]

    def cost(self, point: DartsPoint, ratio: float) -> Cost:
        return self.cost_table.corrected(ratio).cost(*point)

    def network_cycles(self, point: DartsPoint) -> float:
        genotype, config = self.at(point)
        return self.cost_table.network_cycles(genotype.build(config))

    def gammas(self) -> Floats:
        return self.net.alignment.weights().detach().double().cpu().numpy()

    def filling(self, config: int, rng: np.random.Generator) -> None:
        """None of them could be judged."""
        return None

    def regular(self, config: int) -> Sequence[DartsPoint]:
        return ()

    def preferred(self, ratio: float, limits: Limits, count: int) -> tuple[DartsPoint, ...]:
        return ()

    def one_loss(self, point: DartsPoint, features: Tensor, labels: Tensor) -> None:
        """A supernet of mixtures has learned no network by itself."""
        return None

    def figures(self, point: DartsPoint | None) -> dict[str, Any]:
        with torch.no_grad():
            now = self.probabilities()
        return {
            **({} if point is None else {"derived_skips": point[0].skips}),
            "skip_share": skip_share(self.space, now),
            "entropy": {"gamma": entropy(now.configs), "operators": entropy(now.alpha), "edges": self._edges(now)},
            "alpha": {
                f"{kind} cell, node {node + 1} from {_source(source)}": by_name(OPERATORS, now.alpha[k, edge])
                for k, kind in enumerate(CELL_KINDS)
                for edge, (node, source) in enumerate(self.space.edges)
            },
        }

    def _edges(self, now: DartsProbabilities) -> float:
        """The entropy of beta, averaged over nodes."""
        nodes = [now.beta[:, list(self.space.edges_of(n))] for n in range(self.space.nodes)]
        return sum(map(entropy, nodes)) / len(nodes)
