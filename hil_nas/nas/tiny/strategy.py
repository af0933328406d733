"""The `tiny` space in the search's hands: its supernet, what is drawn of it, its cost table and its derivation.

A step of the weights trains one network, drawn evenly inside the band of the limits, whatever alpha and gamma prefer:
weights that alpha drew fitted what it preferred, which confirmed it (of 48 networks at 13.3 ms, each trained alone for
six epochs, the derived one was 27th; by weights drawn evenly, 8th). A step of alpha and gamma draws some front ends and
some networks on each, and follows the score function's gradient (Williams 1992) of their mean loss: the log-probability
of what did better than the others of its batch rises. Networks are held against those on the same front end, front ends
by the mean of their networks. The baseline leaves the gradient unbiased, and what is drawn inside a band only needs no
correction: the band's own probability is the same for all that are compared.

Parameters have a worth, in what is drawn as in what is derived. Of networks that fill a limit those with many are best
when each is trained alone, and nothing that shared weights say of them is as sure.
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
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import AS_LEARNED, Floats, Half, Reading, View, by_name, entropy, logs_of, made
from hil_nas.nas.settings import Settings
from hil_nas.nas.tiny.architecture import Architecture, Probabilities
from hil_nas.nas.tiny.band import Band
from hil_nas.nas.tiny.chain_graph import Preference
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.derive import derive
from hil_nas.nas.tiny.expected import ExpectedCost, average_cycles
from hil_nas.nas.tiny.most_parameters import TinyDerivation
from hil_nas.nas.tiny.regular import fullest, regular_chains
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.supernet import TinySupernet

_FILLED = 0.95  # of the cycles that a front end leaves to its network: so many a derived network uses, where it can
_RISES = (1.0, 2.0, 4.0)  # of the worth of parameters, until what is derived fills its limit
_DRAWS = 128  # of which one inside the band is taken
_POOL_DRAWS = 512  # of which one that fills the limit is taken


class TinyNetworks:
    """Chains as the loop trains them; as `nas.protocols.Networks`.

    Args:
        band: that networks are drawn in.
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
        paths: int,
        generator: torch.Generator,
        device: torch.device,
        feasible: Sequence[int] | None = None,
        like: TinySupernet | None = None,
    ) -> None:
        self.space, self.settings, self.device, self._band, self._paths = space, settings, device, band, paths
        with torch.no_grad():
            self._even = Architecture(space).probabilities(torch.ones(len(space.configs)))
        self.net = TinySupernet(space, generator, feasible, like).to(device)

    def weight_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, self.settings.weight_rate, weight_decay=self.settings.weight_decay)

    def reads(self, half: Half, generator: torch.Generator) -> tuple[int, ...]:
        return self.net.alignment.configs

    def drawn(self, config: int, reading: Reading, half: Half, generator: torch.Generator) -> Choice:
        """A network inside the band: for the decisions by the probabilities, for the weights evenly, and as often of
        one depth as of another, since those of the last positions belong to deep chains alone."""
        with torch.no_grad():
            chains = (self._even if half == "train" else self.probabilities()).drawn(_DRAWS, generator)
            chance = float(torch.rand((), generator=generator))
        priced, front_end = reading.priced or (config, None)
        return chains.choice(config, self._band.pick(priced, chains, chance, front_end, depths=half == "train"))

    def loss(self, reading: Reading, half: Half, generator: torch.Generator) -> Tensor:
        count = self._paths if half == "validation" else 1
        slopes = half == "train" or any(x.requires_grad for x in reading.features)
        means, scores = [], []
        for config, features in zip(reading.configs, reading.features, strict=True):
            choices = [self.drawn(config, reading, half, generator) for _ in range(count)]
            with torch.set_grad_enabled(slopes):
                logits = [self.net(features, x) for x in choices]
                losses = torch.stack([F.cross_entropy(x.float(), reading.labels) for x in logits])
            means.append(losses.mean())
            if half == "validation":
                scores.append(_score(losses, [self.net.architecture.log_probability(x) for x in choices]))
        mean = torch.stack(means).mean()
        if half == "train":
            return mean
        gammas = self.net.alignment.log_weights()
        score = torch.stack(scores).mean() + _score(torch.stack(means), [gammas[x] for x in reading.configs])
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
        average = average_cycles(cost_table)
        band = Band(cost_table, limits, settings.band, average, self._worth)
        self._full = Band(cost_table, limits, _FILLED, average)
        self._regular = regular_chains(cost_table.space)
        TinyNetworks.__init__(self, self.space, settings, band, settings.paths, generator, device, self.feasible, like)

    def reads(self, half: Half, generator: torch.Generator) -> tuple[int, ...]:
        if half == "train":
            configs = self.net.alignment.configs
            return (configs[int(torch.randint(len(configs), (), generator=generator))],)
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
        there, and the worth of parameters rises until it fills the latency limit.

        What alpha likes best, choice by choice, may leave cycles unused, and unused cycles cost more than any choice
        of alpha's gains. Among all front ends that worth would choose the one that leaves networks most cycles.
        """
        table, preference = self.cost_table.corrected(ratio), self.preference(view)
        if view is not AS_LEARNED:
            return derive(table, preference, limits)
        leading = np.where(np.arange(len(preference.configs)) == preference.configs.argmax(), 0.0, -np.inf)
        with suppress(InfeasibleError):
            return self._full_one(table, replace(preference, configs=leading), limits)
        return self._full_one(table, preference, limits)

    def _full_one(self, table: CostTable, preference: Preference, limits: Limits) -> Choice:
        if limits.cycles is None:
            return derive(table, preference, limits)
        found: list[tuple[float, Choice]] = []
        for rise in _RISES:
            point = derive(table, replace(preference, parameter=rise * self._worth), limits)
            left = limits.cycles - table.cycles.front_end[point.config]
            found.append((table.network_cycles(point) / left, point))
            if found[-1][0] >= _FILLED:
                break
        return max(found, key=lambda x: x[0])[1]

    def filling(self, config: int, rng: np.random.Generator) -> Choice | None:
        chains = self._even.drawn(_POOL_DRAWS, torch.Generator().manual_seed(int(rng.integers(2**62))))
        return chains.choice(config, self._full.pick(config, chains, float(rng.random())))

    def regular(self, config: int) -> list[Choice]:
        return [self._regular.choice(config, int(x)) for x in fullest(self._full, config, self._regular)]

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


def _score(losses: Tensor, logs: Sequence[Tensor]) -> Tensor:
    """What has the score function's gradient of the mean loss: each is held against the mean of the others."""
    count = len(logs)
    if count < 2:
        return torch.zeros((), device=losses.device)
    advantage = (losses.detach() - losses.detach().mean()) * (count / (count - 1))
    return (advantage * torch.stack(list(logs))).mean()
