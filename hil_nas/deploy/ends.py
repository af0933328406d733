"""The ends of a model that are not int8: the host converts there, the board computes in between.

Sources: tensorflow/lite/kernels/internal/reference/quantize.h, requantize.h and dequantize.h, in the precision that
stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

EndKind = Literal["int8", "uint8", "float32"]
_FLIP = 128  # between uint8 and int8 of one scale


@dataclass(frozen=True)
class End:
    """The model's own input or output: of which type, and the scale and zero point of the int8 tensor behind it."""

    kind: EndKind
    scale: float
    zero_point: int

    def to_int8(self, values: NDArray[Any]) -> NDArray[np.int8]:
        """The int8 values of what the model takes or gives, of any shape."""
        if self.kind == "int8":
            return values.astype(np.int8, copy=False)
        if self.kind == "uint8":
            return (values.astype(np.int16) - _FLIP).astype(np.int8)
        quotients = (values.astype(np.float32) / np.float32(self.scale)).astype(np.float64)
        rounded = np.trunc(quotients + np.copysign(0.5, quotients)) + self.zero_point  # halves away from zero
        result: NDArray[np.int8] = np.clip(rounded, -128, 127).astype(np.int8)
        return result

    def from_int8(self, values: NDArray[np.int8]) -> NDArray[Any]:
        """What the model takes or gives for int8 values; `to_int8` leads back to them."""
        if self.kind == "int8":
            return values
        if self.kind == "uint8":
            return (values.astype(np.int16) + _FLIP).astype(np.uint8)
        return ((values.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)

    def random(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Values of the model's own type over all of int8's range, and as floats somewhat beyond it."""
        if self.kind == "float32":
            low, high = -160 - self.zero_point, 160 - self.zero_point
            return (rng.uniform(low, high, shape) * self.scale).astype(np.float32)
        return self.from_int8(rng.integers(-128, 128, shape, dtype=np.int8))
