"""Networks beside the most preferred one: a sample of each leading configuration, more samples, neighbours.

Weights that all networks share rank them roughly, and the mixed input ranks configurations roughly; the true order
is what a short training of each shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InfeasibleError
from hil_nas.nas.costs.limits import Limits
from hil_nas.nas.protocols import Point, Strategy, View

LEADERS = 4  # configurations that take part, by gamma; of one window and hop only the first
_TRIES = 4  # draws for each network asked for: many are the same, or leave much of the limit unused
_FULL = 0.9  # of what the latency limit leaves to a network: one that uses less is taken where there is no other


def rivals(
    strategy: Strategy[Point],
    first: Point,
    gammas: NDArray[np.float64],
    limits: Limits,
    *,
    ratio: float,
    count: int,
    rng: np.random.Generator,
) -> list[Point]:
    """Up to `count` networks that hold the limits, all different and none of them `first`.

    Args:
        gammas: (configs,) probabilities, those of configurations that cannot hold the limits 0.
        ratio: measured over predicted cycles.
    """
    leaders = _leaders(strategy, gammas)
    own = _different(strategy, first, (View(x, rng) for x in leaders), limits, ratio)[:count]
    more = _different(strategy, first, _samples(gammas, leaders, _TRIES * count, rng), limits, ratio)
    found = {_name(strategy, x): x for x in (*own, *_fullest_first(strategy, more, limits, ratio))}
    return list(found.values())[:count]


def neighbours(
    strategy: Strategy[Point], first: Point, limits: Limits, *, ratio: float, count: int, rng: np.random.Generator
) -> list[Point]:
    """Up to `count` networks that hold the limits, a choice or three away from `first`.

    One in three has its operations on another configuration of its window and hop: front ends as dear, or nearly so,
    of which gamma names one almost by chance. (At 104 ms 80 mel bins led 40 with two seeds of three.)
    """
    config = strategy.space.configs.index(strategy.at(first)[1])
    elsewhere = [View(int(x), around=first) for x in rng.permutation(_beside(strategy, config))]
    moved = _different(strategy, first, elsewhere, limits, ratio)[: count // 3]
    views = repeat(View(config, rng, first), _TRIES * count)
    own = _fullest_first(strategy, _different(strategy, first, views, limits, ratio), limits, ratio)
    return [*own[: count - len(moved)], *moved]


def _beside(strategy: Strategy[Point], config: int) -> list[int]:
    """The other configurations of its window and hop."""
    configs = strategy.space.configs
    window, hop = configs[config].window_samples, configs[config].hop_samples
    alike = [x for x in strategy.allowed if (configs[x].window_samples, configs[x].hop_samples) == (window, hop)]
    return [x for x in alike if x != config]


def _leaders(strategy: Strategy[Point], gammas: NDArray[np.float64]) -> list[int]:
    """What costs most differs by window and hop: no other difference may fill all places with one front end."""
    found: dict[tuple[int, int], int] = {}
    for place in map(int, np.argsort(-gammas, kind="stable")):
        config = strategy.space.configs[place]
        if gammas[place] > 0:
            found.setdefault((config.window_samples, config.hop_samples), place)
    return list(found.values())[:LEADERS]


def _samples(
    gammas: NDArray[np.float64], leaders: list[int], count: int, rng: np.random.Generator
) -> Iterator[View[Point]]:
    shares = gammas[leaders] / gammas[leaders].sum()
    for _ in range(count):
        yield View(int(rng.choice(leaders, p=shares)), rng)


def _different(
    strategy: Strategy[Point], first: Point, views: Iterable[View[Point]], limits: Limits, ratio: float
) -> list[Point]:
    found: dict[str, Point] = {}
    for view in views:
        try:
            point = strategy.derive(ratio, limits, view)
        except InfeasibleError:  # measurements made this configuration too dear
            continue
        found.setdefault(_name(strategy, point), point)
    found.pop(_name(strategy, first), None)
    return list(found.values())


def _fullest_first(strategy: Strategy[Point], points: list[Point], limits: Limits, ratio: float) -> list[Point]:
    """Those that use most of the latency limit before those that do not; else in their order."""

    def spare(point: Point) -> bool:
        own = strategy.network_cycles(point) * ratio
        front_end = strategy.cost(point, ratio).cycles - own
        return own < _FULL * (limits.values()[0] - front_end)

    return sorted(points, key=spare) if isfinite(limits.values()[0]) else points


def _name(strategy: Strategy[Point], point: Point) -> str:
    genotype, config = strategy.at(point)
    return f"{config} {genotype.build(config)}"
