"""The data search without a grid: window, hop and coefficients are real numbers with a gradient.

The `tiny` supernet is trained as in a search, on features that a differentiable front end computes from raw clips at
each step. Behind the warm-up a validation batch gives alpha and the data point one step: down its loss, and down the
expected cost where that is above a limit. Every step reads features at a point drawn around the data point, so that
the weights suit no single one and their loss tells what the data is worth; the draws come closer as the search goes
on. It ends when the point has settled, and the point is rounded to what a device has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas import checkpoint as checkpoints
from hil_nas.nas.accelerator import accelerator
from hil_nas.nas.anchors import AnchorPrices, DataPrices, DataSpace, holds
from hil_nas.nas.architecture import Draw
from hil_nas.nas.bilevel import finite, first_order, step
from hil_nas.nas.derive import feasible_configs
from hil_nas.nas.expected import TIGHT, Expectation, ExpectedCost, Multipliers
from hil_nas.nas.features import Batches
from hil_nas.nas.prices import Limits, PriceTable
from hil_nas.nas.schedule import Schedule
from hil_nas.nas.space import TinySpace
from hil_nas.nas.supernet import TinySupernet

_JUDGES = 8  # batches that judge a rounding
_LEAST_SPREAD = 1e-6  # a coefficient that never changes stays 0

Extract = Callable[[Tensor, Tensor, Tensor], Tensor]
"""int16 clips (batch, samples), window and hop to features (batch, frames, coefficients), all that a space has."""


@dataclass(frozen=True)
class ClipSet:
    """Raw clips.

    Attributes:
        samples: (clips, samples), int16.
        labels: (clips,), int64.
    """

    samples: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, place: torch.device) -> ClipSet:
        return ClipSet(self.samples.to(place), self.labels.to(place))

    def digest(self) -> str:
        total = crc32(self.samples.numpy().tobytes(), crc32(self.labels.numpy().tobytes()))
        return f"{len(self)} clips, {total:08x}"


@dataclass(frozen=True)
class DataSettings:
    """How a data search runs.

    Attributes:
        epochs, warmup_epochs: at most, and those that train weights alone.
        rounds: steps of weights, and of alpha and the data point, in an epoch; no more than a pass over the clips.
        batch: clips a step.
        weight_rate, weight_decay: of the weights' AdamW; the rate falls to 0 along a cosine.
        alpha_rate: of alpha's Adam.
        data_rate: of the data point's Adam, as a share of the way from lowest to highest; it falls along with the
            weights'.
        data_clip: the most that a batch's loss pulls at a number of the data point. A hop a little longer moves late
            frames by whole pitch periods: its gradient is exact, and mostly noise with long tails (a mean of -1.1 with
            a standard error of 0.9 over 18 batches, where differences over 10 % of the way gave -0.17 and 0.04).
        temperature: of the samples, at first, behind the warm-up and at last.
        spread: how far around the data point features are drawn, as a share of that way: in the warm-up, behind it
            and at last.
        settled: the search ends when the data point's mean moved less than this share from one epoch to the next,
            twice.
        multiplier_rate: of dual ascent.
    """

    epochs: int = 12
    warmup_epochs: int = 3
    rounds: int = 30
    batch: int = 64
    weight_rate: float = 3e-3
    weight_decay: float = 1e-4
    alpha_rate: float = 0.05
    data_rate: float = 0.01
    data_clip: float = 0.2
    temperature: tuple[float, float, float] = (4.0, 1.0, 0.3)
    spread: tuple[float, float, float] = (0.5, 0.2, 0.1)
    settled: float = 0.02
    multiplier_rate: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < self.epochs or self.rounds < 1:
            raise InputError(f"{self.warmup_epochs} of {self.epochs} epochs of {self.rounds} rounds make no search")


@dataclass(frozen=True)
class DataResult:
    """What a data search found.

    Attributes:
        config: what a device can do, and some network on it holds the limits.
        point: window and hop in samples and coefficients, before rounding.
        history: one entry an epoch, as `on_epoch` got them.
    """

    config: FrontEnd
    point: tuple[float, float, float]
    history: tuple[dict[str, Any], ...]


class DataPoint(nn.Module):
    """Window, hop and coefficients, each on a logarithmic way from its lowest value to its highest."""

    def __init__(self, space: DataSpace) -> None:
        super().__init__()
        low, high = (torch.tensor(x, dtype=torch.float32).log() for x in zip(*space.bounds, strict=True))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("way", high - low, persistent=False)
        start = torch.tensor(space.start, dtype=torch.float32).log()
        self.place = nn.Parameter((start - low) / (high - low))  # each in 0 to 1

    def at(self, place: Tensor) -> Tensor:
        """(3,): window and hop in samples, coefficients."""
        return (self.get_buffer("low") + self.get_buffer("way") * place).exp()

    def near(self, noise: Tensor) -> Tensor:
        """The point so far away on each way, as far as there is one; with its gradient: (3,)."""
        return self.at((self.place + noise).clamp(0, 1))


def search_data(
    space: DataSpace,
    tiny: TinySpace,
    extract: Extract,
    train: ClipSet,
    validation: ClipSet,
    prices: DataPrices,
    limits: Limits,
    settings: DataSettings,
    *,
    seed: int,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    place: torch.device | None = None,
) -> DataResult:
    """Finds the front end on which networks recognise best within the limits.

    Args:
        tiny: the networks; its configurations are not used.
        extract: the differentiable front end.
        train, validation: disjoint sets of clips; the first trains weights, the second alpha and the data point.
        on_epoch: called after every epoch with its figures, before the checkpoint that skips it: a kill between the
            two tells an epoch twice and loses none.
        checkpoint: written after every epoch.
        resume: go on from `checkpoint` where it exists; on a CPU the result is the uninterrupted one's, bit by bit.
        place: where the supernet is trained; None: a GPU where there is one.

    Raises:
        InfeasibleError: where no network holds the limits on the cheapest configuration; before anything is trained.
        RunError: where the checkpoint is of another search.
    """
    cheapest = prices.table(replace(tiny, configs=(space.cheapest,)))
    feasible_configs(cheapest, limits)
    place = place or accelerator()
    run = _DataSearch(space, tiny, extract, train, validation, prices, limits, settings, seed, place)
    identity = {
        "space": asdict(space),
        "networks": {**tiny.to_json(), "configs": []},
        "prices": run.prices.digest,
        "limits": asdict(limits),
        "settings": asdict(settings),
        "seed": seed,
        "train": train.digest(),
        "validation": validation.digest(),
    }
    if resume and checkpoint is not None and checkpoint.exists():
        run.load_state_dict(checkpoints.load(checkpoint, identity))
    while not run.ended:
        run.advance()
        if on_epoch is not None:
            on_epoch(run.history[-1])
        if checkpoint is not None:
            checkpoints.save(checkpoint, identity, run.state_dict())
    return run.result(prices)


class _DataSearch:
    """A data search between two epochs."""

    def __init__(
        self,
        space: DataSpace,
        tiny: TinySpace,
        extract: Extract,
        train: ClipSet,
        validation: ClipSet,
        prices: DataPrices,
        limits: Limits,
        settings: DataSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        self.space, self.extract, self.limits, self.settings, self.device = space, extract, limits, settings, device
        self.generator = torch.Generator().manual_seed(seed)
        self.tiny = replace(tiny, configs=(space.config(*space.start[:2], space.coefficients[1]),))
        self.net, self.data = TinySupernet(self.tiny, self.generator).to(device), DataPoint(space).to(device)
        self.prices = AnchorPrices(space, tiny, prices).to(device)
        self.weights = list(self.net.weight_parameters().values())
        alphas = [x for name, x in self.net.architecture_parameters().items() if name != "alignment.gamma"]
        self.decisions = [*alphas, self.data.place]
        groups: list[dict[str, Any]] = [{"params": alphas}, {"params": [self.data.place], "lr": settings.data_rate}]
        self.weight_optimizer = torch.optim.AdamW(
            self.weights, settings.weight_rate, weight_decay=settings.weight_decay
        )
        self.alpha_optimizer = torch.optim.Adam(groups, settings.alpha_rate, betas=(0.5, 0.999))
        self.train, self.validation = train.to(device), validation.to(device)
        self.train_batches = Batches(len(train), settings.batch, self.generator)
        self.validation_batches = Batches(len(validation), settings.batch, self.generator)
        with torch.no_grad():
            start = [float(x) for x in self._expected(self.data.place).values()]
        # Without a floor: cycles that a longer front end takes must not count as used.
        self.multipliers = Multipliers(limits, 0.0, start, settings.multiplier_rate)
        self.schedule, self.epoch = Schedule(settings.epochs, settings.warmup_epochs), 0
        self.history: list[dict[str, Any]] = []
        self.means: list[Tensor] = []  # of the data point's place in every epoch

    @property
    def ended(self) -> bool:
        return self.epoch >= self.settings.epochs or self._settled()

    def _settled(self) -> bool:
        recent = self.means[-3:]
        moves = [float((b - a).abs().max()) for a, b in zip(recent, recent[1:], strict=False)]
        if self.limits != Limits() and self.schedule.searched(self.epoch) < TIGHT:
            return False  # it rests where the limits are not yet in force
        return self.epoch - self.settings.warmup_epochs >= 3 and len(moves) == 2 and max(moves) < self.settings.settled

    def advance(self) -> None:
        """One epoch."""
        settings, searching = self.settings, self.epoch >= self.settings.warmup_epochs
        train_losses, validation_losses, places = [], [], []
        rounds = min(settings.rounds, len(self.train) // settings.batch)
        for index in range(rounds):
            self._set_rates(now := self.epoch + index / rounds)
            if searching:
                self.multipliers.tighten(self.schedule.searched(now))
                validation_losses.append(self._decision_step())
            train_losses.append(self._weight_step())
            places.append(self.data.place.detach().clone())
        self.epoch += 1
        self.means.append(torch.stack(places).mean(0))
        self.history.append(self._figures(searching, train_losses, validation_losses))

    def _set_rates(self, epoch: float) -> None:
        falling = self.schedule.cosine(epoch)
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self.settings.weight_rate * falling
        self.alpha_optimizer.param_groups[1]["lr"] = self.settings.data_rate * falling

    def _weight_step(self) -> float:
        """One step of the weights on a fresh training batch; its loss."""
        with torch.no_grad():
            draw, point = self._draw(), self.data.near(self._noise())
        loss = self._loss(self.train, next(self.train_batches).to(self.device), point, draw)
        value = finite(loss, f"the training of the supernet, epoch {self.epoch + 1}")
        step(self.weight_optimizer, self.weights, first_order(self.weights, loss))
        return value

    def _decision_step(self) -> float:
        """One step of alpha and the data point on a fresh validation batch; the loss without its penalty."""
        draw, noise = self._draw(), self._noise()
        chosen = next(self.validation_batches).to(self.device)
        loss = self._loss(self.validation, chosen, self.data.near(noise), draw)
        value = finite(loss, f"the validation of the supernet, epoch {self.epoch + 1}")
        gradients = first_order(self.decisions, loss)
        gradients[-1].clamp_(-self.settings.data_clip, self.settings.data_clip)
        expected = self._expected(self.data.near(noise))
        priced = first_order(self.decisions, self.multipliers.penalty(expected))
        step(self.alpha_optimizer, self.decisions, [a + b for a, b in zip(gradients, priced, strict=True)])
        with torch.no_grad():
            self.data.place.clamp_(0, 1)
        self.multipliers.ascend(expected)
        return value

    def _loss(self, clips: ClipSet, chosen: Tensor, point: Tensor, draw: Draw) -> Tensor:
        features = self.extract(clips.samples[chosen], point[0], point[1])
        x = kept(standardised(features), point[2]).permute(2, 0, 1)  # (coefficients, batch, frames)
        return F.cross_entropy(self.net.mixture(self.net.alignment([x]), draw), clips.labels[chosen])

    def _draw(self) -> Draw:
        return self.net.architecture.draw(self.generator, self.schedule.falling(self.settings.temperature, self.epoch))

    def _noise(self) -> Tensor:
        """How far from the data point this step's features are drawn, (3,)."""
        spread = self.schedule.falling(self.settings.spread, self.epoch)
        return (spread * (2 * torch.rand(3, generator=self.generator) - 1)).to(self.device)

    def _expected(self, point: Tensor) -> Expectation:
        chosen = self.net.architecture.probabilities(torch.ones(1, device=self.device))
        expected: Expectation = self.prices(point, chosen)
        return expected

    def _figures(self, searching: bool, train_losses: list[float], validation_losses: list[float]) -> dict[str, Any]:
        """What an epoch tells: nothing that would differ between two equal runs."""
        with torch.no_grad():
            window, hop, coefficients = (point := self.data.at(self.means[-1])).tolist()
            expected = self._expected(point)
        return {
            "epoch": self.epoch,
            "phase": "data" if searching else "warm-up",
            "window_samples": window,
            "hop_samples": hop,
            "coefficients": coefficients,
            "train_loss": fmean(train_losses),
            "validation_loss": fmean(validation_losses) if searching else None,
            "expected": dict(zip(("cycles", "ram_bytes", "flash_bytes"), map(float, expected.values()), strict=True)),
            "multipliers": list(self.multipliers.state[:3]),
        }

    def result(self, prices: DataPrices) -> DataResult:
        """The mean of the last epoch as the configuration that supernet and exact prices say most for."""
        window, hop, coefficients = self.data.at(self.means[-1]).tolist()
        tables = {x: prices.table(self._tiny_on(x)) for x in self.space.roundings(window, hop, coefficients)}
        held = [x for x, table in tables.items() if holds(table, self.limits)]
        config = min(held, key=lambda x: self._objective(x, tables[x])) if held else self._cheaper(hop, prices)
        return DataResult(config, (window, hop, coefficients), tuple(self.history))

    def _objective(self, config: FrontEnd, table: PriceTable) -> float:
        """Validation loss with the exact price's penalty, on the same batches and draws for every configuration."""
        generator = torch.Generator().manual_seed(0)
        numbers = [config.window_samples, config.hop_samples, config.columns]
        point = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        chosen = torch.split(torch.arange(len(self.validation), device=self.device), self.settings.batch)[:_JUDGES]
        with torch.no_grad():
            draws = [self.net.architecture.draw(generator, self.settings.temperature[2]) for _ in chosen]
            losses = [self._loss(self.validation, x, point, draw) for x, draw in zip(chosen, draws, strict=True)]
            probabilities = self.net.architecture.probabilities(torch.ones(1, device=self.device))
            expected = ExpectedCost(table).to(self.device)(probabilities)
            return float(torch.stack(losses).mean() + self.multipliers.penalty(expected))

    def _cheaper(self, hop: float, prices: DataPrices) -> FrontEnd:
        """Where no rounding holds the limits: the first of ever cheaper configurations that does; the last one did."""
        for config in self.space.cheaper_than(hop):
            if holds(prices.table(self._tiny_on(config)), self.limits):
                return config
        return self.space.cheapest

    def _tiny_on(self, config: FrontEnd) -> TinySpace:
        return replace(self.tiny, configs=(config,))

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "data": self.data.state_dict(),
            "weight_optimizer": self.weight_optimizer.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "train_batches": self.train_batches.state_dict(),
            "validation_batches": self.validation_batches.state_dict(),
            "multipliers": list(self.multipliers.state),
            "means": self.means,
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = state["epoch"], state["history"]
        self.means = [x.to(self.device) for x in state["means"]]
        for name in ("net", "data", "weight_optimizer", "alpha_optimizer", "train_batches", "validation_batches"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.multipliers.state = list(state["multipliers"])


def standardised(features: Tensor) -> Tensor:
    """Features (clips, frames, coefficients) with mean 0 and spread 1 of every coefficient over the batch.

    A longer window, and more so a longer FFT, raises every energy: no configuration should be better for that.
    """
    spread, mean = torch.std_mean(features, dim=(0, 1), correction=0)
    return (features - mean) / spread.clamp_min(_LEAST_SPREAD)


def kept(features: Tensor, coefficients: Tensor) -> Tensor:
    """The first of the last axis' values, a whole number of them and a share of the next, the others 0."""
    places = torch.arange(features.shape[-1], device=features.device)
    return features * (coefficients - places).clamp(0, 1)
