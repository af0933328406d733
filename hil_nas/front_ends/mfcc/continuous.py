"""The front end with window and hop as real numbers, differentiable in both.

Frame i begins half a sample before i * hop, which may lie between two samples; a sample at the distance u from there is
weighted by the Hann window's 0.5 - 0.5 cos(2 pi u / window). That is 0 with slope 0 at both ends, so that features are
smooth in window and hop; they jump only where a frame more fits the clip or the window asks for the next FFT. At whole
numbers they are those of `MfccModule`. A sample's place in its frame only turns the spectrum's phase, which the power
does not see.

Sources: Leiber, Marnissi, Barrau and El Badaoui, arXiv:2208.10886 (window length) and arXiv:2308.02421 (hop length).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil, pi

import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.front_ends.base import ClipFormat
from hil_nas.front_ends.mel import LOG_FLOOR, MelFrontEnd, mel_filters
from hil_nas.front_ends.mel_module import as_float, power_spectrum
from hil_nas.front_ends.mfcc.tables import dct_matrix


def continuous_mfcc(waveform: Tensor, window: Tensor, hop: Tensor, like: MelFrontEnd) -> Tensor:
    """Features with exact gradients of window and hop, (clips, frames, coefficients).

    Args:
        waveform: (clips, samples): int16, or float in [-1, 1). float64 is kept, all else is float32.
        window: samples, a real number in 64 to 2048.
        hop: samples, a real number of 16 or more.
        like: everything else.

    Raises:
        InputError: for another waveform, or a window or hop that no front end has.
    """
    signal = as_float(waveform, like.clip)
    if waveform.dtype == torch.float64:
        signal = waveform  # finite differences need its digits
    frames = frame_count(float(window.detach()), float(hop.detach()), like.clip)
    length = ceil(float(window.detach()))
    starts = torch.arange(frames, device=signal.device) * hop.double() - 0.5
    first = starts.detach().ceil()  # from this sample on, `length` samples hold all of nonzero weight
    inside = torch.arange(length, device=signal.device) + (first - starts)[:, None]  # (frames, length)
    weights = 0.5 - 0.5 * torch.cos(2 * pi * inside / window.double())
    weights = torch.where(inside < window.double(), weights, 0.0).to(signal.dtype)
    indices = first.long()[:, None] + torch.arange(length, device=signal.device)
    padded = F.pad(signal, (0, 1))  # read by the last frame, where it begins between two samples, at weight 0
    cut = padded.index_select(1, indices.flatten()).reshape(len(signal), frames, length)
    config = replace(like, window_samples=length, hop_samples=int(hop.detach()))
    filters, cosines = _tables(config, signal.dtype, signal.device)
    energies = power_spectrum(cut * weights, config.fft_size) @ filters  # (clips, frames, mel)
    return torch.log(energies + LOG_FLOOR) @ cosines


def frame_count(window: float, hop: float, clip: ClipFormat) -> int:
    """Frames of one clip, as `FrontEnd.frames` counts them at whole numbers."""
    return 1 + int((clip.samples - window) // hop)


def _tables(config: MelFrontEnd, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mel filters (bins, mel) and DCT (mel, coefficients)."""
    return _kept(config.fft_size, config.mel_bins, config.columns, config.clip.sample_rate_hz, dtype, device)


@lru_cache(maxsize=16)
def _kept(
    fft_size: int, mel_bins: int, coefficients: int, sample_rate_hz: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    filters = mel_filters(fft_size, mel_bins, sample_rate_hz).T
    cosines = dct_matrix(coefficients, mel_bins).T
    return torch.tensor(filters, dtype=dtype, device=device), torch.tensor(cosines, dtype=dtype, device=device)
