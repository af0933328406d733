"""The search in a list of front ends: the loop, then the most preferred network that holds the limits on the board.

Everything that differs between spaces stands behind `Strategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch

from hil_nas.cost.macs import network_macs
from hil_nas.learning.accelerator import accelerator
from hil_nas.learning.threads import Threads
from hil_nas.nas.costs.calibrated import Calibrated, Measure, Watched
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.front_ends.choice import FrontEndChoice
from hil_nas.nas.front_ends.feature_store import FeatureSet
from hil_nas.nas.protocols import Derived, Deriving, Point, Start, Strategy
from hil_nas.nas.search_loop import Loop
from hil_nas.nas.shared_loop import SharedLoop

_JUDGES = 8  # batches of the validation half that judge a network by the supernet's weights
_JUDGED = 128  # clips of each
_ASKED = 128  # of the networks that are preferred most


@dataclass(frozen=True)
class SearchResult(Derived[Point]):
    """What a search found: the most preferred network, and how.

    Attributes:
        gammas: per configuration; those of the data search where it was decided.
        calibration: measured over predicted cycles of the network; 1 where nothing was measured.
        history: one entry an epoch, as `on_epoch` got them.
        calibrated: the networks as the search left them, for what comes behind.
        next_seed: of what is drawn behind the search.
        supernet: what its weights say of a network; None where nothing was learned.
    """

    gammas: tuple[float, ...]
    calibration: float
    history: tuple[dict[str, Any], ...]
    calibrated: Calibrated[Point] = field(repr=False, compare=False)
    next_seed: int
    supernet: Trained[Point] | None = field(default=None, repr=False, compare=False)


class Trained(Generic[Point]):
    """A supernet behind its search."""

    def __init__(self, strategy: Strategy[Point], front_end: FrontEndChoice) -> None:
        self._strategy, self._front_end = strategy, front_end

    def loss(self, point: Point) -> float | None:
        """Mean cross entropy of a network on clips of the validation half, the same for all; None where its networks
        take no part by themselves."""
        config, losses = self._config(point), []
        with torch.no_grad():
            for features, labels in self._front_end.validation(config, _JUDGED, _JUDGES):
                loss = self._strategy.one_loss(point, features, labels)
                if loss is None:
                    return None
                losses.append(float(loss))
        return sum(losses) / len(losses)

    def losses(self, points: Sequence[Point]) -> list[float | None]:
        """As `loss`, of many."""
        with Threads(self._strategy.net.alignment.gamma.device, len(points)) as threads:
            return threads.map(self.loss, points)

    def scores(self, points: Sequence[Point]) -> list[float | None]:
        """The loss of each times the cycles that its network takes for a multiply-accumulate: of networks on one front
        end that fill a limit, the lower the better.

        Every network has few of the steps that train shared weights, in which those do best that learn fast; what more
        multiplications are good for shows in trainings of their own. Of some 160 regular chains at 8 ms, on each of
        three front ends, the eight of lowest loss had 0.453, 0.471 and 0.477 in the mean after six epochs each alone,
        the eight of lowest loss per multiplication 0.428, 0.444 and 0.462, eight that nobody chose 0.478, 0.519 and
        0.576. Cycles stand beside it so that where nothing fills a limit size alone is worth nothing.
        """
        losses = self.losses(points)
        return [None if x is None else self.score(p, x) for p, x in zip(points, losses, strict=True)]

    def score(self, point: Point, loss: float) -> float:
        """As `scores` has it, of a network whose loss is known."""
        genotype, config = self._strategy.at(point)
        return loss * self._strategy.network_cycles(point) / network_macs(genotype.build(config))

    def best_first(self, points: Sequence[Point]) -> list[Point]:
        """By their scores; in their order where they have none."""
        scores = self.scores(points)
        return [points[i] for i in sorted(range(len(points)), key=lambda i: scores[i] or 0.0)]

    def filling(self, config: int, rng: np.random.Generator) -> Point | None:
        """As `nas.protocols.Strategy.filling`."""
        return self._strategy.filling(config, rng)

    def regular(self, config: int) -> Sequence[Point]:
        """As `nas.protocols.Strategy.regular`."""
        return self._strategy.regular(config)

    def _config(self, point: Point) -> int:
        return self._strategy.space.configs.index(self._strategy.at(point)[1])


def search(
    start: Start[Point],
    train: FeatureSet,
    validation: FeatureSet,
    limits: Sequence[Limits],
    *,
    seed: int,
    device: torch.device | None = None,
    on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measure: Measure | None = None,
) -> list[GridSearch[Point]]:
    """Trains a supernet, from which the configuration and the network follow that recognise best within limits.

    Args:
        start: of a space, with its cost table and settings; for several limits one whose supernet they can share.
        train, validation: disjoint sets of clips; the first trains weights, the second alpha and gamma.
        limits: one or several, which share the supernet; the last allow all that the others allow.
        device: where the supernet is trained; None: a GPU where there is one.
        on_epoch, checkpoint, resume: as `Epochs.run` takes them; the figures of each of the limits.
        measure: cycles of a network on the board, without the front end; corrects the costs.

    Returns:
        Of each of the limits a search that has ended, whose `result()` goes by no other's.

    Raises:
        InfeasibleError: where no network holds one of the limits; before anything is trained.
        InputError: where features do not fit the space.
        RunError: where the checkpoint is of another search.
    """
    generator = torch.Generator().manual_seed(seed)
    device = device or accelerator()
    widest: GridSearch[Point] | None = None
    searches: list[GridSearch[Point]] = []
    for each in reversed(limits):
        strategy = start(each, generator, device, *([] if widest is None else [widest.strategy.net]))
        for data in (train, validation):
            data.check(strategy.space)
        searches.insert(0, GridSearch(strategy, train, validation, each, generator, device, measure, like=widest))
        widest = widest or searches[0]
    assert widest is not None
    identity = {
        **widest.strategy.identity(),
        "settings": asdict(widest.strategy.settings),
        "limits": [asdict(x) for x in limits] if len(limits) > 1 else asdict(limits[0]),
        "seed": seed,
        "train": train.digest(),
        "validation": validation.digest(),
    }
    loop = SharedLoop([x.loop for x in searches], generator)
    loop.run(identity, on_epoch=on_epoch, checkpoint=checkpoint, resume=resume)
    if len(searches) > 1:
        for x in searches:
            x.generator = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
    return searches


class GridSearch(Generic[Point]):
    """The parts of a search; its construction trains and measures nothing.

    Args:
        like: the search whose weights and clips these are too, of wider limits; None: it has its own.
    """

    def __init__(
        self,
        strategy: Strategy[Point],
        train: FeatureSet,
        validation: FeatureSet,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
        measure: Measure | None = None,
        like: GridSearch[Point] | None = None,
    ) -> None:
        self.strategy, self.limits, self.generator = strategy, limits, generator
        self.watched = Watched(strategy, limits, measure)
        self.front_end: FrontEndChoice = FrontEndChoice(
            strategy, self.watched.expected, train, validation, generator, device,
            None if like is None else like.front_end,
        )  # fmt: skip
        self.loop: Loop = Loop(
            strategy, self.front_end, limits, generator, device, self.watched, None if like is None else like.loop
        )

    def result(self) -> SearchResult[Point]:
        """Derives the network; with a board, one that holds the latency limit as measured.

        Of the networks that are preferred most it is the one of the best score. The supernet's weights are asked, as
        ENAS asks them (Pham et al., arXiv:1802.03268), because what learned fast while preferences formed stays
        preferred when others have caught up: at 8 ms the most preferred one had 0.486 after six epochs, the one of
        lowest loss 0.456.

        Raises:
            InfeasibleError: where none was found that does.
        """
        trained = Trained(self.strategy, self.front_end)

        def named(ratio: float) -> Point:
            liked = self.strategy.preferred(ratio, self.limits, _ASKED)
            return trained.best_first(liked)[0] if liked else self.strategy.derive(ratio, self.limits)

        ratio, point = self.watched.held(named)
        return SearchResult(
            **vars(self.watched.described(point, ratio)),
            gammas=tuple(torch.softmax(self.strategy.net.alignment.gamma.detach(), 0).tolist()),
            calibration=ratio,
            history=tuple(self.loop.history),
            calibrated=self.watched,
            next_seed=int(torch.randint(2**62, (), generator=self.generator)),
            supernet=trained,
        )


def without_search(
    deriving: Deriving[Point], limits: Limits, *, seed: int, measure: Measure | None = None
) -> SearchResult[Point]:
    """The most preferred network where preferences are fixed, as a search gives it.

    Raises:
        InfeasibleError: where no network holds the limits as measured.
    """
    calibrated = Calibrated(deriving, limits, measure)
    ratio, point = calibrated.held()
    described = vars(calibrated.described(point, ratio))
    gammas = tuple(map(float, deriving.gammas()))
    return SearchResult(
        **described, gammas=gammas, calibration=ratio, history=(), calibrated=calibrated, next_seed=seed
    )
