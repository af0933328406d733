"""int8 tensors.

Quantisation is TFLite's: real = scale * (q - zero_point).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QuantTensor:
    """One int8 activation; `shape` includes the batch, which is 1, but for a bare vector."""

    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def map(self) -> tuple[int, int, int]:
        """(height, width, channels); a vector is a map of 1 x 1."""
        padded = (1, 1, 1, *(self.shape[1:] or self.shape))[-3:]
        return padded[0], padded[1], padded[2]

    @property
    def elements(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape, dtype=np.int64))


def array_of(data: Any, dtype: Any) -> NDArray[Any]:
    """A read-only copy in native byte order."""
    result = np.array(data, dtype=dtype)
    result.flags.writeable = False
    return result
