"""How a search of the `tiny` space runs."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.errors import InputError
from hil_nas.nas.settings import GridSettings


@dataclass(frozen=True)
class TinySettings(GridSettings):
    """Those of the `tiny` space; its weights are trained by AdamW.

    Attributes:
        temperature: of the samples, at first, behind the warm-up and at last. Hot mixtures hide what a small network
            loses, and with it what the limit costs, so the search itself begins cool.
    """

    temperature: tuple[float, float, float] = (4.0, 0.7, 0.2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.temperature) <= 0:
            raise InputError(f"temperatures are {self.temperature}, expected above 0")
