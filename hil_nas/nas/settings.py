"""How a search runs, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hil_nas.errors import InputError
from hil_nas.mfcc import MfccConfig
from hil_nas.nas.genotype import TinyGenotype
from hil_nas.nas.graph import Preference
from hil_nas.nas.prices import Cost
from hil_nas.nas.space import Choice
from hil_nas.network import Network


@dataclass(frozen=True)
class Settings:
    """How a search runs.

    Attributes:
        epochs, warmup_epochs: in all, and those that train weights alone.
        batch: clips a step.
        weight_rate, weight_decay: of the weights' AdamW; the rate falls to 0 along a cosine.
        alpha_rate, gamma_rate: of the architecture's Adam. A step of Adam is about as long as its rate whatever the
            gradient, so gamma's is low: twice every other is then what many batches agreed on.
        temperature: of the samples, at first, behind the warm-up and at last. Hot mixtures hide what a small network
            loses, and with it what the limit costs, so the search itself begins cool.
        gamma_ratio: how far the largest gamma must lead to end the data search.
        floor: the lower end of the band below the latency limit, as a share of it.
        multiplier_rate: of dual ascent.
        shift_s: how far clips are shifted in time while weights are trained.
        measure_every: epochs between measurements; 0: only at the end.

    Raises:
        InputError: for values that make no search.
    """

    epochs: int = 20
    warmup_epochs: int = 4
    batch: int = 64
    weight_rate: float = 3e-3
    weight_decay: float = 1e-4
    alpha_rate: float = 0.05
    gamma_rate: float = 0.005
    temperature: tuple[float, float, float] = (4.0, 1.0, 0.3)
    gamma_ratio: float = 2.0
    floor: float = 0.85
    multiplier_rate: float = 0.2
    shift_s: float = 0.1
    measure_every: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < self.epochs:
            raise InputError(f"{self.warmup_epochs} of {self.epochs} epochs cannot be the warm-up")
        for name, least in (("batch", 2), ("measure_every", 0), ("floor", 0), ("shift_s", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.gamma_ratio <= 1 or self.floor >= 1 or min(self.temperature) <= 0:
            found = f"gamma_ratio {self.gamma_ratio}, floor {self.floor}, temperature {self.temperature}"
            raise InputError(f"{found}; expected above 1, below 1, above 0")


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        preference: the log-probabilities that the network was derived from.
        cost: of the derived network by the corrected prices, front end included.
        gammas: per configuration; those of the data search where it was decided.
        price_ratio: measured over predicted cycles of the network; 1 where nothing was measured.
        history: one entry an epoch, as `on_epoch` got them.
    """

    genotype: TinyGenotype
    config: MfccConfig
    network: Network
    choice: Choice
    preference: Preference
    cost: Cost
    gammas: tuple[float, ...]
    price_ratio: float
    history: tuple[dict[str, Any], ...]
