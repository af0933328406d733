"""How a search of the `darts` space runs: by default in minutes on two cores, or as PC-DARTS does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hil_nas.errors import InputError
from hil_nas.nas.darts.space import OPERATORS
from hil_nas.nas.settings import GridSettings


@dataclass(frozen=True)
class DartsSettings(GridSettings):
    """The weights are trained by SGD, as those of PC-DARTS.

    A search on some thousand clips takes a fifth as many steps of alpha as PC-DARTS; its rate is higher by more.

    Attributes:
        momentum: of SGD.
        drawn: operators of every edge that a step computes; 0: all of them.
    """

    epochs: int = 20
    warmup_epochs: int = 6
    weight_rate: float = 0.3
    weight_decay: float = 3e-4
    clip: float | None = 5.0
    alpha_rate: float = 1e-2
    alpha_decay: float = 1e-3
    multiplier_rate: float = 0.1
    momentum: float = 0.9
    drawn: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.drawn <= len(OPERATORS):
            raise InputError(f"drawn is {self.drawn}, expected 0 to {len(OPERATORS)}")


PC_DARTS: dict[str, Any] = {
    "batch": 256, "weight_rate": 0.1, "alpha_rate": 6e-4, "gamma_rate": 6e-4, "shift_s": 0.0, "drawn": 0,
}  # fmt: skip
