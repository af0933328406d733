"""A network description as a torch module that trains, and the folded weights the device gets from it.

Tensors go in as (N, H, W, C), as on the device, and are viewed as (N, C, H, W) in channels-last memory: depthwise
convolutions train 1.4 to 7 times faster so on a CPU. Whatever depends on the order of elements (reshape,
fully_connected) follows NHWC.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.errors import InputError
from hil_nas.network import INPUT, Layer, Network, Operator, same_padding

Float = npt.NDArray[np.float32]
Folded = tuple[Float, Float] | None  # kernel as Keras wants it, bias; None for a layer without weights

BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.1


class NetworkModule(nn.Module):
    """The trainable twin of a `Network`: convolution, batch norm, ReLU; TFLite's SAME padding.

    A softmax at the end is left to the loss: `forward` gives logits.

    Args:
        network: the description; stays readable as `.network`.
        generator: where the initial weights come from.
        convolution: what stands for conv and depthwise, such as one that trains in branches.

    Raises:
        InputError: for a pool with dilation, which TFLite does not have.
    """

    def __init__(
        self,
        network: Network,
        generator: torch.Generator | None = None,
        convolution: type[Convolution] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        kinds = dict(MODULES)
        if convolution is not None:
            kinds["conv"] = kinds["depthwise"] = convolution
        modules = [kinds[x.layer.kind](x, generator) for x in network.operators()]
        if network.layers[-1].kind == "softmax":
            modules[-1] = nn.Identity()
        self.layers = nn.ModuleList(modules)

    def forward(self, features: Tensor) -> Tensor:
        """Float features (N, H, W, C) to logits (N, classes)."""
        x = features.permute(0, 3, 1, 2)  # (N, C, H, W), channels last in memory
        outputs: list[Tensor] = []
        for layer, module in zip(self.network.layers, self.layers, strict=True):
            outputs.append(module(*(x if i == INPUT else outputs[i] for i in layer.inputs)))
        return nhwc(outputs[-1]).flatten(1)

    def fold(self) -> list[Folded]:
        """Kernel and bias of every layer with its batch norm folded in, aligned with `network.layers`.

        Kernels lie as Keras wants them: conv (kh, kw, in, out), depthwise (kh, kw, channels, 1),
        fully_connected (in, out).
        """
        return [to_keras(x, *x.folded()) if isinstance(x, _Weighted) else None for x in self.layers]


class _Weighted(nn.Module, ABC):
    """A layer with weights; `folded` gives kernel and bias in torch's layout, `keras_order` turns a kernel."""

    @abstractmethod
    def folded(self) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def keras_order(self, weight: Tensor) -> Tensor: ...


