"""The differentiable search: weights on one half of the data, alpha and gamma on the other, inside the limits.

An epoch alternates steps of alpha and gamma on a validation batch, whose loss holds the limits' penalties, with
steps of the weights on a training batch. Warm-up epochs train weights alone. Once one
gamma is `gamma_ratio` times every other, its configuration is settled and the others' features are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from hil_nas.nas.architecture import Probabilities
from hil_nas.nas.derive import derive, feasible_configs
from hil_nas.nas.expected import ExpectedCost, Multipliers
from hil_nas.nas.features import Batches, FeatureSet, FeatureStore, shifted
from hil_nas.nas.graph import Preference
from hil_nas.nas.prices import Cost, Limits, PriceTable
from hil_nas.nas.settings import SearchResult, Settings
from hil_nas.nas.space import Choice, TinySpace
from hil_nas.nas.supernet import TinySupernet
from hil_nas.network import Network

__all__ = ["Measure", "SearchResult", "Settings", "search"]

Measure = Callable[[Network], float]
_MULTIPLIERS = ("cycles", "ram_bytes", "flash_bytes", "floor")
_FINAL_TRIES = 8  # networks that a board may find too slow before the search gives up


def search(
    space: TinySpace,
    train: FeatureSet,
    validation: FeatureSet,
    prices: PriceTable,
    limits: Limits,
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    measure: Measure | None = None,
) -> SearchResult:
    """Finds the configuration and the network that recognise best within the limits.

    Args:
        prices: of the space.
        train, validation: disjoint sets of clips; the first trains weights, the second alpha and gamma.
        on_epoch: called after every epoch with its figures.
        checkpoint: written after every epoch.
        resume: go on from `checkpoint` where it exists; on a CPU the result is the uninterrupted one's, bit by bit.
        measure: cycles of a network on the board, without the front end; corrects the prices.

    Raises:
        InfeasibleError: where no network holds the limits: before anything is trained, or at the end by the
            board's own measurements.
        InputError: where features or prices do not fit the space.
        RunError: where the checkpoint is of another search.
    """
    if prices.space != space:
        raise InputError("the prices are of another space than the one to search")
    for data in (train, validation):
        data.check(space)
    allowed = feasible_configs(prices, limits)
    identity = _identity(train, validation, prices, limits, settings, seed)
    run = _Search(train, validation, prices, limits, settings, seed, torch.device(device), allowed)
    if resume and checkpoint is not None and checkpoint.exists():
        run.load_state_dict(checkpoints.load(checkpoint, identity))
    while run.epoch < settings.epochs:
        run.advance(measure)
        if checkpoint is not None:
            checkpoints.save(checkpoint, identity, run.state_dict())
        if on_epoch is not None:
            on_epoch(run.history[-1])
    return run.result(measure)


class _Search:
    """A search between two epochs."""

    def __init__(
        self,
        train: FeatureSet,
        validation: FeatureSet,
        prices: PriceTable,
        limits: Limits,
        settings: Settings,
        seed: int,
        device: torch.device,
        allowed: tuple[int, ...],
    ) -> None:
        self.space, self.prices, self.limits, self.settings = prices.space, prices, limits, settings
        self.generator, self.device = torch.Generator().manual_seed(seed), device
        self.net = TinySupernet(self.space, self.generator, allowed).to(device)
        self.weights = list(self.net.weight_parameters().values())
        self.alphas = list(self.net.architecture_parameters().values())
        gamma = self.net.alignment.gamma
        groups: list[dict[str, Any]] = [
            {"params": [x for x in self.alphas if x is not gamma]},
            {"params": [gamma], "lr": settings.gamma_rate},
        ]
        decay, rate = settings.weight_decay, settings.weight_rate
        self.weight_optimizer = torch.optim.AdamW(self.weights, rate, weight_decay=decay)
        self.alpha_optimizer = torch.optim.Adam(groups, settings.alpha_rate, betas=(0.5, 0.999))
        self.train = FeatureStore(train, device)
        self.validation = FeatureStore(validation, device, like=self.train)
        self.train_batches = Batches(len(self.train), settings.batch, self.generator)
        self.validation_batches = Batches(len(self.validation), settings.batch, self.generator)
        self.ratios: list[float] = []  # measured over predicted cycles
        self.expected = ExpectedCost(prices).to(device)
        with torch.no_grad():
            average = float(self.expected(self.probabilities()).cycles)
        self.multipliers = Multipliers(limits, settings.floor, average, settings.multiplier_rate)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        if len(allowed) == 1:
            self._settle(allowed[0])

    def probabilities(self) -> Probabilities:
        return self.net.architecture.probabilities(self.net.alignment.weights())

    @property
    def table(self) -> PriceTable:
        """The prices, corrected by the geometric mean of what measurements gave."""
        return self.prices.corrected(_mean_ratio(self.ratios))

    def advance(self, measure: Measure | None) -> None:
        """One epoch."""
        settings = self.settings
        searching = self.epoch >= settings.warmup_epochs
        phase = "warm-up" if not searching else "data" if len(self.net.alignment.configs) > 1 else "network"
        rounds, temperature = len(self.train) // settings.batch, self._temperature()
        train_losses, validation_losses = [], []
        for index in range(rounds):
            if searching:
                validation_losses.append(self._alpha_step(temperature))
            progress = (self.epoch + index / rounds) / settings.epochs
            train_losses.append(self._weight_step(progress, temperature))
        self.epoch += 1
        if searching:
            self._decide_config()
            due = settings.measure_every and self.epoch % settings.measure_every == 0
            if measure is not None and due and self.epoch < settings.epochs:
                self._measure(measure, self.derived())
        self.history.append(self._figures(phase, _mean(train_losses), _mean(validation_losses)))

    def _weight_step(self, progress: float, temperature: float) -> float:
        """One step of the weights on a fresh training batch; its loss."""
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self.settings.weight_rate * 0.5 * (1 + cos(pi * progress))
        with torch.no_grad():
            draw = self.net.architecture.draw(self.generator, temperature)
        x, labels = self._batch(self.train, self.train_batches)
        loss = F.cross_entropy(self.net.mixture(self.net.alignment(x), draw), labels)
        _step(self.weight_optimizer, self.weights, loss)
        return float(loss.detach())

    def _alpha_step(self, temperature: float) -> float:
        """One step of alpha and gamma on a fresh validation batch; the loss without its penalty."""
        draw = self.net.architecture.draw(self.generator, temperature)
        x, labels = self._batch(self.validation, self.validation_batches)
        loss = F.cross_entropy(self.net.mixture(self.net.alignment(x), draw), labels)
        expected = self.expected(self.probabilities())
        _step(self.alpha_optimizer, self.alphas, loss + self.multipliers.penalty(expected))
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

    def _temperature(self) -> float:
        """Falls by one factor an epoch during the warm-up and by another behind it."""
        warmup, last = self.settings.warmup_epochs, self.settings.epochs - 1
        start, searching, end = self.settings.temperature
        if self.epoch < warmup:
            return start * float((searching / start) ** (self.epoch / warmup))
        return searching * float((end / searching) ** ((self.epoch - warmup) / max(1, last - warmup)))

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

    def preference(self) -> Preference:
        """Log-probabilities as they stand."""
        with torch.no_grad():
            now = self.probabilities()
        found = (now.configs, now.stem, now.widths, now.operations)
        with np.errstate(divide="ignore"):  # a configuration that is out has log-probability -inf
            return Preference(*(np.log(x.double().cpu().numpy()) for x in found))

    def derived(self) -> Choice:
        """The most preferred network that holds the limits by the corrected prices."""
        return derive(self.table, self.preference(), self.limits)

    def _measure(self, measure: Measure, choice: Choice) -> float:
        """Measures a network and corrects the prices by it; measured over predicted cycles."""
        genotype, config = self.space.at(choice)
        cycles = float(measure(genotype.build(config)))
        if not cycles > 0:
            raise InputError(f"a network was measured at {cycles} cycles, expected more than 0")
        self.ratios.append(cycles / self.prices.network_cycles(choice))
        self.expected = ExpectedCost(self.table).to(self.device)
        return self.ratios[-1]

    def result(self, measure: Measure | None) -> SearchResult:
        """Derives the network; with a board, one that holds the latency limit as measured."""
        table, choice = self.table, self.derived()
        if measure is not None:
            table, choice = self._held_on_board(measure, choice)
        genotype, config = self.space.at(choice)
        gammas = tuple(torch.softmax(self.net.alignment.gamma.detach(), 0).tolist())
        ratio = float(table.cycles.head.sum() / self.prices.cycles.head.sum())
        return SearchResult(
            genotype=genotype,
            config=config,
            network=genotype.build(config),
            choice=choice,
            preference=self.preference(),
            cost=table.cost(choice),
            gammas=gammas,
            price_ratio=ratio,
            history=tuple(self.history),
        )

    def _held_on_board(self, measure: Measure, choice: Choice) -> tuple[PriceTable, Choice]:
        """Measures, and derives again at higher prices, until a network holds the limits as measured."""
        worst = _mean_ratio(self.ratios)
        cost: Cost | None = None
        for _ in range(_FINAL_TRIES):
            ratio = self._measure(measure, choice)
            table = self.prices.corrected(ratio)
            cost = table.cost(choice)
            if self.limits.held_by(cost):
                return table, choice
            worst = max(worst * 1.005, ratio)
            choice = derive(self.prices.corrected(worst), self.preference(), self.limits)
        assert cost is not None
        raise InfeasibleError(
            f"{_FINAL_TRIES} derived networks missed the limit as measured, the last with {cost.cycles:,.0f} cycles,"
            f" the limit is {self.limits.cycles:,.0f}",
            hint="profile the board anew: the latency model is too far off",
        )

    def _figures(self, phase: str, train_loss: float | None, validation_loss: float | None) -> dict[str, Any]:
        """What an epoch tells: nothing that would differ between two equal runs."""
        with torch.no_grad():
            now = self.probabilities()
            expected = self.expected(now)
        choice, skip = self.derived(), self.net.architecture.group("skip")
        genotype, config = self.space.at(choice)
        named = {"gamma": now.configs[None], "stem": now.stem[None], "operations": now.operations, "widths": now.widths}
        return {
            "epoch": self.epoch,
            "phase": phase,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "expected": dict(zip(asdict(self.table.cost(choice)), map(float, expected.values()), strict=True)),
            "derived": asdict(self.table.cost(choice)),
            "derived_config": str(config),
            "derived_positions": len(genotype.chain),
            "gammas": now.configs.tolist(),
            "skip_share": float(now.operations[:, skip].sum(1).mean()),
            "entropy": {name: _entropy(x) for name, x in named.items()},
            "multipliers": dict(
                zip(("cycles", "ram_bytes", "flash_bytes", "floor"), self.multipliers.state, strict=True)
            ),
            "price_ratio": _mean_ratio(self.ratios),
        }

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
        self.expected = ExpectedCost(self.table).to(self.device)


def _step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor) -> None:
    """One step of these parameters alone; no other parameter gets a gradient."""
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean_ratio(ratios: Iterable[float]) -> float:
    """The geometric mean; 1 of nothing."""
    logs = [log(x) for x in ratios]
    return exp(sum(logs) / len(logs)) if logs else 1.0


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
    prices: PriceTable,
    limits: Limits,
    settings: Settings,
    seed: int,
) -> dict[str, Any]:
    """What decides a search's result: a checkpoint goes on only under the same."""
    tables = (prices.cycles, prices.ram, prices.flash)
    digest = 0
    for table in tables:
        for part in (table.front_end, table.align, table.stem, table.chain, table.head):
            digest = crc32(np.ascontiguousarray(part).tobytes(), digest)
    return {
        "space": prices.space.to_json(),
        "settings": asdict(settings),
        "limits": asdict(limits),
        "seed": seed,
        "prices": f"{digest:08x}",
        "train": train.digest(),
        "validation": validation.digest(),
    }
