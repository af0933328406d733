"""How networks are trained: the same for all of them, so that a comparison is one of networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hil_nas.audio.augment import AS_RECORDED, Augmentation
from hil_nas.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Every number of a training.

    Attributes:
        epochs: in all.
        device_epochs: the last so many epochs train on the features of the device's C source.
        batch: clips per step.
        learning_rate: the highest, reached after warm-up; falls to zero along a cosine.
        warmup_epochs: with the learning rate rising from zero.
        weight_decay: AdamW's, on kernels only.
        label_smoothing: share of the target that is spread over all classes.
        branches: whether convolutions of a whole training have branches that fold away (`training.branches`).

    Raises:
        InputError: for a number no training has.
    """

    epochs: int = 80
    device_epochs: int = 3
    batch: int = 100
    learning_rate: float = 1e-2
    warmup_epochs: float = 2.0
    weight_decay: float = 2e-2
    label_smoothing: float = 0.1
    branches: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("device_epochs", 0), ("batch", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {least}")

    @classmethod
    def plain(cls, epochs: int) -> Recipe:
        """Clips as they are, as arXiv 2507.15545 trains, in the batches of PC-DARTS; the optimizer stays ours."""
        return cls(epochs=epochs, batch=96, label_smoothing=0.0, branches=False, augmentation=AS_RECORDED)


def learning_rate(step: int, steps: int, warmup_steps: int, highest: float) -> float:
    """Linear warm-up, then half a cosine to zero at `steps`."""
    if step < warmup_steps:
        return highest * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return highest * 0.5 * (1 + math.cos(math.pi * done))
