"""The supernet's layers on maps (channels, batch, frequency, time): shared weights, sliced."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.nas.blocks.banded import Padding
from hil_nas.network import Pair, same_padding

BATCH_NORM_EPSILON = 1e-3  # as in the final training


class SharedConvolution(nn.Module):
    """Weights of the widest convolution of a place, and the batch norm and ReLU behind it.

    Args:
        shape: of the weights; the first axis is the channels given, the others are what each of them reads.
        generator: where the first weights come from.
    """

    def __init__(self, shape: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape, generator=generator) * (2.0 / prod(shape[1:])) ** 0.5)
        self.scale = nn.Parameter(torch.ones(shape[0]))
        self.shift = nn.Parameter(torch.zeros(shape[0]))

    def finish(self, x: Tensor) -> Tensor:
        """Batch norm by the batch's own statistics, then ReLU; (C, B, F, T) with any number of first channels."""
        channels = x.shape[0]
        flat = x.reshape(1, channels, -1)
        scale, shift = self.scale[:channels], self.shift[:channels]
        normal = F.batch_norm(flat, None, None, scale, shift, training=True, eps=BATCH_NORM_EPSILON)
        return F.relu(normal).reshape(x.shape)


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution: (C, B, F, T) by (C', C) to (C', B, F, T)."""
    return (weight @ x.reshape(len(x), prod(x.shape[1:]))).reshape(len(weight), *x.shape[1:])


def convolution(x: Tensor, kernel: Tensor, stride: Pair, padding: Padding = "same") -> Tensor:
    """A convolution with TFLite's padding; along frequency it is SAME.

    Args:
        x: (C, B, F, T).
        kernel: (C', C, time, frequency).
        stride: (time, frequency).
    """
    before, after = [0, 0], [0, 0]
    for i in (0, 1) if padding == "same" else (1,):
        before[i], after[i] = same_padding(x.shape[3 - i], kernel.shape[2 + i], stride[i])
    # (C, B, F, T) -> (B, C, T, F)
    padded = F.pad(x.permute(1, 0, 3, 2), (before[1], after[1], before[0], after[0]))
    return F.conv2d(padded, kernel, stride=stride).permute(1, 0, 3, 2).contiguous()
