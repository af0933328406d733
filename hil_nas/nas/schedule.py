"""What changes as a search goes on, as functions of the epochs that have passed, which may be a fraction."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True)
class Schedule:
    """Epochs of a search, the first few of which train weights alone.

    Attributes:
        epochs, warmup_epochs: in all, and of the warm-up.
    """

    epochs: int
    warmup_epochs: int

    def searched(self, epoch: float) -> float:
        """The share of the search behind the warm-up; below 0 during it."""
        return (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)

    def cosine(self, epoch: float) -> float:
        """Falls from 1 to 0 along half a cosine."""
        return 0.5 * (1 + cos(pi * (epoch / self.epochs)))

    def falling(self, values: tuple[float, float, float], epoch: int) -> float:
        """Geometric, from the first value to the second during the warm-up, then to the third, which the last epoch
        has."""
        first, searching, last = values
        if epoch < self.warmup_epochs:
            return first * float((searching / first) ** (epoch / self.warmup_epochs))
        left = max(1, self.epochs - 1 - self.warmup_epochs)
        return searching * float((last / searching) ** ((epoch - self.warmup_epochs) / left))
