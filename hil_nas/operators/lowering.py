"""What an operator is lowered with: the tensors and their offsets in the arena; and the room of a plan's constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hil_nas.operators.requantize import Multiplier
from hil_nas.tflite.tensor import QuantTensor

CONSTANT_ALIGNMENT_BYTES = 32  # a line of the STM32L4's flash cache, so that misses do not depend on where weights lie


def constant_room(size_bytes: int) -> int:
    """What constants of a size take in a plan, the gap to the next ones included."""
    return -(-size_bytes // CONSTANT_ALIGNMENT_BYTES) * CONSTANT_ALIGNMENT_BYTES


@dataclass(frozen=True)
class Lowering:
    """A graph whose memory is planned.

    Attributes:
        offsets: tensor number -> offset in the arena.
    """

    tensors: Sequence[QuantTensor]
    offsets: Mapping[int, int]


def output_factor(factor: Multiplier) -> dict[str, int]:
    """The plan's fields of an output's scaling."""
    return {"output_multiplier": factor.multiplier, "output_shift": factor.shift}
