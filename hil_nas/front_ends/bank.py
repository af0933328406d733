"""Several front ends of one waveform, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hil_nas.errors import InputError
from hil_nas.front_ends.base import FrontEnd


class FrontEndBank(nn.Module):
    """Front ends that compute what they have in common once, such as the spectrum under equal window and hop.

    Args:
        front_ends: in the order of the results.

    Raises:
        InputError: without one.
    """

    def __init__(self, front_ends: Sequence[FrontEnd]) -> None:
        super().__init__()
        if not front_ends:
            raise InputError("no front end was given", hint="give at least one, like mfcc:400/200/40/40")
        self.members = nn.ModuleList(x.module() for x in front_ends)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Features of each, float32 (..., frames, columns), of int16 or float [-1, 1) (..., samples).

        Raises:
            InputError: for another type or length.
        """
        shared: dict[Any, Tensor] = {}
        return [x(waveform, shared) for x in self.members]