class Convolution(_Weighted):
    """conv or depthwise, then batch norm, then ReLU where the layer has one."""

    def __init__(self, operator: Operator, generator: torch.Generator | None) -> None:
        super().__init__()
        layer, (height, width, channels) = operator.layer, operator.inputs[0]
        self.layer, self.is_depthwise = layer, layer.kind == "depthwise"
        outputs = operator.output[2]
        inputs = 1 if self.is_depthwise else channels
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *layer.kernel))
        gain = math.sqrt(2.0) if layer.relu else 1.0
        with torch.no_grad():
            spread = gain / math.sqrt(inputs * layer.kernel[0] * layer.kernel[1])
            self.weight.normal_(0.0, spread, generator=generator)
        self.norm = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)
        self.pads = layer_pads(layer, (height, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolve(x, self.weight)
        x = self.norm(x)
        return F.relu(x) if self.layer.relu else x

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The bare convolution of (N, C, H, W) with TFLite's padding."""
        layer = self.layer
        groups = x.shape[1] if self.is_depthwise else 1
        padding, x = split_padding(x, self.pads)
        return F.conv2d(x, weight, bias, layer.stride, padding, layer.dilation, groups)

    def folded(self) -> tuple[Tensor, Tensor]:
        return fold_norm(self.weight, self.norm)

    def keras_order(self, weight: Tensor) -> Tensor:
        # (channels, 1, kh, kw) -> (kh, kw, channels, 1); (out, in, kh, kw) -> (kh, kw, in, out)
        return weight.permute(2, 3, 0, 1) if self.is_depthwise else weight.permute(2, 3, 1, 0)


class Dense(_Weighted):
    """Fully connected over the flattened NHWC input, with bias, then ReLU where the layer has one."""

    def __init__(self, operator: Operator, generator: torch.Generator | None) -> None:
        super().__init__()
        self.layer = operator.layer
        inputs = math.prod(operator.inputs[0])
        self.weight = nn.Parameter(torch.empty(operator.output[2], inputs))
        self.bias = nn.Parameter(torch.zeros(operator.output[2]))
        gain = math.sqrt(2.0) if operator.layer.relu else 1.0
        with torch.no_grad():
            self.weight.normal_(0.0, gain / math.sqrt(inputs), generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.multiply(x, self.weight, self.bias)
        return F.relu(x) if self.layer.relu else x

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        flat = F.linear(nhwc(x).flatten(1), weight, bias)  # (N, out)
        return flat[:, :, None, None]  # (N, out, 1, 1)

    def folded(self) -> tuple[Tensor, Tensor]:
        return self.weight, self.bias

    def keras_order(self, weight: Tensor) -> Tensor:
        return weight.t()


class Pool(nn.Module):
    """Average over the elements inside the map only, or maximum, with TFLite's padding."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        layer, (height, width, _) = operator.layer, operator.inputs[0]
        if layer.dilation != (1, 1):
            raise InputError(f"TFLite has no {layer.kind} with dilation {layer.dilation}, expected (1, 1)")
        self.layer, self.pads = layer, layer_pads(layer, (height, width))
        inside = F.pad(torch.ones(1, 1, height, width), self.pads)
        area = layer.kernel[0] * layer.kernel[1]
        counts = F.avg_pool2d(inside, layer.kernel, layer.stride) * area
        self.register_buffer("scale", area / counts, persistent=False)  # (1, 1, H, W), 1 away from the border

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        if layer.kind == "max_pool":
            return F.max_pool2d(F.pad(x, self.pads, value=-math.inf), layer.kernel, layer.stride)
        if not any(self.pads):
            return F.avg_pool2d(x, layer.kernel, layer.stride)
        return F.avg_pool2d(F.pad(x, self.pads), layer.kernel, layer.stride) * cast(Tensor, self.scale)


class Join(nn.Module):
    """add or concatenation, then ReLU where the layer has one."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *sources: Tensor) -> Tensor:
        x = torch.cat(sources, 1) if self.layer.kind == "concatenation" else sources[0] + sources[1]
        return F.relu(x) if self.layer.relu else x


class Reshape(nn.Module):
    """New shape over the same bytes in NHWC order."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.shape = operator.output

    def forward(self, x: Tensor) -> Tensor:
        return nhwc(x).reshape(-1, *self.shape).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)


class Softmax(nn.Module):
    """Over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, 1)


def fold_norm(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The kernel (out, ...) and the bias (out,) of a convolution without bias and the batch norm behind it."""
    assert norm.running_var is not None and norm.running_mean is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1)), norm.bias - norm.running_mean * factor


def to_keras(layer: _Weighted, weight: Tensor, bias: Tensor) -> Folded:
    """A layer's folded kernel and bias, in torch's layout, as Keras wants them."""
    return _numpy(layer.keras_order(weight.detach())), _numpy(bias.detach())


def nhwc(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H, W, C), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def layer_pads(layer: Layer, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """TFLite's padding as `F.pad` takes it: left, right, top, bottom."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    top, bottom = same_padding(size[0], layer.kernel[0], layer.stride[0], layer.dilation[0])
    left, right = same_padding(size[1], layer.kernel[1], layer.stride[1], layer.dilation[1])
    return (left, right, top, bottom)


def split_padding(x: Tensor, pads: tuple[int, int, int, int]) -> tuple[tuple[int, int], Tensor]:
    """Even padding for the convolution itself to do, uneven padding and cuts (negative padding) done here."""
    left, right, top, bottom = pads
    if left == right and top == bottom and min(pads) >= 0:
        return (top, left), x
    return (0, 0), F.pad(x, pads)


def _numpy(x: Tensor) -> Float:
    return np.ascontiguousarray(x.cpu().float().numpy())


MODULES: dict[str, Callable[[Operator, torch.Generator | None], nn.Module]] = {
    "conv": Convolution,
    "depthwise": Convolution,
    "fully_connected": Dense,
    "average_pool": lambda operator, _: Pool(operator),
    "max_pool": lambda operator, _: Pool(operator),
    "add": lambda operator, _: Join(operator.layer),
    "concatenation": lambda operator, _: Join(operator.layer),
    "reshape": lambda operator, _: Reshape(operator),
    "softmax": lambda _, __: Softmax(),
}
