"""From alpha and beta to one network: the most preferred cells that hold every limit. No torch.

Without limits every node keeps the two edges of the largest beta * alpha, each with its likeliest operator (`none`
left out). With limits, every node is a question whose answers are its pairs of edges and operators; values, cycles
and flash of the answers add up, so that HiGHS solves the integer programme. RAM depends on all answers together.
Edges that no arena within the limit can hold are left out; what was solved is priced exactly, and where its arena is
too large its wiring is excluded and the programme solved again, at last with leaner edges alone.

Prices pull on alpha during the search, and a mean cost at the limit can have an argmax of skips and pools far below it:
then the most preferred network that uses the budget is taken instead, where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint
from scipy.sparse import csr_array

from hil_nas.errors import InfeasibleError
from hil_nas.nas.costs.integer_programme import chosen
from hil_nas.nas.costs.network_limits import Cost, Limits, infeasible
from hil_nas.nas.darts.cost_table import DartsCostTable
from hil_nas.nas.darts.genotype import CHOICES, Cell, DartsGenotype, Edge
from hil_nas.nas.darts.space import CELL_KINDS, OPERATORS, DartsSpace

Floats = NDArray[np.float64]
# How many bounds on an edge's RAM are tried, and how many wirings under each before the next, lower one.
_LEVELS, _TRIES = 5, 4
# Edges may share layers, which sums over edges count twice: a network may fall short of the least cycles by this share.
_SHARED = 0.1
_ROUNDING = 1e-10  # of sums taken in another order: a network that exactly fills a limit holds it


@dataclass(frozen=True)
class DartsPreference:
    """Log-probabilities of every choice.

    Attributes:
        configs: (configs,).
        alpha: (kinds of cells, edges, operators).
        beta: (kinds of cells, edges).
    """

    configs: Floats
    alpha: Floats
    beta: Floats

    @classmethod
    def none(cls, space: DartsSpace) -> DartsPreference:
        """Every choice alike."""
        shape = (len(CELL_KINDS), len(space.edges))
        return cls(np.zeros(len(space.configs)), np.zeros((*shape, len(OPERATORS))), np.zeros(shape))


@dataclass(frozen=True)
class Answer:
    """A pair of edges that a node may keep, with its sums; RAM is that of the lean network which has one of them."""

    kind: int
    node: int
    edges: tuple[Edge, Edge]
    value: float
    cycles: float
    flash_bytes: float
    ram_bytes: float

    @property
    def needs(self) -> tuple[float, float, float]:
        return (self.cycles, self.ram_bytes, self.flash_bytes)

    @property
    def wiring(self) -> tuple[int, int]:
        return (self.edges[0].source, self.edges[1].source)


def most_preferred(preference: DartsPreference, space: DartsSpace, config: int) -> DartsGenotype:
    """The argmax, whatever it costs: the two best edges of every node by beta * alpha."""
    cells = []
    for k in range(len(CELL_KINDS)):
        score = preference.beta[k] + preference.alpha[k, :, 1:].max(1)
        nodes = []
        for node in range(space.nodes):
            into = space.edges_of(node)
            best = sorted(np.argsort(-score[list(into)], kind="stable")[:2].tolist())
            chosen = [Edge(s, CHOICES[int(preference.alpha[k, into[s], 1:].argmax())]) for s in best]
            nodes.append((chosen[0], chosen[1]))
        cells.append(Cell(tuple(nodes)))
    return _genotype(space, config, cells[0], cells[1])


def derive_darts(
    cost_table: DartsCostTable, preference: DartsPreference, limits: Limits, least_cycles: float = 0.0
) -> tuple[DartsGenotype, int]:
    """The most preferred cells that were found to hold every limit, on the configuration that gamma prefers.

    Where none hold them there, on the next configuration by gamma. Configuration and cells are not preferred
    together: a dear front end would fill the band below the limit by itself and leave the cells to skips.

    Args:
        least_cycles: front end included; networks that need fewer are taken only where none needs as many.

    Raises:
        InfeasibleError: where no configuration has such cells; the message names the nearest.
    """
    for config in map(int, np.argsort(-preference.configs, kind="stable")):
        if not isfinite(preference.configs[config]):
            break
        genotype = _best_of(cost_table, preference, limits, config, least_cycles)
        if genotype is not None:
            return genotype, config
    raise _infeasible(cost_table, limits)


def feasible_darts_configs(cost_table: DartsCostTable, limits: Limits) -> tuple[int, ...]:
    """The configurations on which a network holds every limit.

    Raises:
        InfeasibleError: where there is none.
    """
    alike = DartsPreference.none(cost_table.space)
    configs = range(len(cost_table.space.configs))
    feasible = tuple(g for g in configs if _best_of(cost_table, alike, limits, g) is not None)
    if not feasible:
        raise _infeasible(cost_table, limits)
    return feasible


def answers(cost_table: DartsCostTable, preference: DartsPreference, config: int) -> list[Answer]:
    """Every answer of every node."""
    every, ram = [], cost_table.arena[config] + cost_table.front_end_ram[config]
    for k in range(len(CELL_KINDS)):
        cycles, flash = cost_table.cycles.edges[config, k], cost_table.flash.edges[config, k]
        liked = preference.beta[k][:, None] + preference.alpha[k]
        for node in range(cost_table.space.nodes):
            into = cost_table.space.edges_of(node)
            for s, t in combinations(range(len(into)), 2):
                for a, one in enumerate(CHOICES, start=1):
                    for b, other in enumerate(CHOICES, start=1):
                        value, time, size = (float(x[into[s], a] + x[into[t], b]) for x in (liked, cycles, flash))
                        most = float(max(ram[k, into[s], a], ram[k, into[t], b]))
                        every.append(Answer(k, node, (Edge(s, one), Edge(t, other)), value, time, size, most))
    return every


def _best_of(
    cost_table: DartsCostTable, preference: DartsPreference, limits: Limits, config: int, least_cycles: float = 0.0
) -> DartsGenotype | None:
    """The most preferred network of one configuration that was found to hold the limits, using the budget if it can."""
    best = most_preferred(preference, cost_table.space, config)
    if not limits.held_by(cost_table.cost(best, config)):
        every = _allowed(cost_table, preference, limits, config)
        cheap = _solved(cost_table, limits, config, _undominated(every), 0.0)
        if cheap is None:
            return None
        best = cheap
    if cost_table.cost(best, config).cycles >= least_cycles:
        return best
    # more cycles are needed: a costly answer that is little preferred may help, so that none is dropped as dominated
    return _solved(cost_table, limits, config, _allowed(cost_table, preference, limits, config), least_cycles) or best


def _allowed(cost_table: DartsCostTable, preference: DartsPreference, limits: Limits, config: int) -> list[Answer]:
    return [x for x in answers(cost_table, preference, config) if x.ram_bytes <= limits.values()[1]]


def _solved(
    cost_table: DartsCostTable, limits: Limits, config: int, every: list[Answer], least_cycles: float
) -> DartsGenotype | None:
    """The network of the highest value among those answers that was found to hold the limits."""
    cycles, most, flash = limits.values()
    always = [float(x.front_end[config] + x.fixed[config]) for x in (cost_table.cycles, cost_table.flash)]
    left = (cycles * (1 + _ROUNDING) - always[0], flash * (1 + _ROUNDING) - always[1])
    for level in _levels(every):
        group = [x for x in every if x.ram_bytes <= level]
        excluded: list[NDArray[np.bool_]] = []
        for _ in range(_TRIES):
            taken = _solve(group, left, least_cycles - always[0], excluded)
            if taken is None:
                break
            chosen = [group[i] for i in taken]
            genotype = _assembled(cost_table.space, config, chosen)
            cost = cost_table.cost(genotype, config)
            if limits.held_by(cost) and cost.cycles >= least_cycles * (1 - _SHARED):
                return genotype
            wiring = {(x.kind, x.node, x.wiring) for x in chosen}
            if cost.ram_bytes > most:
                excluded.append(np.array([(x.kind, x.node, x.wiring) in wiring for x in group]))
            else:  # within the solver's tolerance of a limit
                excluded.append(np.isin(np.arange(len(group)), taken))
    return None


def _levels(every: list[Answer]) -> list[float]:
    """Bounds on the RAM of an edge that are tried one after the other, from the highest to the lowest."""
    sizes = sorted({x.ram_bytes for x in every}, reverse=True)
    return [sizes[i] for i in sorted({round(x) for x in np.linspace(0, len(sizes) - 1, _LEVELS)})] if sizes else []


def _undominated(every: list[Answer]) -> list[Answer]:
    """Without answers that another of the same wiring beats in value, cycles, flash and RAM."""
    groups: dict[tuple[int, int, tuple[int, int]], list[Answer]] = {}
    for x in sorted(every, key=lambda x: (-x.value, x.cycles, x.flash_bytes)):
        kept = groups.setdefault((x.kind, x.node, x.wiring), [])
        if not any(all(a <= b for a, b in zip(y.needs, x.needs, strict=True)) for y in kept):
            kept.append(x)
    return [x for kept in groups.values() for x in kept]


def _solve(
    group: list[Answer], left: tuple[float, float], least_cycles: float, excluded: list[NDArray[np.bool_]]
) -> list[int] | None:
    """The integer programme: one answer of every node, sums within what is left; None where there are none."""
    if min(left) <= 0:
        return None
    questions = sorted({(x.kind, x.node) for x in group})
    row = [questions.index((x.kind, x.node)) for x in group]
    count = len(group)
    once = csr_array((np.ones(count), (row, range(count))), shape=(len(questions), count))
    rows = [LinearConstraint(once, 1.0, 1.0)]
    for sums, limit in zip(([x.cycles for x in group], [x.flash_bytes for x in group]), left, strict=True):
        if isfinite(limit):
            rows.append(LinearConstraint(np.array([sums]) / limit, -np.inf, 1.0))
    if least_cycles > 0:
        rows.append(LinearConstraint(np.array([[x.cycles for x in group]]) / least_cycles, 1.0, np.inf))
    if excluded:
        rows.append(LinearConstraint(np.array(excluded, dtype=float), -np.inf, len(questions) - 1.0))
    value = np.array([x.value for x in group])
    taken = chosen(value, rows)
    return None if taken is None else taken.tolist()


def _assembled(space: DartsSpace, config: int, chosen: list[Answer]) -> DartsGenotype:
    nodes = {(x.kind, x.node): x.edges for x in chosen}
    normal, reduction = (Cell(tuple(nodes[k, n] for n in range(space.nodes))) for k in range(len(CELL_KINDS)))
    return _genotype(space, config, normal, reduction)


def _genotype(space: DartsSpace, config: int, normal: Cell, reduction: Cell) -> DartsGenotype:
    align = space.align_operation(space.configs[config])
    return DartsGenotype(normal, reduction, space.cells, space.channels, align, space.classes)


def _infeasible(cost_table: DartsCostTable, limits: Limits) -> InfeasibleError:
    """The error that names the nearest point that was found for every limit that is out of reach alone."""
    broken = []
    for resource, limit in enumerate(limits.values()):
        costs = [_least(cost_table, resource, g).values()[resource] for g in range(len(cost_table.space.configs))]
        config = int(np.argmin(costs))
        if costs[config] > limit:
            broken.append((resource, costs[config], cost_table.space.configs[config]))
    return infeasible(limits, broken)


def _least(cost_table: DartsCostTable, resource: int, config: int) -> Cost:
    """The cost of the network whose nodes each need least of a resource."""
    alike = DartsPreference.none(cost_table.space)
    best: dict[tuple[int, int], Answer] = {}
    for x in sorted(answers(cost_table, alike, config), key=lambda x: (x.needs[resource], x.cycles)):
        best.setdefault((x.kind, x.node), x)
    return cost_table.cost(_assembled(cost_table.space, config, list(best.values())), config)
