"""What a training gives."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.front_ends.scale import FeatureScale
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.quantised import QuantisedNetwork


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        loss: mean training loss, on augmented clips.
        accuracy: on the validation split, 0 to 1.
        device_features: whether it trained on the C source's features.
    """

    epoch: int
    loss: float
    accuracy: float
    device_features: bool


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained network.

    Attributes:
        module: with the weights of the best epoch, in evaluation mode; rounding like int8 where it was tuned to it.
        scale: of the int8 features it was trained on.
        epochs: one after the other.
        best: the epoch whose weights these are, the best on validation; with device features if any epoch had them.
    """

    module: NetworkModule | QuantisedNetwork
    scale: FeatureScale
    epochs: tuple[Epoch, ...]
    best: Epoch
