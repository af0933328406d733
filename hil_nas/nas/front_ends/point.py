"""Any front end: window, hop and coefficients are real numbers with a gradient.

Features come from a differentiable front end, computed from raw clips at each step. Every step reads them at a point
drawn around the one that is searched, so that the weights suit no single one and their loss tells what the data is
worth; the draws come closer as the search goes on. It ends when the point has settled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from hil_nas.nas.costs.multipliers import TIGHT, Expectation
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.front_ends.anchors import AnchorCosts, FrontEndSpace
from hil_nas.nas.front_ends.feature_store import Batches
from hil_nas.nas.protocols import FrontEndVariable, Half, Reading
from hil_nas.nas.schedule import Schedule
from hil_nas.nas.settings import Settings
from hil_nas.nas.tiny.strategy import TinyNetworks

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

    def to(self, device: torch.device) -> ClipSet:
        return ClipSet(self.samples.to(device), self.labels.to(device))

    def digest(self) -> str:
        total = crc32(self.samples.numpy().tobytes(), crc32(self.labels.numpy().tobytes()))
        return f"{len(self)} clips, {total:08x}"


@dataclass(frozen=True)
class ContinuousSettings(Settings):
    """How a front end is searched by gradient.

    There is no floor: cycles that a longer front end takes must not count as used.

    Attributes:
        epochs: at most.
        rounds: steps of weights, and of the decisions, in an epoch; no more than a pass over the clips.
        data_rate: of the point's Adam, as a share of the way from lowest to highest; it falls along with the weights'.
        data_clip: the most that a batch's loss pulls at a number of the point. A hop a little longer moves late
            frames by whole pitch periods: its gradient is exact, and mostly noise with long tails (a mean of -1.1 with
            a standard error of 0.9 over 18 batches, where differences over 10 % of the way gave -0.17 and 0.04).
        band, worth, paths: as of `nas.tiny.settings.TinySettings`.
        spread: how far around the point features are drawn, as a share of that way: in the warm-up, behind it and at
            last.
        settled: the search ends when the point's mean moved less than this share from one epoch to the next, twice.
    """

    epochs: int = 12
    warmup_epochs: int = 3
    floor: float = 0.0
    rounds: int = 30
    data_rate: float = 0.01
    data_clip: float = 0.2
    band: float = 0.6
    worth: float = 20.0
    paths: int = 4
    spread: tuple[float, float, float] = (0.5, 0.2, 0.1)
    settled: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect_at_least(rounds=1, band=0, worth=0, paths=2)


class FrontEndPoint(nn.Module):
    """Window, hop and coefficients, each on a logarithmic way from its lowest value to its highest."""

    def __init__(self, space: FrontEndSpace) -> None:
        super().__init__()
        low, high = (torch.tensor(x, dtype=torch.float32).log() for x in zip(*space.bounds, strict=True))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("way", high - low, persistent=False)
        start = torch.tensor(space.start, dtype=torch.float32).log()
        self.share = nn.Parameter((start - low) / (high - low))  # how far along each way the point lies, 0 to 1

    def at(self, share: Tensor) -> Tensor:
        """(3,): window and hop in samples, coefficients."""
        return (self.get_buffer("low") + self.get_buffer("way") * share).exp()

    def near(self, noise: Tensor) -> Tensor:
        """The point moved by `noise` along each way, or to its end; differentiable in the point. (3,)."""
        return self.at((self.share + noise).clamp(0, 1))


class ContinuousFrontEnd(FrontEndVariable):
    """As `nas.protocols.FrontEndVariable`.

    Args:
        networks: that read the features.
        costs: of the networks, and of front ends anywhere.
        extract: the differentiable front end.
        train, validation: disjoint sets of clips.
    """

    phase, autocast = "data", False

    def __init__(
        self,
        space: FrontEndSpace,
        networks: TinyNetworks,
        costs: AnchorCosts,
        extract: Extract,
        train: ClipSet,
        validation: ClipSet,
        limits: Limits,
        settings: ContinuousSettings,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.point = FrontEndPoint(space).to(device)
        self.parameter = self.point.share
        self._networks, self._costs, self._extract = networks, costs, extract
        self._limits, self._settings, self._generator, self._device = limits, settings, generator, device
        self._schedule = Schedule(settings.epochs, settings.warmup_epochs)
        self.clips: dict[Half, ClipSet] = {"train": train.to(device), "validation": validation.to(device)}
        sizes = {half: len(x) for half, x in self.clips.items()}  # of few recordings less than a batch
        self._batches = {half: Batches(x, min(settings.batch, x), generator) for half, x in sizes.items()}
        self.rounds = max(1, min(settings.rounds, len(train) // settings.batch))
        self._passed: list[Tensor] = []  # the point's shares in this epoch's rounds
        self.means: list[Tensor] = []  # of them in every epoch

    def rate(self, falling: float) -> float:
        return self._settings.data_rate * falling

    def read(self, half: Half, epoch: int) -> Reading:
        """At a point drawn around the one that is searched."""
        spread = self._schedule.falling(self._settings.spread, epoch)
        noise = (spread * (2 * torch.rand(3, generator=self._generator) - 1)).to(self._device)
        clips = next(self._batches[half]).to(self._device)
        return self.at(self.point.near(noise), half, clips, lambda: self._expected(self.point.near(noise)))

    def at(self, point: Tensor, half: Half, clips: Tensor, expected: Callable[[], Expectation]) -> Reading:
        """Some clips at one point."""
        samples, labels = self.clips[half].samples[clips], self.clips[half].labels[clips]
        features = self._extract(samples, point[0], point[1])
        x = kept(standardised(features), point[2]).permute(2, 0, 1)  # (coefficients, batch, frames)
        own = self._costs.front_end(point).detach().double().cpu().numpy()
        return Reading((0,), [x], labels, expected, (self._costs.nearest(point), own))

    def _expected(self, point: Tensor) -> Expectation:
        expected: Expectation = self._costs(point, self._networks.probabilities())
        return expected

    def expected(self) -> Expectation:
        """At the epoch's mean; before the first, where the search starts."""
        return self._expected(self.point.at(self.means[-1] if self.means else self.parameter))

    def mean_point(self) -> tuple[float, float, float]:
        """The mean of the last epoch: window and hop in samples, coefficients."""
        with torch.no_grad():
            window, hop, coefficients = self.point.at(self.means[-1]).tolist()
        return window, hop, coefficients

    def bound(self, gradient: Tensor | None) -> None:
        if gradient is not None:
            gradient.clamp_(-self._settings.data_clip, self._settings.data_clip)

    def stepped(self) -> None:
        with torch.no_grad():
            self.parameter.clamp_(0, 1)

    def round_ended(self) -> None:
        self._passed.append(self.parameter.detach().clone())

    def epoch_ended(self, searching: bool) -> None:
        self.means.append(torch.stack(self._passed).mean(0))
        self._passed = []

    def ended(self, epoch: int) -> bool:
        recent = self.means[-3:]
        moves = [float((b - a).abs().max()) for a, b in zip(recent, recent[1:], strict=False)]
        if self._limits != Limits() and self._schedule.searched(epoch) < TIGHT:
            return False  # it rests where the limits are not yet in force
        settings = self._settings
        return epoch - settings.warmup_epochs >= 3 and len(moves) == 2 and max(moves) < settings.settled

    def figures(self) -> dict[str, Any]:
        return dict(zip(("window_samples", "hop_samples", "coefficients"), self.mean_point(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        batches = {half: x.state_dict() for half, x in self._batches.items()}
        return {"point": self.point.state_dict(), "means": self.means, "batches": batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.point.load_state_dict(state["point"])
        self.means = [x.to(self._device) for x in state["means"]]
        for half, batches in self._batches.items():
            batches.load_state_dict(state["batches"][half])


def standardised(features: Tensor) -> Tensor:
    """Features (clips, frames, coefficients) with mean 0 and spread 1 of every coefficient over the batch.

    A longer window, and more so a longer FFT, raises every energy: no configuration should be better for that.
    """
    spread, mean = torch.std_mean(features, dim=(0, 1), correction=0)
    return (features - mean) / spread.clamp_min(_LEAST_SPREAD)


def kept(features: Tensor, coefficients: Tensor) -> Tensor:
    """The first of the last axis' values, a whole number of them and a share of the next, the others 0."""
    indices = torch.arange(features.shape[-1], device=features.device)
    return features * (coefficients - indices).clamp(0, 1)
