"""What the loop asks of networks and front ends, and a search of a space: the seams between loop and strategies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Generic, Literal, Protocol, TypeVar
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.multipliers import Expectation
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.nas.front_ends.alignment import Supernet
from hil_nas.nas.input_space import InputSpace
from hil_nas.nas.settings import GridSettings, Settings
from hil_nas.network import Network

Floats = NDArray[np.float64]
Point = TypeVar("Point")  # how a space names one of its networks, on one configuration
Half = Literal["train", "validation"]  # of the data: the first trains weights, the second decides


_DISTANCE = 4.0  # between the log-probabilities of a choice that was made and of one that was not


@dataclass(frozen=True)
class Reading:
    """A batch as one step reads it.

    Attributes:
        configs: the front ends that it is read under, one or more; one can come several times.
        features: of each of them, (columns, batch, frames).
        labels: (batch,).
        expected: the mean cost of networks drawn from the probabilities, with the front end that was read under.
        priced: where that front end is none of the space's: the nearest configuration that networks are priced on, and
            the front end's own cycles, RAM and flash.
    """

    configs: tuple[int, ...]
    features: list[Tensor]
    labels: Tensor
    expected: Callable[[], Expectation]
    priced: tuple[int, Floats] | None = None


@dataclass(frozen=True)
class View(Generic[Point]):
    """How a derivation looks at what was learned.

    Attributes:
        around: a point, instead of the probabilities: with noise, networks that differ from it in a choice or three.
        config: on this configuration alone; None: on all, as gamma prefers them.
        noise: of Gumbel's distribution on every log-probability of the cells or the chain. The most preferred network
            is then a sample of those that hold the limits, about by their probabilities (perturb and maximise,
            arXiv:1206.6410); in `tiny`, where it is as wide as they leave room.
    """

    config: int | None = None
    noise: np.random.Generator | None = None
    around: Point | None = None

    def configs(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.config is None:
            return logs
        return np.where(np.arange(len(logs)) == self.config, 0.0, -np.inf)

    def disturbed(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        return logs if self.noise is None else logs + self.noise.gumbel(size=logs.shape)


AS_LEARNED: View[Any] = View()


class Genotype(Protocol):
    """Everything that decides a network but the size of its input."""

    def build(self, config: FrontEnd) -> Network: ...

    def to_json(self) -> dict[str, Any]: ...


class Networks(Protocol):
    """The networks of a search as the loop trains them: a supernet and how it is drawn from."""

    @property
    def settings(self) -> Settings: ...

    @property
    def net(self) -> Supernet: ...

    def weight_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer: ...

    def reads(self, half: Half, generator: torch.Generator) -> tuple[int, ...]:
        """The front ends of a list that a step reads."""
        ...

    def loss(self, reading: Reading, half: Half, generator: torch.Generator) -> Tensor:
        """The mean cross entropy of what a step draws; its gradient is what the half teaches: that of the weights for
        "train", of alpha and gamma for "validation"."""
        ...


class FrontEndVariable(Protocol):
    """The front end as a variable of the search: what decides it, what is read under it, what it costs.

    Attributes:
        parameter: what steps of the decisions move, beside alpha.
        rounds: steps of the weights in an epoch.
        phase: what an epoch behind the warm-up searches.
        autocast: whether a GPU may train the supernet in bfloat16; slopes of window and hop want float32.
    """

    parameter: nn.Parameter
    rounds: int
    autocast: bool

    @property
    def phase(self) -> str: ...

    def rate(self, falling: float) -> float:
        """The parameter's rate of learning; `falling` goes from 1 to 0 as the weights' does."""
        ...

    def read(self, half: Half, epoch: int) -> Reading:
        """A fresh batch of one half of the data."""
        ...

    def expected(self) -> Expectation:
        """The mean cost of networks drawn from the probabilities, as everything stands."""
        ...

    def bound(self, gradient: Tensor | None) -> None:
        """Limits, in place, how hard one batch pulls at the parameter."""
        return None

    def stepped(self) -> None:
        """Called after every step of the decisions."""
        return None

    def round_ended(self) -> None:
        """Called after every step of the weights."""
        return None

    def epoch_ended(self, searching: bool) -> None:
        """Called after every epoch; `searching` is false for those of the warm-up."""
        return None

    def ended(self, epoch: int) -> bool:
        """Whether nothing is left to search after so many epochs."""
        return False

    def figures(self) -> dict[str, Any]:
        """What to watch of the front end after an epoch."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Observer(Protocol):
    """What looks at a search after every epoch, and may correct what networks cost by what it measured."""

    def epoch_ended(self, epoch: int, *, searching: bool, last: bool) -> None: ...

    def figures(self) -> dict[str, Any]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Deriving(Protocol[Point]):
    """A space with its cost table, and networks of it that hold limits.

    `ratio` is measured over predicted cycles of a network without its front end: it corrects the costs.

    Attributes:
        feasible: the configurations on which a network holds the limits.
    """

    @property
    def space(self) -> InputSpace: ...

    @property
    def feasible(self) -> tuple[int, ...]: ...

    def gammas(self) -> Floats:
        """(configs,): how much each front end is preferred, 1 in all; those that cannot hold the limits 0."""
        ...

    def derive(self, ratio: float, limits: Limits, view: View[Point] = AS_LEARNED) -> Point:
        """The most preferred network, as things stand, that holds the limits.

        Raises:
            InfeasibleError: where none does.
        """
        ...

    def at(self, point: Point) -> tuple[Genotype, FrontEnd]: ...

    def cost(self, point: Point, ratio: float) -> Cost:
        """Front end included."""
        ...

    def network_cycles(self, point: Point) -> float:
        """As predicted before any correction, without the front end."""
        ...


