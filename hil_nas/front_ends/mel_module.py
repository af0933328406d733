"""Mel energies in torch, for training: batched, on any device, by real numbers where the C source has integers.

Levels and roundings are the C source's own: its features are these but for its noise, some 70 dB below the loudest of a
frame, which `tests/test_front_end_source.py` bounds.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InputError
from hil_nas.front_ends.base import ClipFormat
from hil_nas.front_ends.mel import LOG_FLOOR, MelFrontEnd, hann_window


class LogMelEnergies(nn.Module):
    """ln of the mel energies of a front end's frames, without parameters."""

    def __init__(self, front_end: MelFrontEnd) -> None:
        super().__init__()
        self.front_end = front_end
        keep(self, "window", hann_window(front_end.window_samples))
        keep(self, "filters", front_end.filters().T)  # (bins, mel)

    def forward(self, waveform: Tensor, shared: dict[Any, Tensor] | None = None) -> Tensor:
        """float32 (..., frames, mel) of int16 or float (..., samples); the power spectrum is left in `shared`.

        Raises:
            InputError: for another type or length.
        """
        front_end = self.front_end
        shared = {} if shared is None else shared
        key = (front_end.window_samples, front_end.hop_samples, front_end.fft_size)
        if key not in shared:
            shared[key] = self._power(as_float(waveform, front_end.clip))
        return torch.log(shared[key] @ self.get_buffer("filters") + LOG_FLOOR)

    def _power(self, waveform: Tensor) -> Tensor:
        """Power spectrum (..., frames, fft_size / 2 + 1) of frames samples[i*hop : i*hop + window]."""
        front_end = self.front_end
        frames = waveform.unfold(-1, front_end.window_samples, front_end.hop_samples)  # (..., frames, window)
        return power_spectrum(frames * self.get_buffer("window"), front_end.fft_size)


def power_spectrum(frames: Tensor, fft_size: int) -> Tensor:
    """(..., fft_size / 2 + 1) of frames (..., window): padded where shorter, wrapped onto themselves where longer."""
    window = frames.shape[-1]
    if window > fft_size:
        rest = F.pad(frames[..., fft_size:], (0, 2 * fft_size - window))
        frames = frames[..., :fft_size] + rest
    spectrum = torch.fft.rfft(frames, n=fft_size)
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return power


def keep(module: nn.Module, name: str, table: NDArray[Any]) -> None:
    """A table that moves with the module and is not saved with it."""
    module.register_buffer(name, torch.tensor(table, dtype=torch.float32), persistent=False)


def as_float(waveform: Tensor, clip: ClipFormat) -> Tensor:
    """(..., samples) as float32 with full scale 1.

    Raises:
        InputError: for another type or length.
    """
    if waveform.shape[-1:] != (clip.samples,):
        raise InputError(f"a waveform of shape {tuple(waveform.shape)} does not end in {clip.samples} samples")
    if waveform.dtype == torch.int16:
        return waveform.to(torch.float32) / 32768.0
    if waveform.is_floating_point():
        return waveform.to(torch.float32)
    raise InputError(f"a waveform of {waveform.dtype} is neither int16 nor float")
