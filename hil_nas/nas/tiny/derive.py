"""From probabilities to one network: the most preferred that holds every limit, found exactly. No torch.

Arcs of the space's graph carry log-probabilities and costs. RAM is a maximum along a path, so arcs above the
limit are left out; cycles and flash add up, so that the rest is a shortest path with two resources. A Lagrangian
relaxation removes the arcs that no best path can use, and HiGHS solves the small integer programme that is left.
What it gives is re-priced exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
from scipy.optimize import LinearConstraint
from scipy.sparse import coo_array

from hil_nas.errors import InfeasibleError
from hil_nas.nas.costs.integer_programme import chosen
from hil_nas.nas.costs.network_limits import RESOURCES, Cost, Limits, infeasible
from hil_nas.nas.tiny.chain_graph import Arcs, Floats, Indices, Preference, arcs_of, distances, shortest
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.space import Choice

_TOLERANCE = 1e-6  # of the solver, on rows scaled to 1
_ROUNDING = 1e-10  # of sums taken in another order: a network that exactly fills a limit holds it
_STEPS = 80  # of the relaxation
_DAMPING = 0.97


def derive(table: CostTable, preference: Preference, limits: Limits) -> Choice:
    """The network of the highest log-probability among all that hold every limit.

    Raises:
        InfeasibleError: where no network of the space does; the message names the nearest.
    """
    best: Choice | None = None
    highest, most = -np.inf, _most(table, preference)
    for config in np.argsort(-preference.configs, kind="stable"):
        if preference.configs[config] + most <= highest or not isfinite(preference.configs[config]):
            break
        choice = _best_of(table, preference, limits, int(config))
        if choice is not None and preference.of(choice, table) > highest:
            best, highest = choice, preference.of(choice, table)
    if best is None:
        raise _infeasible(table, limits)
    return best


def _most(table: CostTable, preference: Preference) -> float:
    """An upper bound on a network's log-probability, without its configuration's. Skips and pools have no width."""
    keeps = np.array([x.keeps_width for x in table.space.operations])
    widths = np.where(keeps, 0.0, preference.widths[1:].max(1, keepdims=True))
    chain = (preference.operations + widths).max(1).sum()
    size = table.parameters
    most = size.stem.max() + size.align.max() + table.space.positions * size.chain.max() + size.head.max()
    return float(preference.stem.max() + preference.widths[0].max() + chain + preference.parameter * most)


def cheapest(table: CostTable, resource: int, config: int) -> Choice:
    """The network that needs least of one resource, by its index in `Cost`, on a configuration."""
    arcs = arcs_of(table, Preference.none(table), config)
    path = shortest(arcs, arcs.resource(resource), int(arcs.head.max()) + 1, largest=resource == 1)
    assert path is not None
    return arcs.choice(config, path)


def feasible_configs(table: CostTable, limits: Limits) -> tuple[int, ...]:
    """The configurations on which a network holds every limit.

    Raises:
        InfeasibleError: where there is none.
    """
    preference = Preference.none(table)
    configs = range(len(table.space.configs))
    feasible = tuple(g for g in configs if _best_of(table, preference, limits, g) is not None)
    if not feasible:
        raise _infeasible(table, limits)
    return feasible


def nearest(table: CostTable, limits: Limits) -> list[tuple[str, Choice, Cost]]:
    """For every limit that no network holds: its name, and the network that comes nearest to it.

    Empty where every limit can be held, if not all together.
    """
    broken = []
    for resource, name in enumerate(RESOURCES):
        choices = [cheapest(table, resource, g) for g in range(len(table.space.configs))]
        choice = min(choices, key=lambda x: table.cost(x).values()[resource])
        if table.cost(choice).values()[resource] > limits.values()[resource]:
            broken.append((name, choice, table.cost(choice)))
    return broken


def _infeasible(table: CostTable, limits: Limits) -> InfeasibleError:
    """The error that names the nearest reachable point."""
    broken = [(RESOURCES.index(name), choice, cost) for name, choice, cost in nearest(table, limits)]
    return infeasible(limits, [(i, cost.values()[i], table.space.configs[x.config]) for i, x, cost in broken])


def _best_of(table: CostTable, preference: Preference, limits: Limits, config: int) -> Choice | None:
    """The most preferred network of one configuration that holds the limits; None where none does."""
    front_end = (table.cycles.front_end, table.ram.front_end, table.flash.front_end)
    left = [limit - float(x[config]) for limit, x in zip(limits.values(), front_end, strict=True)]
    if min(left) <= 0:
        return None
    arcs = arcs_of(table, preference, config)
    nodes = int(arcs.head.max()) + 1
    arcs = arcs.kept(arcs.ram_bytes <= left[1])
    sums = (left[0] * (1 + _ROUNDING), left[2] * (1 + _ROUNDING))
    while True:
        path = _most_valuable(arcs, nodes, sums)
        if path is None:
            return None
        choice = arcs.choice(config, path)
        if limits.held_by(table.cost(choice)):
            return choice
        # the solver's tolerance let this path break a limit
        sums = (sums[0] * (1 - _TOLERANCE), sums[1] * (1 - _TOLERANCE))


def _most_valuable(arcs: Arcs, nodes: int, limits: tuple[float, float]) -> Indices | None:
    """The path of the highest value whose cycles and flash hold their limits; None where there is none."""
    free = shortest(arcs, -arcs.value, nodes) if len(arcs.layer) else None
    if free is None or _holds(arcs, free, limits):
        return free
    shares = np.stack([arcs.cycles / limits[0], arcs.flash_bytes / limits[1]])
    least = [shortest(arcs, x, nodes) for x in shares]
    if any(path is None or shares[i, path].sum() > 1 for i, path in enumerate(least)):
        return None
    holding = [path for path in least if path is not None and _holds(arcs, path, limits)]
    multipliers, bound, best = _relaxed(arcs, nodes, shares, holding)
    lowest = -np.inf if best is None else float(arcs.value[best].sum())
    if bound <= lowest + _TOLERANCE**2:
        return best
    # An arc through which no path's relaxed value reaches the best value found is on no better path.
    weight = multipliers @ shares - arcs.value
    ends = distances(arcs, weight, nodes), distances(arcs, weight, nodes, backward=True)
    reach = multipliers.sum() - (ends[0][arcs.tail] + weight + ends[1][arcs.head])
    keep = np.flatnonzero(reach >= lowest - _TOLERANCE)
    solved = _solve(arcs.kept(keep), nodes, shares[:, keep])
    if solved is None:
        return best
    better = keep[solved]
    return better if best is None or arcs.value[better].sum() > lowest else best


def _holds(arcs: Arcs, path: Indices, limits: tuple[float, float]) -> bool:
    return all(needed <= limit for needed, limit in zip(arcs.sums(path), limits, strict=True))


def _relaxed(
    arcs: Arcs, nodes: int, shares: Floats, holding: Sequence[Indices]
) -> tuple[Floats, float, Indices | None]:
    """Multipliers of a low upper bound by Polyak's subgradient steps, the bound, and the best path that holds.

    Args:
        shares: (2, arcs) as shares of their limits.
        holding: paths known to hold both limits.
    """
    multipliers, best, lowest = np.zeros(2), np.zeros(2), np.inf
    best_path = max(holding, key=lambda x: arcs.value[x].sum(), default=None)
    value = -np.inf if best_path is None else float(arcs.value[best_path].sum())
    for step in range(_STEPS):
        path = shortest(arcs, multipliers @ shares - arcs.value, nodes)
        assert path is not None
        slope = shares[:, path].sum(1) - 1
        bound = float(arcs.value[path].sum() - multipliers @ slope)
        if bound < lowest:
            lowest, best = bound, multipliers
        if (slope <= 0).all() and arcs.value[path].sum() > value:
            best_path, value = path, float(arcs.value[path].sum())
        if lowest <= value:
            break
        size = (bound - (lowest - 1.0 if best_path is None else value)) / max(float(slope @ slope), 1e-9)
        multipliers = np.maximum(0.0, multipliers + size * slope * _DAMPING**step)
    return best, lowest, best_path


def _solve(arcs: Arcs, nodes: int, shares: Floats) -> Indices | None:
    """The integer programme: one unit of flow from source to sink, shares of the limits summing to at most 1."""
    count = len(arcs.value)
    columns = np.arange(count)
    ends = np.concatenate([arcs.head, arcs.tail]), np.concatenate([columns, columns])
    flow = coo_array((np.repeat([1.0, -1.0], count), ends), shape=(nodes, count)).tocsr()
    balance = np.zeros(nodes)
    balance[0], balance[-1] = -1.0, 1.0
    rows = [LinearConstraint(flow, balance, balance), LinearConstraint(shares, -np.inf, 1.0)]
    taken = chosen(arcs.value, rows)
    return None if taken is None else taken[np.argsort(arcs.layer[taken])]
