"""Networks beside the most preferred one: those that a supernet likes best (`Trained.scores`), samples, neighbours.

Many are drawn, and those that a supernet likes least are left out: so much shared weights can tell. The order among
good ones is what a short training of each shows.

What fills the limit is drawn evenly and judged, not drawn by alpha, which likes much the same network each time: of 300
at 13.3 ms the eight that the supernet liked best had losses of 0.443 in the mean and 0.378 at best after six epochs
each, six samples of alpha 0.444 and 0.405, 24 that nobody chose 0.476 and 0.378. Regular ones (`nas/tiny/regular.py`)
are better still: the four of 246 that a supernet liked best 0.403 and 0.394, the eight of 300 others 0.438 and 0.380.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from math import isfinite
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InfeasibleError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.grid_search import SearchResult
from hil_nas.nas.protocols import Derived, Deriving, Point, View

Hop = tuple[int, int]  # a window and a hop, in samples

LEADERS = 4  # configurations that take part, by gamma; of one window and hop only the first
_POOL = 300  # networks of either sort that a supernet judges: some 30 s
_VARIANTS = 2  # of a window and hop, by gamma, that its networks are on: each costs a race the features of every clip
_TRIES = 4  # draws for each network asked for: many are the same, or leave much of the limit unused
_FULL = 0.9  # of what the latency limit leaves to a network: one that uses less is taken where there is no other


class Candidates(Generic[Point]):
    """Networks that hold the limits, as measured where there is a board."""

    def __init__(self, result: SearchResult[Point]) -> None:
        self._result, self._calibrated = result, result.calibrated
        self._strategy, self._limits = result.calibrated.deriving, result.calibrated.limits

    def sampled(self, count: int) -> list[Derived[Point]]:
        """Up to so many, all different and none of them the derived one: those that a supernet likes best, half of them
        regular, or samples by their probabilities.

        Of each window and hop as many as gamma gives it, those that the data search gave up among them, and one at
        least of each leading one; samples on the configuration that was settled.
        """
        rng, gammas = np.random.default_rng(self._result.next_seed), self._strategy.gammas()
        points = {_name(self._strategy, x): x for x in self._liked(count, rng)}
        if len(points) < count:  # no supernet judges this space's networks, or few of them fill the limit
            for point in self._drawn(gammas, count, rng):
                if len(points) < count:
                    points.setdefault(_name(self._strategy, point), point)
        return self._holding(points.values())

    def neighbours(self, of: Derived[Point], count: int, rng: np.random.Generator) -> list[Derived[Point]]:
        """Up to so many, a choice or three away from a network.

        One in three keeps the operations and changes the configuration for another of the same window and hop. Those
        cost nearly the same, and which of them gamma prefers is almost chance. (At 104 ms 80 mel bins led 40 with two
        seeds of three.)
        """
        first, config = of.point, self._strategy.space.configs.index(of.config)
        elsewhere = [View(int(x), around=first) for x in rng.permutation(_beside(self._strategy, config))]
        moved = self._different(first, elsewhere)[: count // 3]
        own = self._best_first(self._different(first, repeat(View(config, rng, first), _TRIES * count)))
        return self._holding([*own[: count - len(moved)], *moved])

    def _liked(self, count: int, rng: np.random.Generator) -> list[Point]:
        """Of many that fill the latency limit those that the supernet likes best, half of them regular.

        Its weights tell networks on one window and hop apart, windows and hops badly: at 8 ms gamma led with a hop of
        640 samples on one processor, with one of 480 on another.
        """
        if (supernet := self._result.supernet) is None or count == 0:
            return []
        gammas, hops = self._learned_gammas(), list(map(hop_of, self._strategy.space.configs))
        shares: dict[Hop, float] = {}
        for hop, gamma in zip(hops, gammas, strict=True):
            shares[hop] = shares.get(hop, 0.0) + float(gamma)
        regular = {x: supernet.regular(x) for x in np.flatnonzero(gammas).tolist()}

        def any_regular(config: int) -> Point | None:
            return regular[config][int(rng.integers(len(regular[config])))] if regular[config] else None

        found: dict[str, Point] = {}
        for hop, seats in _seats(shares, count).items():
            own = np.where([x == hop for x in hops], gammas, 0.0)
            own[np.argsort(-own, kind="stable")[_VARIANTS:]] = 0.0
            configs = rng.choice(len(own), max(1, 2 * _POOL * seats // count), p=own / own.sum()).tolist()
            even = self._best_first(self._distinct(supernet.filling(x, rng) for x in configs[::2]))
            alike = self._best_first(self._distinct(any_regular(x) for x in configs[1::2]))
            half, ends = -(-seats // 2), len(found) + seats
            full = [x for x in even if not self._spare(x)]  # at a loose limit none may fill it
            for point in (*alike[:half], *full, *alike[half:], *even):
                if len(found) < ends:
                    found.setdefault(_name(self._strategy, point), point)
        return list(found.values())

    def _learned_gammas(self) -> NDArray[np.float64]:
        """(configs,): those that the data search left, of configurations that can hold the limits."""
        feasible = np.isin(np.arange(len(self._result.gammas)), self._strategy.feasible)
        gammas = np.where(feasible, self._result.gammas, 0.0)
        return np.asarray(gammas / gammas.sum())

    def _distinct(self, points: Iterable[Point | None]) -> list[Point]:
        """Those that hold the limits, each once, without the derived one."""
        named = {_name(self._strategy, x): x for x in points if x is not None and self._holds(x)}
        named.pop(_name(self._strategy, self._result.point), None)
        return list(named.values())

    def _holds(self, point: Point) -> bool:
        return self._limits.held_by(self._strategy.cost(point, self._calibrated.ratio))

    def _drawn(self, gammas: NDArray[np.float64], count: int, rng: np.random.Generator) -> list[Point]:
        """A sample of each leading configuration, then more samples.

        Args:
            gammas: (configs,) probabilities, those of configurations that cannot hold the limits 0.
        """
        first, leaders = self._result.point, _leaders(self._strategy, gammas)
        own = self._different(first, (View(x, rng) for x in leaders))[:count]
        more = self._different(first, _samples(gammas, leaders, _TRIES * count, rng))
        points = {_name(self._strategy, x): x for x in (*own, *self._best_first(more))}
        return list(points.values())[:count]

    def _different(self, first: Point, views: Iterable[View[Point]]) -> list[Point]:
        points: dict[str, Point] = {}
        for view in views:
            try:
                point = self._strategy.derive(self._calibrated.ratio, self._limits, view)
            except InfeasibleError:  # measurements made this configuration too dear
                continue
            points.setdefault(_name(self._strategy, point), point)
        points.pop(_name(self._strategy, first), None)
        return list(points.values())

    def _best_first(self, points: list[Point]) -> list[Point]:
        """Those that use most of the latency limit before those that do not; of either those first that the supernet
        likes best, or in their order without any."""
        scores = [None] * len(points) if self._result.supernet is None else self._result.supernet.scores(points)
        keys = [(self._spare(x), y or 0.0) for x, y in zip(points, scores, strict=True)]
        return [points[i] for i in sorted(range(len(points)), key=keys.__getitem__)]

    def _spare(self, point: Point) -> bool:
        """Whether much of the latency limit is left."""
        limit, ratio = self._limits.values()[0], self._calibrated.ratio
        own = self._strategy.network_cycles(point) * ratio
        return isfinite(limit) and own < _FULL * (limit - self._strategy.cost(point, ratio).cycles + own)

    def _holding(self, points: Iterable[Point]) -> list[Derived[Point]]:
        measured = [self._calibrated.described(x, self._calibrated.measured(x)) for x in points]
        return [x for x in measured if self._limits.held_by(x.cost)]


def _beside(strategy: Deriving[Point], config: int) -> list[int]:
    """The other configurations of its window and hop."""
    configs = strategy.space.configs
    return [x for x in strategy.feasible if x != config and hop_of(configs[x]) == hop_of(configs[config])]


def _leaders(strategy: Deriving[Point], gammas: NDArray[np.float64]) -> list[int]:
    """The leading configurations that can hold the limits, one for each window and hop. These decide most of the cost;
    variants of one front end that differ in anything else must not take all places."""
    leaders: dict[Hop, int] = {}
    for leader in map(int, np.argsort(-gammas, kind="stable")):
        if gammas[leader] > 0 and leader in strategy.feasible:
            leaders.setdefault(hop_of(strategy.space.configs[leader]), leader)
    return list(leaders.values())[:LEADERS]


def hop_of(config: FrontEnd) -> Hop:
    return config.window_samples, config.hop_samples


def _seats(shares: Mapping[Hop, float], count: int) -> Counter[Hop]:
    """So many seats: one for each of the leading shares, then by Sainte-Lague's method, the next one always where a
    seat stands for the largest share."""
    leading = sorted(shares, key=shares.__getitem__, reverse=True)[: min(LEADERS, count)]
    seats = Counter(x for x in leading if shares[x] > 0)
    while seats.total() < count:
        seats[max(shares, key=lambda x: shares[x] / (2 * seats[x] + 1))] += 1
    return seats


def _samples(
    gammas: NDArray[np.float64], leaders: list[int], count: int, rng: np.random.Generator
) -> Iterator[View[Point]]:
    shares = gammas[leaders] / gammas[leaders].sum()
    for _ in range(count):
        yield View(int(rng.choice(leaders, p=shares)), rng)


def _name(strategy: Deriving[Point], point: Point) -> str:
    genotype, config = strategy.at(point)
    return f"{config} {genotype.build(config)}"
