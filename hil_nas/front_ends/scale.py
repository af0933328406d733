"""How features map to the int8 numbers that the device's network reads: one scale, one zero point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError

# Digital silence stands far out; what lies beyond these percentiles of all values is clipped.
_LOW_PERCENT, _HIGH_PERCENT = 0.1, 99.95


@dataclass(frozen=True)
class FeatureScale:
    """int8 = clamp(floor(x / scale + 1/2) + zero_point), as the C source rounds its own sums.

    Attributes:
        scale: units of the features per step.
        zero_point: the int8 number that stands for 0.
    """

    scale: float
    zero_point: int

    def quantise(self, features: NDArray[np.floating]) -> NDArray[np.int8]:
        """Features of any shape as int8."""
        return quantise(features, self.scale, self.zero_point)

    def real(self, features: NDArray[np.int8]) -> NDArray[np.float32]:
        """int8 of any shape as the features they stand for: what a network is trained on."""
        return (features.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def measure_scale(features: NDArray[np.floating]) -> FeatureScale:
    """The scale that spreads nearly all values of training features, of any shape, over int8.

    Raises:
        InputError: where the features are all zero or not finite.
    """
    low, high = np.percentile(features, [_LOW_PERCENT, _HIGH_PERCENT])
    return FeatureScale(*int8_quantisation(float(low), float(high)))


def int8_quantisation(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point with which int8 spans [low, high], widened to hold 0 as TFLite does.

    Returns:
        scale: of one int8 step, in float32's values.
        zero_point: the int8 that stands for 0, -128 to 127.

    Raises:
        InputError: where the range is empty or not finite.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise InputError(f"no int8 quantisation for the range {low} to {high}", hint="give a finite range, low < high")
    scale = float(np.float32((high - low) / 255.0))
    if scale < np.finfo(np.float32).tiny:
        raise InputError(f"the range {low} to {high} is too narrow for an int8 scale in float32")
    return scale, int(np.clip(round(-128.0 - low / scale), -128, 127))


def quantise(features: NDArray[np.floating], scale: float, zero_point: int) -> NDArray[np.int8]:
    """Float features of any shape to int8, halves upwards."""
    steps = np.floor(np.clip(np.asarray(features, np.float64) / scale, -512.0, 512.0) + 0.5)
    steps8: NDArray[np.int8] = np.clip(steps + zero_point, -128, 127).astype(np.int8)
    return steps8
