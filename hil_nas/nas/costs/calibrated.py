"""A space's networks at the costs that a board's measurements gave, and what is derived and watched at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from math import exp, log
from typing import Any, Generic

from hil_nas.errors import InfeasibleError, InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import Derived, Deriving, Point, Strategy
from hil_nas.network import Network

Measure = Callable[[Network, FrontEnd], float]

_TRIES = 8  # networks that a board may find too slow before the search gives up


class Calibrated(Generic[Point]):
    """What holds the limits as measured; its construction measures nothing.

    Args:
        measure: cycles of a network for a front end on the board, without that one's; None: there is no board.
    """

    def __init__(self, deriving: Deriving[Point], limits: Limits, measure: Measure | None = None) -> None:
        self.deriving, self.limits, self.measure = deriving, limits, measure
        self.ratios: list[float] = []  # measured over predicted cycles

    @property
    def ratio(self) -> float:
        """The geometric mean of what measurements gave; 1 where nothing was measured."""
        logs = [log(x) for x in self.ratios]
        return exp(sum(logs) / len(logs)) if logs else 1.0

    def derived(self) -> Point:
        """The most preferred network that holds the limits by the corrected costs."""
        return self.deriving.derive(self.ratio, self.limits)

    def measured(self, point: Point) -> float:
        """Measured over predicted cycles of a network, which corrects the costs; without a board the ratio as it is.

        Raises:
            InputError: where the board counted nothing.
        """
        if self.measure is None:
            return self.ratio
        genotype, config = self.deriving.at(point)
        cycles = float(self.measure(genotype.build(config), config))
        if not cycles > 0:
            raise InputError(f"a network was measured at {cycles} cycles, expected more than 0")
        self.ratios.append(cycles / self.deriving.network_cycles(point))
        return self.ratios[-1]

    def described(self, point: Point, ratio: float) -> Derived[Point]:
        """A network with what it costs at this ratio."""
        genotype, config = self.deriving.at(point)
        return Derived(point, genotype, config, genotype.build(config), self.deriving.cost(point, ratio))

    def held(self, derive: Callable[[float], Point] | None = None) -> tuple[float, Point]:
        """Measures, and derives again at higher costs, until a network holds the limits as measured; its ratio first.

        Args:
            derive: from measured over predicted cycles to a network; None: the most preferred one.

        Raises:
            InfeasibleError: where none was found that does.
        """
        derive = derive or (lambda ratio: self.deriving.derive(ratio, self.limits))
        point, worst, cycles = derive(self.ratio), self.ratio, 0.0
        for _ in range(_TRIES):
            ratio = self.measured(point)
            cost = self.deriving.cost(point, ratio)
            if self.limits.held_by(cost):
                return ratio, point
            worst, cycles = max(worst * 1.005, ratio), cost.cycles
            point = derive(worst)
        raise InfeasibleError(
            f"{_TRIES} derived networks missed the limit as measured, the last with"
            f" {self.limits.format_value(0, cycles)}, the limit is"
            f" {self.limits.format_value(0, self.limits.values()[0])}",
            hint="profile the board anew: the latency model is too far off",
        )


class Watched(Calibrated[Point]):
    """As `nas.protocols.Observer` of a search: measures what is preferred, where that is due."""

    def __init__(self, strategy: Strategy[Point], limits: Limits, measure: Measure | None = None) -> None:
        super().__init__(strategy, limits, measure)
        self.strategy = strategy
        self._priced_at, self._expected = self.ratio, strategy.expected_cost(self.ratio)
        self._due = False  # a derivation takes seconds, so not every epoch has one

    def expected(self) -> Expectation:
        """The mean cost of networks drawn from the probabilities, as they stand."""
        if self._priced_at != self.ratio:
            self._priced_at, self._expected = self.ratio, self.strategy.expected_cost(self.ratio)
        return self._expected()

    def epoch_ended(self, epoch: int, *, searching: bool, last: bool) -> None:
        every = self.strategy.settings.measure_every
        self._due = last or bool(searching and every and epoch % every == 0)
        if self._due and self.measure is not None and not last:
            self.measured(self.derived())

    def figures(self) -> dict[str, Any]:
        """What alpha and gamma have come to and, where a measurement is due and at the end, the network that they
        prefer: the one that is named at the end may be another of those that are preferred most."""
        point, derived = None, {}
        if self._due:
            point = self.derived()
            cost, config = self.strategy.cost(point, self.ratio), self.strategy.at(point)[1]
            derived = {"derived": asdict(cost), "derived_config": str(config)}
        return {**derived, **self.strategy.figures(point), "calibration": self.ratio}

    def state_dict(self) -> dict[str, Any]:
        return {"ratios": list(self.ratios)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ratios = list(state["ratios"])
