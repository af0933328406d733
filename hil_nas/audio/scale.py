"""How MFCC values map to the int8 numbers that the device's network reads: one scale, one zero point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hil_nas.audio.tables import int8_quantisation, quantise

# Digital silence stands far out; what lies beyond these percentiles of all values is clipped.
_LOW_PERCENT, _HIGH_PERCENT = 0.1, 99.95


@dataclass(frozen=True)
class FeatureScale:
    """int8 = clamp(round half away from zero (x / scale) + zero_point), as mfcc.c does it.

    Attributes:
        scale: MFCC units per step.
        zero_point: the int8 number that stands for 0.
    """

    scale: float
    zero_point: int

    def quantise(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
        """MFCC values of any shape as int8."""
        return quantise(features, self.scale, self.zero_point)

    def real(self, features: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
        """int8 of any shape as the MFCC values they stand for: what a network is trained on."""
        return (features.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def measure_scale(features: npt.NDArray[np.floating]) -> FeatureScale:
    """The scale that spreads nearly all values of training features, of any shape, over int8.

    Raises:
        InputError: where the features are all zero or not finite.
    """
    low, high = np.percentile(features, [_LOW_PERCENT, _HIGH_PERCENT])
    return FeatureScale(*int8_quantisation(float(low), float(high)))
