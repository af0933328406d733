"""A search's strategy at the costs that a board's measurements gave, and what is derived and watched at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from math import exp, log
from typing import Any, Generic

from hil_nas.errors import InputError
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import Derived, Point, Strategy
from hil_nas.network import Network

Measure = Callable[[Network], float]


class Calibrated(Generic[Point]):
    """As `nas.protocols.Observer`; its construction measures nothing.

    Args:
        measure: cycles of a network on the board, without the front end; None: there is no board.
    """

    def __init__(self, strategy: Strategy[Point], limits: Limits, measure: Measure | None = None) -> None:
        self.strategy, self.limits, self.measure = strategy, limits, measure
        self.ratios: list[float] = []  # measured over predicted cycles
        self._expected = strategy.expected_cost(1.0)

    @property
    def ratio(self) -> float:
        """The geometric mean of what measurements gave; 1 where nothing was measured."""
        logs = [log(x) for x in self.ratios]
        return exp(sum(logs) / len(logs)) if logs else 1.0

    def expected(self) -> Expectation:
        """The mean cost of networks drawn from the probabilities, as they stand."""
        return self._expected()

    def derived(self) -> Point:
        """The most preferred network that holds the limits by the corrected costs."""
        return self.strategy.derive(self.ratio, self.limits)

    def measured(self, point: Point) -> float:
        """Measured over predicted cycles of a network, which corrects the costs; without a board the ratio as it is.

        Raises:
            InputError: where the board counted nothing.
        """
        if self.measure is None:
            return self.ratio
        genotype, config = self.strategy.at(point)
        cycles = float(self.measure(genotype.build(config)))
        if not cycles > 0:
            raise InputError(f"a network was measured at {cycles} cycles, expected more than 0")
        self.ratios.append(cycles / self.strategy.network_cycles(point))
        self._expected = self.strategy.expected_cost(self.ratio)
        return self.ratios[-1]

    def described(self, point: Point, ratio: float) -> Derived[Point]:
        """A network with what it costs at this ratio."""
        genotype, config = self.strategy.at(point)
        return Derived(point, genotype, config, genotype.build(config), self.strategy.cost(point, ratio))

    def epoch_ended(self, epoch: int, *, searching: bool, last: bool) -> None:
        """Measures what would be derived now, where that is due."""
        every = self.strategy.settings.measure_every
        if self.measure is not None and searching and not last and every and epoch % every == 0:
            self.measured(self.derived())

    def figures(self) -> dict[str, Any]:
        """What would be derived now, and what it costs."""
        point = self.derived()
        return {
            "derived": asdict(self.strategy.cost(point, self.ratio)),
            "derived_config": str(self.strategy.at(point)[1]),
            **self.strategy.figures(point),
            "calibration": self.ratio,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"ratios": list(self.ratios)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ratios = list(state["ratios"])
        self._expected = self.strategy.expected_cost(self.ratio)
