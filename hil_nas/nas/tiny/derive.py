"""From probabilities to one network: the most preferred that holds every limit, found exactly. No torch.

Arcs of the space's graph carry log-probabilities and costs. RAM is a maximum along a path, so arcs above the
limit are left out; cycles and flash add up, so that the rest is a shortest path with two resources. A Lagrangian
relaxation removes the arcs that no best path can use, and HiGHS solves the small integer programme that is left.
What it gives is re-priced exactly.

In a stream three more things add up along a path: what it keeps from one decision to the next, how far its kernels
reach, and the rows that they leave for the average. RAM is then a sum and a maximum, which branches settle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np
from scipy.optimize import LinearConstraint
from scipy.sparse import coo_array

from hil_nas.cost.arena import ALIGNMENT_BYTES
from hil_nas.errors import InfeasibleError
from hil_nas.nas.costs.integer_programme import chosen
from hil_nas.nas.costs.network_limits import RESOURCES, Cost, Limits, infeasible
from hil_nas.nas.tiny.chain_graph import (
    Arcs,
    Floats,
    Indices,
    Preference,
    arcs_of,
    distances,
    shortest,
    window_shares,
)
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


def cheapest(table: CostTable, resource: int, config: int) -> Choice | None:
    """The network that needs least of one resource, by its index in `Cost`, on a configuration; None where a stream's
    window is too short for any."""
    arcs = arcs_of(table, Preference.none(table), config)
    nodes, best, least = int(arcs.head.max()) + 1, None, np.inf
    if resource != 1:
        arcs = replace(arcs, value=-arcs.resource(resource))
        best = _within(arcs, nodes, window_shares(table, config, arcs))
        return None if best is None else arcs.choice(config, best)
    # what is kept and the largest that is worked in: the least kept with ever less to work in
    number = np.arange(len(arcs.layer))
    while (path := _least_kept(table, config, arcs.kept(number), nodes)) is not None:
        path = number[path]
        if (needed := arcs.state_bytes[path].sum() + arcs.ram_bytes[path].max()) < least:
            best, least = path, needed
        number = number[arcs.ram_bytes[number] < min(arcs.ram_bytes[path].max(), least - arcs.state_bytes[path].sum())]
    return None if best is None else arcs.choice(config, best)


def _least_kept(table: CostTable, config: int, arcs: Arcs, nodes: int) -> Indices | None:
    """The path that keeps least in a stream; of whole clips, which keep nothing, the one that works in least."""
    if table.space.period_samples is None:
        return shortest(arcs, arcs.ram_bytes, nodes, largest=True) if len(arcs.layer) else None
    return _within(replace(arcs, value=-arcs.state_bytes), nodes, window_shares(table, config, arcs))


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
        there = [x for x in choices if x is not None]
        if not there:
            continue
        choice = min(there, key=lambda x: table.cost(x).values()[resource])
        if table.cost(choice).values()[resource] > limits.values()[resource]:
            broken.append((name, choice, table.cost(choice)))
    return broken


def _infeasible(table: CostTable, limits: Limits) -> InfeasibleError:
    """The error that names the nearest reachable point."""
    if all(cheapest(table, 0, g) is None for g in range(len(table.space.configs))):
        return InfeasibleError(
            "beside a decision's new frames the window has too few for any kernel of the space",
            hint="decide more often",
        )
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
    ram_bytes = left[1] // ALIGNMENT_BYTES * ALIGNMENT_BYTES if isfinite(left[1]) else left[1]  # whole arenas
    arcs = arcs.kept(arcs.ram_bytes + arcs.state_bytes <= ram_bytes)
    if not len(arcs.layer):
        return None
    sums = (left[0] * (1 + _ROUNDING), left[2] * (1 + _ROUNDING))
    while True:
        shares = np.stack([arcs.cycles / sums[0], arcs.flash_bytes / sums[1]])
        shares = np.concatenate([shares, window_shares(table, config, arcs)])
        path = _most_valuable(arcs, nodes, shares, ram_bytes)
        if path is None:
            return None
        choice = arcs.choice(config, path)
        if limits.held_by(table.cost(choice)):
            return choice
        # the solver's tolerance let this path break a limit
        sums = (sums[0] * (1 - _TOLERANCE), sums[1] * (1 - _TOLERANCE))


def _most_valuable(
    arcs: Arcs, nodes: int, shares: Floats, ram_bytes: float, most_kept: float = np.inf
) -> Indices | None:
    """The path of the highest value that holds the shares and RAM; None where there is none.

    What it keeps adds up, and beside it lies the largest of what its arcs work in. The best path that keeps no more
    than the RAM would be it, but for what it works in. Where that is too much, the one that is sought works in so much
    too, and keeps less, or it has none of the arcs that do.

    Args:
        shares: (constraints, arcs) that sum along a path to no more than 1.
        most_kept: in a stream, from one decision to the next.
    """
    if not arcs.state_bytes.any():
        return _within(arcs, nodes, shares)
    most_kept = min(most_kept, ram_bytes - float(arcs.ram_bytes.min(initial=np.inf)))
    if most_kept < 0 or not len(arcs.layer):
        return None
    kept = arcs.state_bytes / (most_kept + 0.5)  # whole bytes
    path = _within(arcs, nodes, np.concatenate([shares, kept[None]]))
    if path is None or arcs.state_bytes[path].sum() + arcs.ram_bytes[path].max() <= ram_bytes:
        return path
    worked_in = float(arcs.ram_bytes[path].max())
    less = np.flatnonzero(arcs.ram_bytes < worked_in)
    first = _most_valuable(arcs, nodes, shares, ram_bytes, ram_bytes - worked_in)
    second = _most_valuable(arcs.kept(less), nodes, shares[:, less], ram_bytes, most_kept)
    found = [x for x in (first, None if second is None else less[second]) if x is not None]
    return max(found, key=lambda x: arcs.value[x].sum(), default=None)


def _within(arcs: Arcs, nodes: int, shares: Floats) -> Indices | None:
    """The path of the highest value whose shares each sum to no more than 1; None where there is none."""
    free = shortest(arcs, -arcs.value, nodes) if len(arcs.layer) else None
    if free is None or _holds(shares, free):
        return free
    least = [shortest(arcs, x, nodes) for x in shares]
    if any(path is None or shares[i, path].sum() > 1 for i, path in enumerate(least)):
        return None
    holding = [path for path in least if path is not None and _holds(shares, path)]
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


def _holds(shares: Floats, path: Indices) -> bool:
    return bool((shares[:, path].sum(1) <= 1).all())


def _relaxed(
    arcs: Arcs, nodes: int, shares: Floats, holding: Sequence[Indices]
) -> tuple[Floats, float, Indices | None]:
    """Multipliers of a low upper bound by Polyak's subgradient steps, the bound, and the best path that holds.

    Args:
        shares: (constraints, arcs).
        holding: paths known to hold all.
    """
    multipliers, best, lowest = np.zeros(len(shares)), np.zeros(len(shares)), np.inf
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