class Strategy(Networks, Deriving[Point], Protocol[Point]):
    """A space with its cost table, settings and supernet, for one search in a list of front ends."""

    @property
    def settings(self) -> GridSettings: ...

    def identity(self) -> dict[str, Any]:
        """The space and a digest of its cost table, as JSON has it."""
        ...

    def expected_cost(self, ratio: float) -> Callable[[], Expectation]:
        """The mean cost of networks drawn from the probabilities as they are when called."""
        ...

    def figures(self, point: Point | None) -> dict[str, Any]:
        """What to watch after an epoch: skips, entropies, alpha; `point`: what is preferred, if known."""
        ...

    def one_loss(self, point: Point, features: Tensor, labels: Tensor) -> Tensor | None:
        """Of one network with the supernet's weights; None where its networks take no part by themselves.

        Args:
            features: of its front end, (columns, batch, frames).
        """
        ...

    def preferred(self, ratio: float, limits: Limits, count: int) -> Sequence[Point]:
        """Up to so many networks on one front end that hold the limits, most preferred first, as `derive` gives it;
        none where single networks take no part by themselves."""
        ...

    def filling(self, config: int, rng: np.random.Generator) -> Point | None:
        """A network on a configuration, drawn evenly from those that fill the latency limit, or one near it that may
        break a limit; None where the space draws none so."""
        ...

    def regular(self, config: int) -> Sequence[Point]:
        """The networks on a configuration that do the same over and over and fill the latency limit."""
        ...


# Of limits, generator and device; where the space's supernet can serve several limits, of the one to share as well.
Start = Callable[..., Strategy[Point]]


@dataclass(frozen=True)
class Derived(Generic[Point]):
    """A network that holds the limits.

    Attributes:
        point: as its space names it.
        cost: by the cost table, corrected by its own measurement where there was one; front end included.
    """

    point: Point
    genotype: Genotype
    config: FrontEnd
    network: Network
    cost: Cost


def logs_of(*probabilities: Tensor) -> list[NDArray[np.float64]]:
    """Log-probabilities; those of what is out are -inf."""
    with np.errstate(divide="ignore"):
        return [np.log(x.detach().double().cpu().numpy()) for x in probabilities]


def made(shape: tuple[int, ...], *chosen: tuple[int, ...]) -> NDArray[np.float64]:
    """Log-probabilities of this shape that prefer the chosen indices."""
    preference = np.full(shape, -_DISTANCE)
    for index in chosen:
        preference[index] = 0.0
    return preference


def digest(parts: Iterable[NDArray[np.float64]]) -> str:
    """A hash of all numbers."""
    total = 0
    for part in parts:
        total = crc32(np.ascontiguousarray(part).tobytes(), total)
    return f"{total:08x}"


def by_name(names: Iterable[object], probabilities: Tensor) -> dict[str, float]:
    """Probabilities (choices,) of choices, rounded as far as anybody looks."""
    return {str(name): round(float(x), 5) for name, x in zip(names, probabilities, strict=True)}


def entropy(rows: Tensor) -> float:
    """Mean entropy of rows (..., choices) of probabilities, of the largest possible: 1 undecided, 0 decided."""
    choices = rows.shape[-1]
    if choices < 2:
        return 0.0
    entropies = -(rows * rows.clamp_min(1e-12).log()).sum(-1)
    return float(entropies.mean()) / log(choices)
