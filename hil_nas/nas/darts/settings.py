"""How a search of the `darts` space runs, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hil_nas.errors import InputError
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.darts.derive import DartsPreference
from hil_nas.nas.darts.genotype import DartsGenotype
from hil_nas.nas.darts.space import OPERATORS
from hil_nas.nas.prices import Cost
from hil_nas.network import Network


@dataclass(frozen=True)
class DartsSettings:
    """How a search runs; rates are those of PC-DARTS where nothing is said.

    Attributes:
        epochs, warmup_epochs: in all, and those that train weights alone.
        batch: clips a step.
        weight_rate, momentum, weight_decay, clip: of the weights' SGD; the rate falls to 0 along a cosine.
        alpha_rate, alpha_decay: of the Adam for alpha and beta.
        gamma_rate: of the Adam for gamma.
        drawn: operators of every edge that a step computes; 0: all of them.
        second_order: whether alpha's gradient looks one step of the weights ahead.
        gamma_ratio: how far the largest gamma must lead to end the data search.
        floor: the lower end of the band below the latency limit, as a share of it.
        multiplier_rate: of dual ascent.
        shift_s: how far clips are shifted in time while weights are trained.
        measure_every: epochs between measurements; 0: only at the end.

    Raises:
        InputError: for values that make no search.
    """

    epochs: int = 50
    warmup_epochs: int = 15
    batch: int = 64
    weight_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    alpha_rate: float = 6e-4
    alpha_decay: float = 1e-3
    gamma_rate: float = 6e-4
    drawn: int = 0
    second_order: bool = False
    gamma_ratio: float = 2.0
    floor: float = 0.85
    multiplier_rate: float = 0.1
    shift_s: float = 0.0
    measure_every: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < self.epochs:
            raise InputError(f"{self.warmup_epochs} of {self.epochs} epochs cannot be the warm-up")
        for name, least in (("batch", 2), ("measure_every", 0), ("floor", 0), ("shift_s", 0), ("drawn", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.gamma_ratio <= 1 or self.floor >= 1 or self.drawn > len(OPERATORS):
            found = f"gamma_ratio {self.gamma_ratio}, floor {self.floor}, drawn {self.drawn}"
            raise InputError(f"{found}; expected above 1, below 1, at most {len(OPERATORS)}")


@dataclass(frozen=True)
class DartsResult:
    """What a search found.

    Attributes:
        preference: the log-probabilities that the network was derived from.
        cost: of the derived network by the corrected prices, front end included.
        gammas: per configuration; those of the data search where it was decided.
        price_ratio: measured over predicted cycles of the network; 1 where nothing was measured.
        history: one entry an epoch, as `on_epoch` got them.
    """

    genotype: DartsGenotype
    config: MfccConfig
    network: Network
    preference: DartsPreference
    cost: Cost
    gammas: tuple[float, ...]
    price_ratio: float
    history: tuple[dict[str, Any], ...]
