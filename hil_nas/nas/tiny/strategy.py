"""The `tiny` space in the search's hands: its supernet, what is drawn of it, its cost table and its derivation.

A step of the weights trains one network, drawn evenly inside the band of the limits, whatever alpha and gamma prefer:
weights that alpha drew fitted what it preferred, which confirmed it (of 48 networks at 13.3 ms, each trained alone for
six epochs, the derived one was 27th; by weights drawn evenly, 8th). A step of alpha and gamma draws some front ends and
some networks on each, and follows the score function's gradient (Williams 1992) of their mean loss: the log-probability
of what did better than the others of its batch rises. Networks are held against those on the same front end, front ends
by the mean of their networks. The baseline leaves the gradient unbiased.

alpha chooses among regular chains (`nas/tiny/regular.py`) that fill the limit or are no smaller than the average
network: their probabilities are a softmax of the sums of alpha's logits, so that what speaks for a kernel at one
position speaks for chains of it. Where every position chose by itself, what alpha named came anywhere in its race, 5th
of 31 to 29th of 32. At 13.3 ms the three chains that alpha liked best had 0.40, 0.37 and 0.38 after six epochs each, 34
that raced there 0.41 in the mean, at best 0.37.

What is named and raced fills the limit, on every front end where a regular chain can. At 8 ms four of five chains no
smaller than the average left, behind hops of 640 samples, more than a twentieth of the time, and what two searches of
three named of all left a sixth of it or more. Alpha and gamma go on among all: where they chose among those that fill,
gamma preferred hops of 640 samples at 13.3 ms (one seed): 0.42 there after six epochs alone, with hops of 320 0.38.

Parameters have a worth where networks are drawn for the weights and where neighbours are derived. Of networks that fill
a limit those with many are best when each is trained alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InfeasibleError
from hil_nas.learning.threads import Threads
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import AS_LEARNED, Floats, Half, Reading, View, by_name, entropy, logs_of, made
from hil_nas.nas.settings import Settings
from hil_nas.nas.tiny.architecture import Architecture, Probabilities
from hil_nas.nas.tiny.band import Band, Chains
from hil_nas.nas.tiny.chain_graph import Preference
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.derive import derive
from hil_nas.nas.tiny.expected import ExpectedCost, average_cycles
from hil_nas.nas.tiny.most_parameters import TinyDerivation
from hil_nas.nas.tiny.regular import fullest, regular_chains
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.supernet import TinySupernet

FILLED = 0.95  # of the cycles that a front end leaves to its network: so many a derived network uses, where one can
_DRAWS = 128  # of which one inside the band is taken
_POOL_DRAWS = 512  # of which one that fills the limit is taken


class TinyNetworks:
    """Chains as the loop trains them; as `nas.protocols.Networks`.

    Args:
        band: that networks are drawn in for the weights.
        full: that alpha chooses in.
        paths: networks drawn on a front end for a step of the decisions.
        generator: where the first weights come from.
        feasible: configurations that can hold the limits; None: all.
        like: the supernet whose weights are trained, of limits that are as wide or wider; None: one of their own.
    """

    def __init__(
        self,
        space: TinySpace,
        settings: Settings,
        band: Band,
        full: Band,
        paths: int,
        generator: torch.Generator,
        device: torch.device,
        feasible: Sequence[int] | None = None,
        like: TinySupernet | None = None,
    ) -> None:
        self.space, self.settings, self.device, self._band, self._paths = space, settings, device, band, paths
        self._full, self._regular, self._offered = full, regular_chains(space), dict[int, Chains]()
        with torch.no_grad():
            self._even = Architecture(space).probabilities(torch.ones(len(space.configs)))
        self.net = TinySupernet(space, generator, feasible, like).to(device)

    def weight_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, self.settings.weight_rate, weight_decay=self.settings.weight_decay)

    def reads(self, half: Half, generator: torch.Generator) -> tuple[int, ...]:
        return self.net.alignment.configs

    def drawn(self, config: int, reading: Reading, generator: torch.Generator) -> Choice:
        """A network inside the band, evenly, and as often of one depth as of another, since the weights of the last
        positions belong to deep chains alone."""
        chains = self._even.drawn(_DRAWS, generator)
        chance = float(torch.rand((), generator=generator))
        priced, front_end = reading.priced or (config, None)
        return chains.choice(config, self._band.pick(priced, chains, chance, front_end, depths=True))

    def chosen(self, config: int, reading: Reading, generator: torch.Generator) -> tuple[list[Choice], Tensor]:
        """Networks as alpha chooses them, and the log-probability of each."""
        chains = self._offer(config, reading, generator)
        logs = torch.log_softmax(self.net.architecture.log_probabilities(chains), 0)
        weights = logs.detach().exp().cpu()
        taken = torch.multinomial(weights, self._paths, replacement=True, generator=generator)
        return [chains.choice(config, i) for i in taken.tolist()], logs[taken.to(logs.device)]

    def _offer(self, config: int, reading: Reading, generator: torch.Generator) -> Chains:
        """What alpha chooses among on a front end: the regular chains in its band, or those in the weights' one; where
        there are none, of some drawn evenly the fullest."""
        if reading.priced is None and config in self._offered:
            return self._offered[config]
        priced, front_end = reading.priced or (config, None)
        if (offer := self._within((self._full, self._band), priced, front_end)) is None:
            even = self._even.drawn(_POOL_DRAWS, generator)
            return even.at(np.array([self._full.pick(priced, even, 0.0, front_end)]))
        if reading.priced is None:
            self._offered[config] = offer
        return offer

    def _within(self, bands: Sequence[Band], config: int, front_end: Floats | None = None) -> Chains | None:
        """The regular chains in the first of the bands that has any."""
        for band in bands:
            inside, _ = band.inside(config, self._regular, front_end)
            if len(inside):
                return self._regular.at(inside)
        return None

    def loss(self, reading: Reading, half: Half, generator: torch.Generator) -> Tensor:
        slopes = half == "train" or any(x.requires_grad for x in reading.features)
        drawn = [
            ([self.drawn(x, reading, generator)], None) if half == "train" else self.chosen(x, reading, generator)
            for x in reading.configs
        ]

        def lost(heard: tuple[Tensor, Choice]) -> Tensor:
            features, choice = heard
            with torch.set_grad_enabled(slopes):
                return F.cross_entropy(self.net(features, choice).float(), reading.labels)

        heard = [(x, y) for x, (choices, _) in zip(reading.features, drawn, strict=True) for y in choices]
        with Threads(self.device, len(heard)) as threads:
            every = iter(threads.map(lost, heard))
        means, scores = [], []
        for choices, logs in drawn:
            losses = torch.stack([next(every) for _ in choices])
            means.append(losses.mean())
            if logs is not None:
                scores.append(_score(losses, logs))
        mean = torch.stack(means).mean()
        if half == "train":
            return mean
        gammas = self.net.alignment.log_weights()
        score = torch.stack(scores).mean() + _score(torch.stack(means), gammas[list(reading.configs)])
        return mean + score - score.detach()

    def probabilities(self) -> Probabilities:
        return self.net.architecture.probabilities(self.net.alignment.weights())


class TinyStrategy(TinyDerivation, TinyNetworks):
    """As `nas.protocols.Strategy`; points are `Choice`s.

    Args:
        cost_table: of the space to search.
        generator: where the first weights come from.
        like: as of `TinyNetworks`.

    Raises:
        InfeasibleError: where no network holds the limits.
    """

    settings: TinySettings

    def __init__(
        self,
        cost_table: CostTable,
        settings: TinySettings,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
        like: TinySupernet | None = None,
    ) -> None:
        TinyDerivation.__init__(self, cost_table, limits)
        self._worth = settings.worth / cost_table.most_parameters
        self._average = average_cycles(cost_table)
        band = Band(cost_table, limits, settings.band, self._average, self._worth)
        offered = Band(cost_table, limits, FILLED, self._average)
        TinyNetworks.__init__(
            self, self.space, settings, band, offered, settings.paths, generator, device, self.feasible, like
        )
        full = Band(cost_table, limits, FILLED)
        fills = [self._within((full,), x) is not None for x in range(len(self.space.configs))]
        self._bound = np.where(fills, np.inf, self._average)  # elsewhere the limit is loose
        self._filled = Band(cost_table, limits, FILLED, self._bound)

    def reads(self, half: Half, generator: torch.Generator) -> tuple[int, ...]:
        if half == "train":
            settled = self.net.alignment.chosen
            if settled is not None and float(torch.rand((), generator=generator)) < 0.5:
                return (settled,)  # the others go on, since candidates come from several
            return (self.feasible[int(torch.randint(len(self.feasible), (), generator=generator))],)
        gammas, count = self.net.alignment.weights().detach().cpu(), self.settings.front_ends
        return tuple(torch.multinomial(gammas, count, replacement=True, generator=generator).tolist())

    def gammas(self) -> Floats:
        return self.net.alignment.weights().detach().double().cpu().numpy()

    def expected_cost(self, ratio: float) -> Callable[[], Expectation]:
        expected = ExpectedCost(self.cost_table.corrected(ratio)).to(self.device)
        return lambda: expected(self.probabilities())

    def preference(self, view: View[Choice] = AS_LEARNED) -> Preference:
        """Log-probabilities as they stand, and the worth of parameters."""
        with torch.no_grad():
            now = self.probabilities()
        configs, stem, widths, operations = logs_of(now.configs, now.stem, now.widths, now.operations)
        if (point := view.around) is not None:
            stem = made(stem.shape, (point.stem[0],))
            operations = made(operations.shape, *enumerate(o for o, _ in point.chain))
        stem, widths, operations = map(view.disturbed, (stem, widths, operations))
        return Preference(view.configs(configs), stem, widths, operations, self._worth)

    def derive(self, ratio: float, limits: Limits, view: View[Choice] = AS_LEARNED) -> Choice:
        """The most preferred network; as learned, on the front end that gamma prefers, where one holds the limits
        there: of the regular chains that fill them, or lie in the band, the one that alpha prefers, where there is any.
        """
        table = self.cost_table.corrected(ratio)
        if view is not AS_LEARNED:
            return derive(table, self.preference(view), limits)
        if first := self.preferred(ratio, limits, 1):
            return first[0]
        preference = self.preference()
        leading = View[Choice](int(preference.configs.argmax()))
        with suppress(InfeasibleError):
            return derive(table, replace(preference, configs=leading.configs(preference.configs)), limits)
        with torch.no_grad():  # of all, though the data search may have settled on this one
            (gammas,) = logs_of(self.net.alignment.unsettled())
        return derive(table, replace(preference, configs=gammas), limits)

    def preferred(self, ratio: float, limits: Limits, count: int) -> list[Choice]:
        """As `nas.protocols.Strategy.preferred`; there are none where no regular chain lies in the band."""
        table, leading = self.cost_table.corrected(ratio), int(self.preference().configs.argmax())
        lower = (FILLED, self._bound), (self.settings.band, self._average)
        if (chains := self._within([Band(table, limits, x, ratio * y) for x, y in lower], leading)) is None:
            return []
        with torch.no_grad():
            order = torch.argsort(self.net.architecture.log_probabilities(chains), descending=True, stable=True)
        return [chains.choice(leading, i) for i in order[:count].tolist()]

    def filling(self, config: int, rng: np.random.Generator) -> Choice | None:
        chains = self._even.drawn(_POOL_DRAWS, torch.Generator().manual_seed(int(rng.integers(2**62))))
        return chains.choice(config, self._filled.pick(config, chains, float(rng.random())))

    def regular(self, config: int) -> list[Choice]:
        return [self._regular.choice(config, int(x)) for x in fullest(self._filled, config, self._regular)]

    def one_loss(self, point: Choice, features: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.net(features, point).float(), labels)

    def figures(self, point: Choice | None) -> dict[str, Any]:
        with torch.no_grad():
            now = self.probabilities()
        named = {"gamma": now.configs, "stem": now.stem, "operations": now.operations, "widths": now.widths}
        skip = [i for i, x in enumerate(self.space.operations) if x.kind == "skip"]
        return {
            **({} if point is None else {"derived_positions": len(self.at(point)[0].chain)}),
            "skip_share": float(now.operations[:, skip].sum(1).mean()),
            "entropy": {name: entropy(x) for name, x in named.items()},
            "alpha": self._alpha(now),
        }

    def _alpha(self, now: Probabilities) -> dict[str, dict[str, float]]:
        """What each choice has come to, by name: the operations of every position, then the channels of each."""
        positions = ["stem", *(f"position {i + 1}" for i in range(self.space.positions))]
        operations = [(self.space.stems, now.stem), *((self.space.operations, x) for x in now.operations)]
        alpha = {name: by_name(*x) for name, x in zip(positions, operations, strict=True)}
        widths = zip(positions, now.widths, strict=True)
        return alpha | {f"channels of {name}": by_name(self.space.widths, x) for name, x in widths}


def _score(losses: Tensor, logs: Tensor) -> Tensor:
    """What has the score function's gradient of the mean loss: each is held against the mean of the others."""
    count = len(logs)
    if count < 2:
        return torch.zeros((), device=losses.device)
    advantage = (losses.detach() - losses.detach().mean()) * (count / (count - 1))
    return (advantage * logs).mean()
