"""The search in a list of front ends: the loop, then the most preferred network that holds the limits on the board.

Everything that differs between spaces stands behind `Strategy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

import torch

from hil_nas.errors import InfeasibleError
from hil_nas.learning.accelerator import accelerator
from hil_nas.nas.costs.calibrated import Calibrated, Measure
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.front_ends.choice import FrontEndChoice
from hil_nas.nas.front_ends.feature_store import FeatureSet
from hil_nas.nas.protocols import Derived, Point, Start, Strategy
from hil_nas.nas.search_loop import Loop

_FINAL_TRIES = 8  # networks that a board may find too slow before the search gives up


@dataclass(frozen=True)
class SearchResult(Derived[Point]):
    """What a search found: the most preferred network, and how.

    Attributes:
        gammas: per configuration; those of the data search where it was decided.
        calibration: measured over predicted cycles of the network; 1 where nothing was measured.
        history: one entry an epoch, as `on_epoch` got them.
        calibrated: the strategy as the search left it, for what comes behind.
        next_seed: of what is drawn behind the search.
    """

    gammas: tuple[float, ...]
    calibration: float
    history: tuple[dict[str, Any], ...]
    calibrated: Calibrated[Point] = field(repr=False, compare=False)
    next_seed: int


def search(
    start: Start[Point],
    train: FeatureSet,
    validation: FeatureSet,
    limits: Limits,
    *,
    seed: int,
    device: torch.device | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measure: Measure | None = None,
) -> SearchResult[Point]:
    """Finds the configuration and the network that recognise best within the limits.

    Args:
        start: of a space, with its cost table and settings.
        train, validation: disjoint sets of clips; the first trains weights, the second alpha and gamma.
        device: where the supernet is trained; None: a GPU where there is one.
        on_epoch, checkpoint, resume: as `Loop.run` takes them.
        measure: cycles of a network on the board, without the front end; corrects the costs.

    Raises:
        InfeasibleError: where no network holds the limits: before anything is trained, or at the end by the
            board's own measurements.
        InputError: where features do not fit the space.
        RunError: where the checkpoint is of another search.
    """
    generator = torch.Generator().manual_seed(seed)
    device = device or accelerator()
    strategy = start(limits, generator, device)
    for data in (train, validation):
        data.check(strategy.space)
    identity = {
        **strategy.identity(),
        "settings": asdict(strategy.settings),
        "limits": asdict(limits),
        "seed": seed,
        "train": train.digest(),
        "validation": validation.digest(),
    }
    whole = GridSearch(strategy, train, validation, limits, generator, device, measure)
    whole.loop.run(identity, on_epoch=on_epoch, checkpoint=checkpoint, resume=resume)
    return whole.result()


class GridSearch(Generic[Point]):
    """The parts of a search; its construction trains and measures nothing."""

    def __init__(
        self,
        strategy: Strategy[Point],
        train: FeatureSet,
        validation: FeatureSet,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
        measure: Measure | None = None,
    ) -> None:
        self.strategy, self.limits, self.generator = strategy, limits, generator
        self.calibrated = Calibrated(strategy, limits, measure)
        front_end = FrontEndChoice(strategy, self.calibrated.expected, train, validation, generator, device)
        self.loop = Loop(strategy, front_end, limits, generator, device, self.calibrated)

    def result(self) -> SearchResult[Point]:
        """Derives the network; with a board, one that holds the latency limit as measured."""
        ratio, point = self._held_on_board()
        return SearchResult(
            **vars(self.calibrated.described(point, ratio)),
            gammas=tuple(torch.softmax(self.strategy.net.alignment.gamma.detach(), 0).tolist()),
            calibration=ratio,
            history=tuple(self.loop.history),
            calibrated=self.calibrated,
            next_seed=int(torch.randint(2**62, (), generator=self.generator)),
        )

    def _held_on_board(self) -> tuple[float, Point]:
        """Measures, and derives again at higher costs, until a network holds the limits as measured."""
        point, worst, cycles = self.calibrated.derived(), self.calibrated.ratio, 0.0
        for _ in range(_FINAL_TRIES):
            ratio = self.calibrated.measured(point)
            cost = self.strategy.cost(point, ratio)
            if self.limits.held_by(cost):
                return ratio, point
            worst, cycles = max(worst * 1.005, ratio), cost.cycles
            point = self.strategy.derive(worst, self.limits)
        raise InfeasibleError(
            f"{_FINAL_TRIES} derived networks missed the limit as measured, the last with"
            f" {self.limits.format_value(0, cycles)}, the limit is"
            f" {self.limits.format_value(0, self.limits.values()[0])}",
            hint="profile the board anew: the latency model is too far off",
        )
