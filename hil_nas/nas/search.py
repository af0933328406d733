"""The differentiable search: weights on one half of the data, the architecture on the other, inside the limits.

An epoch alternates steps of alpha and gamma on a validation batch, whose loss holds the limits' penalties, with
steps of the weights on a training batch. Warm-up epochs train weights alone. Once one gamma is `gamma_ratio` times
every other, its configuration is settled and the others' features are dropped.

Everything that differs between spaces stands behind `Strategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from math import exp, log
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.errors import InfeasibleError, InputError
from hil_nas.nas import checkpoint as checkpoints
from hil_nas.nas.accelerator import accelerator
from hil_nas.nas.alignment import decided
from hil_nas.nas.bilevel import finite, step
from hil_nas.nas.expected import Multipliers
from hil_nas.nas.features import Batches, FeatureSet, FeatureStore, shifted
from hil_nas.nas.prices import Limits
from hil_nas.nas.rivals import neighbours, rivals
from hil_nas.nas.schedule import Schedule
from hil_nas.nas.strategy import Derived, Logits, Point, SearchResult, Start, Strategy
from hil_nas.network import Network

Measure = Callable[[Network], float]
Clips = tuple[list[Tensor], Tensor]  # features of every configuration, and labels
_FINAL_TRIES = 8  # networks that a board may find too slow before the search gives up


def search(
    start: Start[Point],
    train: FeatureSet,
    validation: FeatureSet,
    limits: Limits,
    *,
    seed: int,
    place: torch.device | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measure: Measure | None = None,
) -> SearchResult:
    """Finds the configuration and the network that recognise best within the limits.

    Args:
        start: of a space, with its prices and settings.
        train, validation: disjoint sets of clips; the first trains weights, the second alpha and gamma.
        place: where the supernet is trained; None: a GPU where there is one.
        on_epoch: called after every epoch with its figures, before the checkpoint that skips it: a kill between the
            two tells an epoch twice and loses none.
        checkpoint: written after every epoch.
        resume: go on from `checkpoint` where it exists; on a CPU the result is the uninterrupted one's, bit by bit.
        measure: cycles of a network on the board, without the front end; corrects the prices.

    Raises:
        InfeasibleError: where no network holds the limits: before anything is trained, or at the end by the
            board's own measurements.
        InputError: where features do not fit the space.
        RunError: where the checkpoint is of another search.
    """
    generator = torch.Generator().manual_seed(seed)
    place = place or accelerator()
    strategy = start(limits, generator, place)
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
    run = _Search(strategy, train, validation, limits, generator, place)
    if resume and checkpoint is not None and checkpoint.exists():
        run.load_state_dict(checkpoints.load(checkpoint, identity))
    while not run.ended:
        run.advance(measure)
        if on_epoch is not None:
            on_epoch(run.history[-1])
        if checkpoint is not None:
            checkpoints.save(checkpoint, identity, run.state_dict())
    return run.result(measure)


class _Search(Generic[Point]):
    """A search between two epochs."""

    def __init__(
        self,
        strategy: Strategy[Point],
        train: FeatureSet,
        validation: FeatureSet,
        limits: Limits,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.strategy, self.limits, self.settings = strategy, limits, strategy.settings
        self.generator, self.device = generator, device
        self.net, settings = strategy.net, strategy.settings
        self.weights = list(self.net.weight_parameters().values())
        self.alphas = list(self.net.architecture_parameters().values())
        self.weight_optimizer = strategy.weight_optimizer(self.weights)
        gamma = self.net.alignment.gamma
        groups: list[dict[str, Any]] = [
            {"params": [x for x in self.alphas if x is not gamma], "weight_decay": settings.alpha_decay},
            {"params": [gamma], "lr": settings.gamma_rate},
        ]
        self.alpha_optimizer = torch.optim.Adam(groups, settings.alpha_rate, betas=(0.5, 0.999))
        configs = strategy.space.configs
        self.train = FeatureStore(train, configs, device)
        self.validation = FeatureStore(validation, configs, device, like=self.train)
        self.train_batches = Batches(len(self.train), settings.batch, self.generator)
        self.validation_batches = Batches(len(self.validation), settings.batch, self.generator)
        self.ratios: list[float] = []  # measured over predicted cycles
        self.expected = strategy.expected_cost(1.0)
        with torch.no_grad():
            start = [float(x) for x in self.expected().values()]
        self.multipliers = Multipliers(limits, settings.floor, start, settings.multiplier_rate)
        self.schedule = Schedule(settings.epochs, settings.warmup_epochs)
        self.epoch, self.ended = 0, False
        self.history: list[dict[str, Any]] = []
        if len(strategy.allowed) == 1:
            self._settle(strategy.allowed[0])

    @property
    def ratio(self) -> float:
        """The geometric mean of what measurements gave."""
        return _mean_ratio(self.ratios)

    def advance(self, measure: Measure | None) -> None:
        """One epoch."""
        settings = self.settings
        searching = self.epoch >= settings.warmup_epochs
        phase = "warm-up" if not searching else "data" if len(self.net.alignment.configs) > 1 else "network"
        rounds = len(self.train) // settings.batch
        train_losses, validation_losses = [], []
        for index in range(rounds):
            self._set_rate(now := self.epoch + index / rounds)
            if searching:
                self.multipliers.tighten(self.schedule.searched(now))
                validation_losses.append(self._alpha_step())
            train_losses.append(self._weight_step())
        self.epoch += 1
        self.ended = self.epoch == settings.epochs
        if searching:
            self._decide_config()
            due = settings.measure_every and self.epoch % settings.measure_every == 0
            if measure is not None and due and not self.ended:
                self._measure(measure, self.derived())
        self.history.append(self._figures(phase, _mean(train_losses), _mean(validation_losses)))

    def _set_rate(self, epoch: float) -> None:
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self.settings.weight_rate * self.schedule.cosine(epoch)

    def _weight_step(self) -> float:
        """One step of the weights on a fresh training batch; its loss."""
        with torch.no_grad():
            logits = self.strategy.draw(self.generator, self.epoch)
        loss = self._loss(self._batch(self.train, self.train_batches), logits)
        value = finite(loss, f"the training of the supernet, epoch {self.epoch + 1}")
        # None for what was not drawn: it stays as it is
        gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)
        step(self.weight_optimizer, self.weights, gradients, self.settings.clip)
        return value

    def _alpha_step(self) -> float:
        """One step of alpha and gamma on a fresh validation batch; the loss without its penalty."""
        logits = self.strategy.draw(self.generator, self.epoch)
        loss = self._loss(self._batch(self.validation, self.validation_batches), logits)
        value = finite(loss, f"the validation of the supernet, epoch {self.epoch + 1}")
        expected = self.expected()
        penalised = loss + self.multipliers.penalty(expected)
        gradients = torch.autograd.grad(penalised, self.alphas, allow_unused=True)
        step(self.alpha_optimizer, self.alphas, gradients)
        self.multipliers.ascend(expected)
        return value

    def _loss(self, clips: Clips, logits: Logits) -> Tensor:
        features, labels = clips
        with nullcontext() if self.device.type != "cuda" else torch.autocast("cuda", torch.bfloat16):
            found = logits(self.net.alignment(features))
        return F.cross_entropy(found.float(), labels)

    def _batch(self, store: FeatureStore, batches: Batches) -> Clips:
        """A fresh batch; those for the weights are shifted in time, all their clips alike."""
        configs = self.net.alignment.configs
        features, labels = store.batch(next(batches).to(self.device), configs)
        if store is self.train and self.settings.shift_s:
            share = 2 * float(torch.rand((), generator=self.generator)) - 1
            used = [self.strategy.space.configs[i] for i in configs]
            features = shifted(features, used, share * self.settings.shift_s)
        return features, labels

    def _decide_config(self) -> None:
        alignment = self.net.alignment
        if alignment.chosen is None:
            found = decided(alignment.weights().detach(), self.settings.gamma_ratio)
            if found is not None:
                self._settle(found)

    def _settle(self, config: int) -> None:
        self.net.alignment.chosen = config
        for store in (self.train, self.validation):
            store.drop_all_but(config)

    def derived(self) -> Point:
        """The most preferred network that holds the limits by the corrected prices."""
        return self.strategy.derive(self.ratio, self.limits)

    def _measure(self, measure: Measure, point: Point) -> float:
        """Measures a network and corrects the prices by it; measured over predicted cycles."""
        genotype, config = self.strategy.at(point)
        cycles = float(measure(genotype.build(config)))
        if not cycles > 0:
            raise InputError(f"a network was measured at {cycles} cycles, expected more than 0")
        self.ratios.append(cycles / self.strategy.network_cycles(point))
        self.expected = self.strategy.expected_cost(self.ratio)
        return self.ratios[-1]

    def result(self, measure: Measure | None) -> SearchResult:
        """Derives the network; with a board, one that holds the latency limit as measured. And its rivals."""
        ratio, point = self.ratio, self.derived()
        if measure is not None:
            ratio, point = self._held_on_board(measure, point)
        return SearchResult(
            **vars(self._described(point, ratio, measure)),
            rivals=tuple(self._holding(self._rivals(point), measure)),
            gammas=tuple(torch.softmax(self.net.alignment.gamma.detach(), 0).tolist()),
            price_ratio=ratio,
            history=tuple(self.history),
        )

    def _described(self, point: Point, ratio: float, measure: Measure | None) -> Derived:
        genotype, config = self.strategy.at(point)

        def near(count: int, rng: np.random.Generator) -> list[Derived]:
            points = neighbours(self.strategy, point, self.limits, ratio=self.ratio, count=count, rng=rng)
            return list(self._holding(points, measure))

        return Derived(genotype, config, genotype.build(config), self.strategy.cost(point, ratio), near)

    def _rivals(self, first: Point) -> list[Point]:
        """On the leading configurations, or on the one that the data search settled."""
        gammas = self.net.alignment.weights().detach().double().cpu().numpy()
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=self.generator)))
        count = self.settings.rivals
        return rivals(self.strategy, first, gammas, self.limits, ratio=self.ratio, count=count, rng=rng)

    def _holding(self, points: Iterable[Point], measure: Measure | None) -> Iterator[Derived]:
        """Those that hold the limits, as measured where there is a board."""
        for point in points:
            ratio = self.ratio if measure is None else self._measure(measure, point)
            described = self._described(point, ratio, measure)
            if self.limits.held_by(described.cost):
                yield described

    def _held_on_board(self, measure: Measure, point: Point) -> tuple[float, Point]:
        """Measures, and derives again at higher prices, until a network holds the limits as measured."""
        worst, cycles = self.ratio, 0.0
        for _ in range(_FINAL_TRIES):
            ratio = self._measure(measure, point)
            cost = self.strategy.cost(point, ratio)
            if self.limits.held_by(cost):
                return ratio, point
            worst, cycles = max(worst * 1.005, ratio), cost.cycles
            point = self.strategy.derive(worst, self.limits)
        raise InfeasibleError(
            f"{_FINAL_TRIES} derived networks missed the limit as measured, the last with"
            f" {self.limits.told(0, cycles)}, the limit is {self.limits.told(0, self.limits.values()[0])}",
            hint="profile the board anew: the latency model is too far off",
        )

    def _figures(self, phase: str, train_loss: float | None, validation_loss: float | None) -> dict[str, Any]:
        """What an epoch tells: nothing that would differ between two equal runs."""
        with torch.no_grad():
            expected = self.expected()
        point = self.derived()
        cost = asdict(self.strategy.cost(point, self.ratio))
        return {
            "epoch": self.epoch,
            "phase": phase,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "expected": dict(zip(cost, map(float, expected.values()), strict=True)),
            "derived": cost,
            "derived_config": str(self.strategy.at(point)[1]),
            "gammas": expected.configs.tolist(),
            **self.strategy.figures(point),
            "multipliers": dict(zip((*cost, "floor"), self.multipliers.state, strict=True)),
            "price_ratio": self.ratio,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "epoch": self.epoch,
            "ended": self.ended,
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
        self.epoch, self.ended, self.history = state["epoch"], state["ended"], state["history"]
        self.net.load_state_dict(state["net"])
        if state["chosen"] is not None and self.net.alignment.chosen is None:
            self._settle(state["chosen"])
        for name in ("weight_optimizer", "alpha_optimizer", "train_batches", "validation_batches"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.multipliers.state, self.ratios = list(state["multipliers"]), list(state["ratios"])
        self.expected = self.strategy.expected_cost(self.ratio)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean_ratio(ratios: Iterable[float]) -> float:
    """The geometric mean; 1 of nothing."""
    logs = [log(x) for x in ratios]
    return exp(sum(logs) / len(logs)) if logs else 1.0
