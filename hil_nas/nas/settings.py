"""How a search runs."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.errors import InputError


@dataclass(frozen=True)
class Settings:
    """What the loop of every search has in common.

    Attributes:
        epochs, warmup_epochs: in all, and those that train weights alone.
        batch: clips a step.
        decide_every: steps of the weights to one of the decisions.
        weight_rate, weight_decay: of the weights' optimizer; the rate falls to 0 along a cosine.
        clip: the longest gradient of the weights; None: as they come.
        alpha_rate, alpha_decay: of alpha's Adam.
        floor: the lower end of the band below the latency limit, as a share of it.
        multiplier_rate: of dual ascent.

    Raises:
        InputError: for values that make no search.
    """

    epochs: int = 20
    warmup_epochs: int = 4
    batch: int = 64
    decide_every: int = 1
    weight_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip: float | None = None
    alpha_rate: float = 0.05
    alpha_decay: float = 0.0
    floor: float = 0.85
    multiplier_rate: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < self.epochs:
            raise InputError(f"{self.warmup_epochs} of {self.epochs} epochs cannot be the warm-up")
        self._expect_at_least(batch=2, decide_every=1, floor=0)
        if self.floor >= 1:
            raise InputError(f"floor is {self.floor}, expected below 1")

    def _expect_at_least(self, **least: float) -> None:
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {value}")


@dataclass(frozen=True)
class GridSettings(Settings):
    """What searches among listed front ends have in common.

    Attributes:
        gamma_rate: of gamma's Adam. A step of Adam is about as long as its rate whatever the gradient, so gamma's is
            low: twice every other is then what many batches agreed on.
        gamma_ratio: how far the largest gamma must lead to end the data search.
        shift_s: how far clips are shifted in time while weights are trained.
        learnt: share of the clips that train weights; the others decide.
        heard: how often each of those is augmented.
        measure_every: epochs between measurements; 0: only at the end.
        rounds: steps of the weights in an epoch, at most (`nas.front_ends.choice.rounds_of`); 0: a pass over the clips.

    Raises:
        InputError: for values that make no search.
    """

    gamma_rate: float = 0.005
    gamma_ratio: float = 2.0
    shift_s: float = 0.1
    learnt: float = 0.5
    heard: int = 1
    measure_every: int = 0
    rounds: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect_at_least(measure_every=0, shift_s=0, rounds=0, heard=1)
        if not 0 < self.learnt < 1:
            raise InputError(f"learnt is {self.learnt}, expected between 0 and 1")
        if self.gamma_ratio <= 1:
            raise InputError(f"gamma_ratio is {self.gamma_ratio}, expected above 1")
