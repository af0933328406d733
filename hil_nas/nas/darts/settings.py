"""How a search of the `darts` space runs."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.errors import InputError
from hil_nas.nas.darts.space import OPERATORS
from hil_nas.nas.settings import Settings


@dataclass(frozen=True)
class DartsSettings(Settings):
    """Rates are those of PC-DARTS, whose weights are trained by SGD.

    Attributes:
        momentum: of SGD.
        drawn: operators of every edge that a step computes; 0: all of them.
    """

    epochs: int = 50
    warmup_epochs: int = 15
    weight_rate: float = 0.1
    weight_decay: float = 3e-4
    clip: float | None = 5.0
    alpha_rate: float = 6e-4
    alpha_decay: float = 1e-3
    gamma_rate: float = 6e-4
    multiplier_rate: float = 0.1
    shift_s: float = 0.0
    momentum: float = 0.9
    drawn: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.drawn <= len(OPERATORS):
            raise InputError(f"drawn is {self.drawn}, expected 0 to {len(OPERATORS)}")
