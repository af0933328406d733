"""MFCC in torch, for training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hil_nas.front_ends.mel import MelFrontEnd
from hil_nas.front_ends.mel_module import LogMelEnergies, keep
from hil_nas.front_ends.mfcc.tables import dct_matrix


class MfccModule(nn.Module):
    """One configuration as a module without parameters."""

    def __init__(self, front_end: MelFrontEnd) -> None:
        super().__init__()
        self.energies = LogMelEnergies(front_end)
        keep(self, "cosines", dct_matrix(front_end.columns, front_end.mel_bins).T)  # (mel, coefficients)

    def forward(self, waveform: Tensor, shared: dict[Any, Tensor] | None = None) -> Tensor:
        """float32 (..., frames, coefficients) of int16 or float (..., samples), see `LogMelEnergies.forward`."""
        logarithms: Tensor = self.energies(waveform, shared)
        return logarithms @ self.get_buffer("cosines")
