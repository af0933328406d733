"""The front end with window and hop as real numbers, differentiable in both.

Frame i begins at i * hop, which may lie between two samples; a sample at the distance u from there is weighted by the
Hann window's 0.5 - 0.5 cos(2 pi u / window). That is 0 with slope 0 at both ends, so that features are smooth in window
and hop; they jump only where a frame more fits the clip or the window asks for the next FFT. At whole numbers they are
those of `mfcc_torch`. A sample's place in its frame only turns the spectrum's phase, which the power does not see.

Sources: Leiber, Marnissi, Barrau and El Badaoui, arXiv:2208.10886 (window length) and arXiv:2308.02421 (hop length).
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.audio.mfcc_torch import as_float
from hil_nas.audio.tables import LOG_FLOOR, dct_matrix, mel_filters
from hil_nas.mfcc import CLIP_SAMPLES, MfccConfig


def continuous_mfcc(waveform: Tensor, window: Tensor, hop: Tensor, mel_bins: int, coefficients: int) -> Tensor:
    """Features with exact gradients of window and hop, (clips, frames, coefficients).

    Args:
        waveform: (clips, 16000) samples at 16 kHz: int16, or float in [-1, 1). float64 is kept, all else is float32.
        window: samples, a real number in 64 to 2048.
        hop: samples, a real number of 16 or more.

    Raises:
        InputError: for another waveform, or a window or hop that no front end has.
    """
    signal = as_float(waveform)
    if waveform.dtype == torch.float64:
        signal = waveform  # finite differences need its digits
    frames, length = frame_count(float(window.detach()), float(hop.detach())), ceil(float(window.detach()))
    starts = torch.arange(frames, device=signal.device) * hop.double()
    first = starts.detach().ceil()  # from here on, `length` samples hold all that the window does not wipe out
    inside = torch.arange(length, device=signal.device) + (first - starts)[:, None]  # (frames, length)
    weights = 0.5 - 0.5 * torch.cos(2 * pi * inside / window.double())
    weights = torch.where(inside < window.double(), weights, 0.0).to(signal.dtype)
    places = first.long()[:, None] + torch.arange(length, device=signal.device)
    padded = F.pad(signal, (0, 1))  # read by the last frame, where it begins between two samples, at weight 0
    cut = padded.index_select(1, places.flatten()).reshape(len(signal), frames, length)
    config = MfccConfig(length, int(hop.detach()), mel_bins, coefficients)
    filters, cosines = _tables(config.fft_size, mel_bins, coefficients, signal.dtype, signal.device)
    spectrum = torch.fft.rfft(cut * weights, n=config.fft_size)  # (clips, frames, bins)
    energies = (spectrum.real.square() + spectrum.imag.square()) @ filters  # (clips, frames, mel)
    return torch.log(energies + LOG_FLOOR) @ cosines


def frame_count(window: float, hop: float) -> int:
    """Frames of one clip, as `MfccConfig.frames` counts them at whole numbers."""
    return 1 + int((CLIP_SAMPLES - window) // hop)


@lru_cache(maxsize=16)
def _tables(
    fft_size: int, mel_bins: int, coefficients: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mel filters (bins, mel) and DCT (mel, coefficients)."""
    filters = mel_filters(MfccConfig(fft_size, fft_size, mel_bins, coefficients)).T
    cosines = dct_matrix(coefficients, mel_bins).T
    return torch.tensor(filters, dtype=dtype, device=device), torch.tensor(cosines, dtype=dtype, device=device)
