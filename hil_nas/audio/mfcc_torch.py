"""The front end in torch, for training: batched, on any device, from the same tables as the C source.

Before quantisation it agrees with boards/src/mfcc.c to some 1e-3 of an int8 step (a step is about 0.5 for 40 mel bins
and 0.7 for 80, when int8 spans all of Speech Commands); both are float32 sums in different orders.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hil_nas.audio.tables import LOG_FLOOR, dct_matrix, hann_window, mel_filters
from hil_nas.errors import InputError
from hil_nas.mfcc import CLIP_SAMPLES, MfccConfig


class MfccBank(nn.Module):
    """Several MFCC configurations of one waveform; those of equal window and hop share their spectrum.

    Args:
        configs: configurations, in the order of the results.

    Raises:
        InputError: without a configuration.
    """

    def __init__(self, configs: Sequence[MfccConfig]) -> None:
        super().__init__()
        if not configs:
            raise InputError("no MFCC configuration was given", hint="give at least one, like 400/200/40/40")
        self.configs = tuple(configs)
        for config in self.configs:
            self._keep(_window_name(config), hann_window(config.window_samples))
            self._keep(_mel_name(config), mel_filters(config).T)  # (bins, mel)
            self._keep(_dct_name(config), dct_matrix(config.coefficients, config.mel_bins).T)  # (mel, coefficients)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Features of each configuration, float32 (..., frames, coefficients).

        Args:
            waveform: (..., 16000) samples at 16 kHz: int16, or float in [-1, 1).

        Raises:
            InputError: for another type or length.
        """
        waveform = as_float(waveform)
        spectra: dict[tuple[int, int], Tensor] = {}
        results = []
        for config in self.configs:
            key = (config.window_samples, config.hop_samples)
            if key not in spectra:
                spectra[key] = _power(waveform, config, self.get_buffer(_window_name(config)))
            energies = spectra[key] @ self.get_buffer(_mel_name(config))  # (..., frames, mel)
            results.append(torch.log(energies + LOG_FLOOR) @ self.get_buffer(_dct_name(config)))
        return results

    def _keep(self, name: str, table: NDArray[np.float64]) -> None:
        self.register_buffer(name, torch.tensor(table, dtype=torch.float32), persistent=False)


class Mfcc(nn.Module):
    """One MFCC configuration as a module without parameters."""

    def __init__(self, config: MfccConfig) -> None:
        super().__init__()
        self.config = config
        self.bank = MfccBank([config])

    def forward(self, waveform: Tensor) -> Tensor:
        """float32 (..., frames, coefficients) of int16 or float (..., 16000); see MfccBank.forward()."""
        features: list[Tensor] = self.bank(waveform)
        return features[0]


def _power(waveform: Tensor, config: MfccConfig, window: Tensor) -> Tensor:
    """Power spectrum (..., frames, fft_size / 2 + 1) of frames samples[i*hop : i*hop + window], zero-padded."""
    frames = waveform.unfold(-1, config.window_samples, config.hop_samples)  # (..., frames, window)
    spectrum = torch.fft.rfft(frames * window, n=config.fft_size)
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return power


def as_float(waveform: Tensor) -> Tensor:
    """(..., 16000) as float32 with full scale 1.

    Raises:
        InputError: for another type or length.
    """
    if waveform.shape[-1:] != (CLIP_SAMPLES,):
        raise InputError(f"a waveform of shape {tuple(waveform.shape)} does not end in {CLIP_SAMPLES} samples")
    if waveform.dtype == torch.int16:
        return waveform.to(torch.float32) / 32768.0
    if waveform.is_floating_point():
        return waveform.to(torch.float32)
    raise InputError(f"a waveform of {waveform.dtype} is neither int16 nor float")


def _window_name(config: MfccConfig) -> str:
    return f"window_{config.window_samples}"


def _mel_name(config: MfccConfig) -> str:
    return f"mel_{config.fft_size}_{config.mel_bins}"


def _dct_name(config: MfccConfig) -> str:
    return f"dct_{config.mel_bins}_{config.coefficients}"
