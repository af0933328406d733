"""Networks beside the most preferred one: what the other leading configurations would become, and samples.

Weights that all networks share rank them roughly, and the mixed input ranks configurations roughly; the true order
is what a short training of each shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InfeasibleError
from hil_nas.nas.prices import Limits
from hil_nas.nas.strategy import Point, Strategy, View

LEADERS = 3  # configurations that take part, by gamma
_TRIES = 4  # draws for each rival: in a nearly decided search many are the same network


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
    found: dict[str, Point] = {_name(strategy, first): first}
    for view in _views(gammas, count, rng):
        if len(found) > count:
            break
        try:
            point = strategy.derive(ratio, limits, view)
        except InfeasibleError:  # measurements made this configuration too dear
            continue
        found.setdefault(_name(strategy, point), point)
    return list(found.values())[1:]


def _views(gammas: NDArray[np.float64], count: int, rng: np.random.Generator) -> Iterator[View]:
    leaders = [int(x) for x in np.argsort(-gammas, kind="stable")[:LEADERS] if gammas[x] > 0]
    for config in leaders:
        yield View(config)
    shares = gammas[leaders] / gammas[leaders].sum()
    for _ in range(_TRIES * count):
        yield View(int(rng.choice(leaders, p=shares)), rng)


def _name(strategy: Strategy[Point], point: Point) -> str:
    genotype, config = strategy.at(point)
    return f"{config} {genotype.build(config)}"
