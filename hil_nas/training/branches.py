"""Convolutions that train as sums of branches and fold into the one kernel that the device runs.

After RepVGG (arXiv:2101.03697): each branch has a batch norm of its own, so that a step moves a sum of kernels of
different lengths otherwise than the one kernel that it folds into. The device pays nothing for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.network import Operator
from hil_nas.training.network_module import (
    BATCH_NORM_EPSILON,
    BATCH_NORM_MOMENTUM,
    Convolution,
    fold_norm,
    split_padding,
)


class BranchedConvolution(Convolution):
    """The kernel, a third of it around its middle as a kernel of its own, and the input as it is.

    The short kernel stands beside every kernel longer than 1x1. The input is added where the output has its shape and
    one tap of the kernel lies on the very element that is written.
    """

    def __init__(self, operator: Operator, generator: torch.Generator | None) -> None:
        super().__init__(operator, generator)
        (rows, columns), dilation, channels = self.layer.kernel, self.layer.dilation, operator.output[2]
        self.short_norm: nn.BatchNorm2d | None = None
        self.input_norm: nn.BatchNorm2d | None = None
        self.short = (max(1, rows // 3), max(1, columns // 3))
        self.middle = ((rows - self.short[0]) // 2, (columns - self.short[1]) // 2)  # the tap where it begins
        left, right, top, bottom = self.pads
        if self.short != self.layer.kernel:
            self.short_weight = nn.Parameter(self.weight.new_empty(*self.weight.shape[:2], *self.short))
            gain = math.sqrt(2.0) if self.layer.relu else 1.0
            with torch.no_grad():
                self.short_weight.normal_(0.0, gain / math.sqrt(self.short_weight[0].numel()), generator=generator)
            self.short_pads = (
                left - self.middle[1] * dilation[1],
                right - (columns - self.short[1] - self.middle[1]) * dilation[1],
                top - self.middle[0] * dilation[0],
                bottom - (rows - self.short[0] - self.middle[0]) * dilation[0],
            )
            self.short_norm = _norm(channels)
        self.own_tap = (top // dilation[0], left // dilation[1])
        on_a_tap = (top % dilation[0], left % dilation[1]) == (0, 0)
        if operator.inputs[0] == operator.output and on_a_tap:
            self.input_norm = _norm(channels)
        norms = [x for x in (self.norm, self.short_norm, self.input_norm) if x is not None]
        for norm in norms:  # all of them together as strong as one
            nn.init.constant_(norm.weight, 1 / math.sqrt(len(norms)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.convolve(x, self.weight))
        if self.short_norm is not None:
            y = y + self.short_norm(self._convolve_short(x))
        if self.input_norm is not None:
            y = y + self.input_norm(x)
        return F.relu(y) if self.layer.relu else y

    def folded(self) -> tuple[Tensor, Tensor]:
        weight, bias = super().folded()
        if self.short_norm is not None:
            (top, left), (rows, columns) = self.middle, self.short
            more, more_bias = fold_norm(self.short_weight, self.short_norm)
            weight[:, :, top : top + rows, left : left + columns] += more
            bias = bias + more_bias
        if self.input_norm is not None:
            channels = len(weight)
            same = weight.new_ones(channels, 1) if self.is_depthwise else torch.eye(channels).to(weight)
            more, more_bias = fold_norm(same, self.input_norm)
            weight[:, :, self.own_tap[0], self.own_tap[1]] += more
            bias = bias + more_bias
        return weight, bias

    def _convolve_short(self, x: Tensor) -> Tensor:
        padding, x = split_padding(x, self.short_pads)
        groups = x.shape[1] if self.is_depthwise else 1
        return F.conv2d(x, self.short_weight, None, self.layer.stride, padding, self.layer.dilation, groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)
