"""What an operator is lowered with: the tensors, their places in the arena, and the plan's constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.operators.requantize import Multiplier
from hil_nas.tflite.tensor import QuantTensor

CONSTANT_ALIGNMENT_BYTES = 32  # a line of the STM32L4's flash cache: weights then miss it alike, wherever they lie


def constant_room(size_bytes: int) -> int:
    """What constants of a size take in a plan, the gap to the next ones included."""
    return -(-size_bytes // CONSTANT_ALIGNMENT_BYTES) * CONSTANT_ALIGNMENT_BYTES


@dataclass
class Constants:
    """Constants in the order of the operators, each at a multiple of 32; `start` is where in the plan they begin."""

    start: int
    data: bytearray = field(default_factory=bytearray)

    def add(self, values: NDArray[Any], dtype: str) -> int:
        """Where in the plan the values begin."""
        place = self.start + len(self.data)
        raw = np.ascontiguousarray(values).astype(dtype).tobytes()
        self.data += raw + bytes(constant_room(len(raw)) - len(raw))
        return place


@dataclass(frozen=True)
class Lowering:
    """A graph whose memory is planned; only `constants` grows.

    Attributes:
        places: tensor number -> offset in the arena.
    """

    tensors: Sequence[QuantTensor]
    places: Mapping[int, int]
    constants: Constants


def output_factor(factor: Multiplier) -> dict[str, int]:
    """The plan's fields of an output's scaling."""
    return {"output_multiplier": factor.multiplier, "output_shift": factor.shift}
