"""Quantisation-aware tuning: a trained network learns to live with int8 before it is converted.

Batch norm is folded first. Then every pass rounds weights and activations as TensorFlow Lite's converter will:
weights per output channel (fully connected: one scale), activations by their range over the representative features.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hil_nas.network import INPUT, Network
from hil_nas.operators.table import layer_rules
from hil_nas.training.network_module import Convolution, Dense, Folded, NetworkModule, nhwc, to_keras


class QuantisedNetwork(nn.Module):
    """A network with folded weights whose passes round to int8; gradients go straight through.

    Args:
        module: trained; stays as it is.
        representative: float (n, H, W, C), the features the converter will take ranges from.
    """

    ranges: Tensor  # (layers, 2): lowest and highest output

    def __init__(self, module: NetworkModule, representative: Tensor) -> None:
        super().__init__()
        self.network = module.network
        self.layers = copy.deepcopy(module.layers)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Convolution | Dense):
                weight, bias = layer.folded()
                self.weights[str(index)] = nn.Parameter(weight.detach().clone())
                self.biases[str(index)] = nn.Parameter(bias.detach().clone())
                layer.requires_grad_(False)
        self.owners = scale_owners(self.network)
        self.register_buffer("ranges", torch.zeros(len(self.layers), 2))
        self.calibrate(representative)

    @torch.no_grad()
    def calibrate(self, representative: Tensor) -> None:
        """Takes the ranges of all outputs over these features, without rounding, as the converter does."""
        batches = [self._outputs(x, rounded=False) for x in torch.split(representative, 500)]
        self.ranges.zero_()
        for outputs in batches:
            for owner, output in zip(self.owners, outputs, strict=True):
                if owner != INPUT:
                    self.ranges[owner, 0] = torch.minimum(self.ranges[owner, 0], output.min())
                    self.ranges[owner, 1] = torch.maximum(self.ranges[owner, 1], output.max())

    def forward(self, features: Tensor) -> Tensor:
        """Float features (N, H, W, C) on the int8 grid to logits (N, classes)."""
        return nhwc(self._outputs(features, rounded=True)[-1]).flatten(1)

    def fold(self) -> list[Folded]:
        """As `NetworkModule.fold`: the weights before rounding, which is the converter's to do."""
        return [
            to_keras(layer, self.weights[str(index)], self.biases[str(index)])
            if isinstance(layer, Convolution | Dense)
            else None
            for index, layer in enumerate(self.layers)
        ]

    def _outputs(self, features: Tensor, *, rounded: bool) -> list[Tensor]:
        x = features.permute(0, 3, 1, 2)  # (N, C, H, W)
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.network.layers):
            y = self._layer(index, [x if i == INPUT else outputs[i] for i in layer.inputs], rounded)
            owner = self.owners[index]
            if rounded and layer_rules(layer.kind).rounds and owner != INPUT:
                y = _rounded_output(y, *self.ranges[owner].tolist())
            outputs.append(y)
        return outputs

    def _layer(self, index: int, sources: list[Tensor], rounded: bool) -> Tensor:
        layer = self.layers[index]
        if not isinstance(layer, Convolution | Dense):
            result: Tensor = layer(*sources)
            return result
        weight, bias = self.weights[str(index)], self.biases[str(index)]
        if rounded:
            weight = _rounded_weight(weight, per_channel=isinstance(layer, Convolution))
        apply = layer.convolve if isinstance(layer, Convolution) else layer.multiply
        y = apply(sources[0], weight, bias)
        return F.relu(y) if layer.layer.relu else y


def scale_owners(network: Network) -> list[int]:
    """For every layer the layer whose range stands for its output's scale, or `INPUT`.

    Pools and reshapes keep the scale of what they read. Concatenation copies bytes, so that TensorFlow Lite gives
    all that it joins one scale.
    """
    owners: list[int] = []
    for index, layer in enumerate(network.layers):
        own = layer_rules(layer.kind).scale == "own"
        owners.append(index if own else _owner(owners, layer.inputs[0]))
        if layer.kind == "concatenation":
            joined = {_owner(owners, i) for i in layer.inputs}
            shared = min(joined)
            owners = [shared if x in joined else x for x in owners]
    return owners


def _owner(owners: list[int], source: int) -> int:
    return INPUT if source == INPUT else owners[source]


def _rounded_output(x: Tensor, low: float, high: float) -> Tensor:
    scale = max((high - low) / 255, 1e-9)
    zero_point = min(127, max(-128, round(-128 - low / scale)))
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)


def _rounded_weight(weight: Tensor, *, per_channel: bool) -> Tensor:
    """Symmetric int8 of weights whose first axis is the output channel."""
    size = weight.detach().abs()
    if not per_channel:
        return torch.fake_quantize_per_tensor_affine(weight, max(float(size.max()) / 127, 1e-9), 0, -127, 127)
    scales = (size.flatten(1).amax(1) / 127).clamp_min(1e-9)
    return torch.fake_quantize_per_channel_affine(
        weight, scales, torch.zeros_like(scales, dtype=torch.int32), 0, -127, 127
    )
