"""Depthwise convolutions as products with banded matrices along time.

A filter of k taps along T frames is a (T, T') matrix with k bands. Built from the taps by one product with a
constant basis, it makes forward and backward plain matrix products, which are faster on a CPU than torch's
grouped convolutions; TFLite's padding, strides and dilations are only other bases; and a weighted sum of filters
of any size and dilation costs what one filter costs.

Maps are (channels, batch, frequency, time) throughout `nas`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.network import Pair, same_padding

Padding = Literal["same", "valid"]


@lru_cache(maxsize=256)
def basis(frames: int, taps: int, stride: int, padding: Padding, device: torch.device) -> Tensor:
    """(taps, frames * frames out): tap u moves frame `out * stride + u - padding before` to frame `out`."""
    before, count = 0, (frames - taps) // stride + 1
    if padding == "same":
        before, count = same_padding(frames, taps, stride)[0], -(-frames // stride)
    out = torch.arange(count) * stride - before
    sources = torch.arange(taps)[:, None] + out[None, :]  # (taps, out): which frame is read
    bands = sources[:, None, :] == torch.arange(frames)[None, :, None]  # (taps, frames, out)
    return bands.reshape(taps, -1).to(device, torch.float32)


@lru_cache(maxsize=64)
def averaging(frames: int, taps: int, stride: int, padding: Padding, device: torch.device) -> Tensor:
    """(frames, frames out): TFLite's average pool, which counts only what lies inside."""
    bands = basis(frames, taps, stride, padding, device).sum(0).reshape(frames, -1)
    return bands / bands.sum(0)


def depthwise(x: Tensor, kernel: Tensor, stride: Pair, padding: Padding = "same") -> Tensor:
    """A depthwise convolution with TFLite's padding; along frequency it is SAME.

    Args:
        x: (C, B, F, T).
        kernel: (C, taps in time, taps in frequency).
        stride: (time, frequency).

    Returns:
        (C, B, F', T').
    """
    channels, _, bands, frames = x.shape
    taps_time, taps_frequency = kernel.shape[1:]
    step = basis(frames, taps_time, stride[0], padding, x.device)
    before, after = same_padding(bands, taps_frequency, stride[1])
    padded = F.pad(x, (0, 0, before, after)) if before or after else x
    out_bands = -(-bands // stride[1])
    total: Tensor | None = None
    for tap in range(taps_frequency):
        matrix = (kernel[:, :, tap] @ step).reshape(channels, frames, -1)
        part = _times(padded[:, :, tap : tap + stride[1] * (out_bands - 1) + 1 : stride[1]], matrix)
        total = part if total is None else total + part
    assert total is not None
    return total


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """(C, B, F, T) times (C, T, T') as (C, B, F, T')."""
    channels, batch, bands, frames = x.shape
    out = torch.bmm(x.reshape(channels, batch * bands, frames), matrix)
    return out.reshape(channels, batch, bands, -1)
