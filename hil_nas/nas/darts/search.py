"""The paper's search: weights on the training half, alpha, beta and gamma on the validation half, inside the limits.

An epoch alternates a step of alpha, beta and gamma with a step of the weights; the first epochs train weights alone.
Once one gamma is `gamma_ratio` times every other, its configuration is settled and the others' features are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import cos, exp, log, pi
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InfeasibleError, InputError
from hil_nas.nas import checkpoint as checkpoints
from hil_nas.nas.alignment import decided
from hil_nas.nas.darts.bilevel import first_order, second_order
from hil_nas.nas.darts.derive import DartsPreference, derive_darts, feasible_darts_configs
from hil_nas.nas.darts.expected import DartsExpectedCost, skip_share
from hil_nas.nas.darts.genotype import DartsGenotype
from hil_nas.nas.darts.prices import DartsPrices
from hil_nas.nas.darts.settings import DartsResult, DartsSettings
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.darts.supernet import DartsProbabilities, DartsSupernet, Mixture
from hil_nas.nas.expected import Multipliers
from hil_nas.nas.features import Batches, FeatureSet, FeatureStore, shifted
from hil_nas.nas.prices import Limits
from hil_nas.network import Network

_FINAL_TRIES = 8  # networks that a board may find too slow before the search gives up


def search_darts(
    space: DartsSpace,
    train: FeatureSet,
    validation: FeatureSet,
    prices: DartsPrices,
    limits: Limits,
    settings: DartsSettings,
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measure: Callable[[Network], float] | None = None,
) -> DartsResult:
    """Finds the configuration and the cells that recognise best within the limits; as `nas.search.search`.

    Raises:
        InfeasibleError: where no network was found that holds the limits: before anything is trained, or at the end
            by the board's own measurements.
        InputError: where features or prices do not fit the space.
        RunError: where the checkpoint is of another search.
    """
    if prices.space != space:
        raise InputError("the prices are of another space than the one to search")
    for data in (train, validation):
        data.check(space)
    allowed = feasible_darts_configs(prices, limits)
    identity = _identity(train, validation, prices, limits, settings, seed)
    run = _DartsSearch(train, validation, prices, limits, settings, seed, torch.device(device), allowed)
    if resume and checkpoint is not None and checkpoint.exists():
        run.load_state_dict(checkpoints.load(checkpoint, identity))
    while run.epoch < settings.epochs:
        run.advance(measure)
        if checkpoint is not None:
            checkpoints.save(checkpoint, identity, run.state_dict())
        if on_epoch is not None:
            on_epoch(run.history[-1])
    return run.result(measure)


class _DartsSearch:
    """A search between two epochs."""

    def __init__(
        self,
        train: FeatureSet,
        validation: FeatureSet,
        prices: DartsPrices,
        limits: Limits,
        settings: DartsSettings,
        seed: int,
        device: torch.device,
        allowed: tuple[int, ...],
    ) -> None:
        self.space, self.prices, self.limits, self.settings = prices.space, prices, limits, settings
        self.generator, self.device = torch.Generator().manual_seed(seed), device
        self.net = DartsSupernet(self.space, self.generator, allowed).to(device)
        self.weights = list(self.net.weight_parameters().values())
        gamma = self.net.alignment.gamma
        self.alphas = [self.net.architecture.alpha, self.net.architecture.beta, gamma]
        self.weight_optimizer = torch.optim.SGD(
            self.weights, settings.weight_rate, settings.momentum, weight_decay=settings.weight_decay
        )
        groups: list[dict[str, Any]] = [
            {"params": self.alphas[:2], "weight_decay": settings.alpha_decay},
            {"params": [gamma], "lr": settings.gamma_rate},
        ]
        self.alpha_optimizer = torch.optim.Adam(groups, settings.alpha_rate, betas=(0.5, 0.999))
        self.train = FeatureStore(train, device)
        self.validation = FeatureStore(validation, device, like=self.train)
        self.train_batches = Batches(len(self.train), settings.batch, self.generator)
        self.validation_batches = Batches(len(self.validation), settings.batch, self.generator)
        self.ratios: list[float] = []  # measured over predicted cycles
        self.expected = DartsExpectedCost(prices).to(device)
        with torch.no_grad():
            average = float(self.expected(self.probabilities()).cycles)
        self.multipliers = Multipliers(limits, settings.floor, average, settings.multiplier_rate)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        if len(allowed) == 1:
            self._settle(allowed[0])

    def probabilities(self) -> DartsProbabilities:
        return self.net.architecture.probabilities(self.net.alignment.weights())

    @property
    def table(self) -> DartsPrices:
        """The prices, corrected by the geometric mean of what measurements gave."""
        return self.prices.corrected(_mean_ratio(self.ratios))

    def advance(self, measure: Callable[[Network], float] | None) -> None:
        """One epoch."""
        settings, alignment = self.settings, self.net.alignment
        searching = self.epoch >= settings.warmup_epochs
        phase = "warm-up" if not searching else "data" if len(alignment.configs) > 1 else "network"
        rounds = len(self.train) // settings.batch
        train_losses, validation_losses = [], []
        for index in range(rounds):
            self._set_rate((self.epoch + index / rounds) / settings.epochs)
            clips = self._batch(self.train, self.train_batches)
            if searching:
                validation_losses.append(self._alpha_step(clips))
            train_losses.append(self._weight_step(clips))
        self.epoch += 1
        if searching:
            if alignment.chosen is None:
                found = decided(alignment.weights().detach(), settings.gamma_ratio)
                if found is not None:
                    self._settle(found)
            due = settings.measure_every and self.epoch % settings.measure_every == 0
            if measure is not None and due and self.epoch < settings.epochs:
                self._measure(measure, *self.derived())
        self.history.append(self._figures(phase, _mean(train_losses), _mean(validation_losses)))

    def _set_rate(self, progress: float) -> None:
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self.settings.weight_rate * 0.5 * (1 + cos(pi * progress))

    def _mixture(self) -> Callable[[], Mixture]:
        """What this step computes; called again it gives the same operators at the weights they have then."""
        architecture, count = self.net.architecture, self.settings.drawn
        if not count:
            return architecture.mixture
        state = self.generator.get_state()
        architecture.draw(self.generator, count)

        def again() -> Mixture:
            return architecture.draw(torch.Generator().manual_seed(0).set_state(state), count)

        return again

    def _loss(self, clips: tuple[list[Tensor], Tensor], mixture: Mixture) -> Tensor:
        x, labels = clips
        return F.cross_entropy(self.net(self.net.alignment(x), mixture), labels)

    def _weight_step(self, clips: tuple[list[Tensor], Tensor]) -> float:
        """One step of the weights on a training batch; its loss."""
        with torch.no_grad():
            mixture = self._mixture()()
        loss = self._loss(clips, mixture)
        gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)  # None: not drawn, left as it is
        _set_gradients(self.weights, gradients)
        nn.utils.clip_grad_norm_(self.weights, self.settings.clip)
        self.weight_optimizer.step()
        return float(loss.detach())

    def _alpha_step(self, training: tuple[list[Tensor], Tensor]) -> float:
        """One step of alpha, beta and gamma on a fresh validation batch; the loss without its penalty."""
        clips, mixture = self._batch(self.validation, self.validation_batches), self._mixture()
        if self.settings.second_order:
            rate = float(self.weight_optimizer.param_groups[0]["lr"])
            gradients, loss = second_order(
                self.weights, self.alphas, lambda: self._loss(training, mixture()),
                lambda: self._loss(clips, mixture()), rate,
            )  # fmt: skip
        else:
            loss = self._loss(clips, mixture())
            gradients = first_order(self.alphas, loss)
        expected = self.expected(self.probabilities())
        priced = first_order(self.alphas, self.multipliers.penalty(expected))
        _set_gradients(self.alphas, [a + b for a, b in zip(gradients, priced, strict=True)])
        self.alpha_optimizer.step()
        self.multipliers.ascend(expected)
        return float(loss.detach())

    def _batch(self, store: FeatureStore, batches: Batches) -> tuple[list[Tensor], Tensor]:
        """A fresh batch; those for the weights are shifted in time, all their clips alike."""
        configs = self.net.alignment.configs
        features, labels = store.batch(next(batches).to(self.device), configs)
        if store is self.train and self.settings.shift_s:
            share = 2 * float(torch.rand((), generator=self.generator)) - 1
            used = [self.space.configs[i] for i in configs]
            features = shifted(features, used, share * self.settings.shift_s)
        return features, labels

    def _settle(self, config: int) -> None:
        self.net.alignment.chosen = config
        for store in (self.train, self.validation):
            store.drop_all_but(config)

    def preference(self) -> DartsPreference:
        """Log-probabilities as they stand."""
        with torch.no_grad():
            now = self.probabilities()
        found = (now.configs, now.alpha, now.beta)
        with np.errstate(divide="ignore"):  # a configuration that is out has log-probability -inf
            return DartsPreference(*(np.log(x.double().cpu().numpy()) for x in found))

    def derived(self) -> tuple[DartsGenotype, int]:
        """The most preferred cells that hold the limits by the corrected prices, and their configuration."""
        return derive_darts(self.table, self.preference(), self.limits)

    def _measure(self, measure: Callable[[Network], float], genotype: DartsGenotype, config: int) -> float:
        """Measures a network and corrects the prices by it; measured over predicted cycles."""
        network = genotype.build(self.space.configs[config])
        cycles = float(measure(network))
        if not cycles > 0:
            raise InputError(f"a network was measured at {cycles} cycles, expected more than 0")
        self.ratios.append(cycles / self.prices.network_cycles(network))
        self.expected = DartsExpectedCost(self.table).to(self.device)
        return self.ratios[-1]

    def result(self, measure: Callable[[Network], float] | None) -> DartsResult:
        """Derives the network; with a board, one that holds the latency limit as measured."""
        table, (genotype, config) = self.table, self.derived()
        if measure is not None:
            table, genotype, config = self._held_on_board(measure, genotype, config)
        return DartsResult(
            genotype=genotype,
            config=self.space.configs[config],
            network=genotype.build(self.space.configs[config]),
            preference=self.preference(),
            cost=table.cost(genotype, config),
            gammas=tuple(torch.softmax(self.net.alignment.gamma.detach(), 0).tolist()),
            price_ratio=table.ratio,
            history=tuple(self.history),
        )

    def _held_on_board(
        self, measure: Callable[[Network], float], genotype: DartsGenotype, config: int
    ) -> tuple[DartsPrices, DartsGenotype, int]:
        """Measures, and derives again at higher prices, until a network holds the limits as measured."""
        worst, cycles = _mean_ratio(self.ratios), 0.0
        for _ in range(_FINAL_TRIES):
            ratio = self._measure(measure, genotype, config)
            table = self.prices.corrected(ratio)
            cost = table.cost(genotype, config)
            if self.limits.held_by(cost):
                return table, genotype, config
            worst, cycles = max(worst * 1.005, ratio), cost.cycles
            genotype, config = derive_darts(self.prices.corrected(worst), self.preference(), self.limits)
        raise InfeasibleError(
            f"{_FINAL_TRIES} derived networks missed the limit as measured, the last with {cycles:,.0f} cycles,"
            f" the limit is {self.limits.cycles:,.0f}",
            hint="profile the board anew: the latency model is too far off",
        )

    def _figures(self, phase: str, train_loss: float | None, validation_loss: float | None) -> dict[str, Any]:
        """What an epoch tells: nothing that would differ between two equal runs."""
        with torch.no_grad():
            now = self.probabilities()
            expected = self.expected(now)
        genotype, config = self.derived()
        cost = asdict(self.table.cost(genotype, config))
        return {
            "epoch": self.epoch,
            "phase": phase,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "expected": dict(zip(cost, map(float, expected.values()), strict=True)),
            "derived": cost,
            "derived_config": str(self.space.configs[config]),
            "derived_skips": genotype.skips,
            "gammas": now.configs.tolist(),
            "skip_share": skip_share(self.space, now),
            "entropy": {
                "gamma": _entropy(now.configs),
                "operators": _entropy(now.alpha),
                "edges": self._edge_entropy(),
            },
            "multipliers": dict(zip((*cost, "floor"), self.multipliers.state, strict=True)),
            "price_ratio": _mean_ratio(self.ratios),
        }

    def _edge_entropy(self) -> float:
        """The mean over nodes."""
        beta = self.probabilities().beta.detach()
        nodes = [beta[:, list(self.space.edges_of(n))] for n in range(self.space.nodes)]
        return sum(_entropy(x) for x in nodes) / len(nodes)

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "chosen": self.net.alignment.chosen,
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "train_batches": self.train_batches.state_dict(),
            "validation_batches": self.validation_batches.state_dict(),
            "multipliers": list(self.multipliers.state),
            "ratios": list(self.ratios),
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = state["epoch"], state["history"]
        self.net.load_state_dict(state["net"])
        if state["chosen"] is not None and self.net.alignment.chosen is None:
            self._settle(state["chosen"])
        for name in ("weight_optimizer", "alpha_optimizer", "train_batches", "validation_batches"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.multipliers.state, self.ratios = list(state["multipliers"]), list(state["ratios"])
        self.expected = DartsExpectedCost(self.table).to(self.device)


def _set_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean_ratio(ratios: Sequence[float]) -> float:
    """The geometric mean; 1 of nothing."""
    return exp(sum(map(log, ratios)) / len(ratios)) if ratios else 1.0


def _entropy(rows: Tensor) -> float:
    """Mean entropy of rows of probabilities as a share of the largest possible: 1 undecided, 0 decided."""
    choices = rows.shape[-1]
    if choices < 2:
        return 0.0
    entropies = -(rows * rows.clamp_min(1e-12).log()).sum(-1)
    return float(entropies.mean()) / log(choices)


def _identity(
    train: FeatureSet,
    validation: FeatureSet,
    prices: DartsPrices,
    limits: Limits,
    settings: DartsSettings,
    seed: int,
) -> dict[str, Any]:
    """What decides a search's result: a checkpoint goes on only under the same."""
    tables = [(x.front_end, x.fixed, x.edges) for x in (prices.cycles, prices.flash)]
    digest = 0
    for part in (*tables[0], *tables[1], prices.arena, prices.front_end_ram):
        digest = crc32(np.ascontiguousarray(part).tobytes(), digest)
    return {
        "space": {"name": "darts", **prices.space.to_json()},
        "settings": asdict(settings),
        "limits": asdict(limits),
        "seed": seed,
        "prices": f"{digest:08x}",
        "train": train.digest(),
        "validation": validation.digest(),
    }
