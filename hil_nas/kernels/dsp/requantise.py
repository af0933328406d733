"""Scalings as `boards/src/kernels/dsp/requantise.h` reads them; why they give TFLite's bits stands there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.kernels.kernel import Constants, Fault

MAX_SHIFT = 22


def scalings(fields: Mapping[str, Any], constants: Constants, channels: int) -> NDArray[np.int32]:
    """(channels, 3): multiplier, addend and shift to the right of each output channel.

    Args:
        fields: of the plan's operator: its zero point, and its scaling where there is one for all channels.
        constants: `multipliers` and `shifts` where there is one for each channel.
    """
    multipliers, shifts = _as_given(fields, constants, channels)
    right = -shifts
    halves = np.where(right > 0, 1 << np.maximum(right - 1, 0), 0)
    addends = halves + (fields["output_offset"] << right)
    return np.stack([multipliers, addends, right], axis=1).astype(np.int32)


def scalings_unfit(fields: Mapping[str, Any], constants: Constants, channels: int) -> Fault | None:
    """Scalings that the addend has no room for, or whose rounding by sign needs a shift of 1."""
    _, shifts = _as_given(fields, constants, channels)
    least = 1 if fields["activation"][0] < fields["output_offset"] else 0
    if np.all((-shifts >= least) & (-shifts <= MAX_SHIFT)):
        return None
    return Fault("has a scaling above 1, or far below", "let another list run it")


def _as_given(
    fields: Mapping[str, Any], constants: Constants, channels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if "multipliers" in constants:
        return constants["multipliers"].astype(np.int64), constants["shifts"].astype(np.int64)
    one = np.ones(channels, np.int64)
    return one * fields["output_multiplier"], one * fields["output_shift"]
