"""The torch twin of a network against Keras, which did not learn its rules from us."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from hil_nas.baselines import ds_cnn, ds_tc_resnet, micronet_kws_s
from hil_nas.errors import InputError
from hil_nas.network import INPUT, Layer, Network
from hil_nas.training.branches import BranchedConvolution
from hil_nas.training.network_module import Convolution, NetworkModule


def random_network(rng: np.random.Generator) -> Network:
    """Every kind of layer at random geometry, wired so that all shapes fit."""
    shape = (int(rng.integers(9, 30)), int(rng.integers(4, 12)), int(rng.choice([1, 3])))

    def pair(most: int) -> tuple[int, int]:
        return (int(rng.integers(1, most + 1)), int(rng.integers(1, most + 1)))

    padding = str(rng.choice(["same", "valid"]))
    layers = [
        Layer("conv", (INPUT,), 6, pair(4), pair(2), padding=padding, relu=True),
        Layer("depthwise", (0,), kernel=pair(5), stride=pair(2), relu=bool(rng.integers(2))),
        Layer("conv", (1,), 6, (1, 1), relu=True),
        Layer("depthwise", (2,), kernel=pair(3), dilation=pair(2), relu=True),
        Layer("add", (2, 3), relu=bool(rng.integers(2))),
        Layer("average_pool", (4,), kernel=(3, 3)),
        Layer("max_pool", (4,), kernel=(3, 3)),
        Layer("concatenation", (5, 6)),
        Layer("conv", (7,), 4, pair(3), dilation=pair(2)),
        Layer("max_pool", (8,), kernel=(2, 2), stride=(2, 2)),
        Layer("average_pool", (9,), kernel=(2, 3), stride=(1, 2)),
    ]
    height, width, channels = Network(shape, tuple(layers)).output_shape
    layers.append(Layer("reshape", (10,), shape=(height, 1, width * channels)))
    layers.append(Layer("conv", (11,), 5, (3, 1), relu=True))
    layers.append(Layer("fully_connected", (12,), 7, relu=True))
    layers.append(Layer("fully_connected", (13,), 3))
    return Network(shape, tuple(layers))


def trained(network: Network, seed: int, convolution: type[Convolution] = Convolution) -> NetworkModule:
    """A module whose batch norms have statistics that matter."""
    generator = torch.Generator().manual_seed(seed)
    module = NetworkModule(network, generator, convolution)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if "norm" in name and "num" not in name:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return module.eval()


def keras_model(network: Network, folded: list[Any]) -> Any:
    import keras
    from keras import layers as K

    inputs = keras.Input(network.input_shape)
    outputs: list[Any] = []
    for layer, weights in zip(network.layers, folded, strict=True):
        x = [inputs if i == INPUT else outputs[i] for i in layer.inputs]
        window = {"strides": layer.stride, "padding": layer.padding}
        dilated = {**window, "dilation_rate": layer.dilation}
        activation = "relu" if layer.relu else None
        if layer.kind == "conv":
            made = K.Conv2D(layer.out_channels, layer.kernel, activation=activation, **dilated)
        elif layer.kind == "depthwise" and layer.stride[0] == layer.stride[1]:
            made = K.DepthwiseConv2D(layer.kernel, activation=activation, **dilated)
        elif layer.kind == "depthwise":  # TensorFlow's takes such strides only with oneDNN, which not every CPU gets
            channels = weights[0].shape[2]
            weights = (weights[0] * np.eye(channels, dtype=np.float32), weights[1])
            made = K.Conv2D(channels, layer.kernel, activation=activation, **dilated)
        elif layer.kind == "fully_connected":
            x, made = [K.Flatten()(x[0])], K.Dense(layer.out_channels, activation=activation)
        elif layer.kind == "average_pool":
            made = K.AveragePooling2D(layer.kernel, **window)
        elif layer.kind == "max_pool":
            made = K.MaxPooling2D(layer.kernel, **window)
        elif layer.kind == "reshape":
            made = K.Reshape(layer.shape)
        else:
            made = K.Concatenate() if layer.kind == "concatenation" else K.Add()
        outputs.append(made(x if len(x) > 1 else x[0]))
        if weights is not None:
            made.set_weights(list(weights))
        if layer.kind == "add" and layer.relu:
            outputs[-1] = K.ReLU()(outputs[-1])
    return keras.Model(inputs, outputs[-1])


@pytest.mark.parametrize("convolution", [Convolution, BranchedConvolution])
@pytest.mark.parametrize("seed", range(6))
def test_folded_weights_give_in_keras_what_the_module_gives(seed: int, convolution: type[Convolution]) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    module = trained(network, seed, convolution)
    x = rng.normal(size=(5, *network.input_shape)).astype(np.float32)
    with torch.no_grad():
        actual = module(torch.from_numpy(x)).numpy()
    expected = keras_model(network, module.fold())(x).numpy()
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_branches_stand_where_shapes_allow_them() -> None:
    layers = (
        Layer("conv", (INPUT,), 4, (9, 1), (2, 1)),
        Layer("depthwise", (0,), kernel=(15, 1)),
        Layer("conv", (1,), 4),
        Layer("conv", (2,), 6),
        Layer("depthwise", (3,), kernel=(2, 2), dilation=(2, 1)),  # reads beside what it writes, never on it
    )
    module = NetworkModule(Network((20, 3, 2), layers), convolution=BranchedConvolution)
    shorts, inputs = ([getattr(x, name) is not None for x in module.layers] for name in ("short_norm", "input_norm"))
    assert shorts == [True, True, False, False, True] and inputs == [False, True, True, False, False]
    assert [x.short for x in module.layers] == [(3, 1), (5, 1), (1, 1), (1, 1), (1, 1)]


def test_reshape_keeps_the_order_of_nhwc() -> None:
    network = Network((4, 3, 2), (Layer("reshape", (INPUT,), shape=(4, 1, 6)),))
    x = torch.arange(24.0).reshape(1, 4, 3, 2)
    assert torch.equal(NetworkModule(network)(x).reshape(4, 6), x.reshape(4, 6))


def test_softmax_at_the_end_is_left_to_the_loss() -> None:
    layers = (Layer("fully_connected", (INPUT,), 3), Layer("softmax", (0,)))
    module = NetworkModule(Network((2, 2, 1), layers), torch.Generator().manual_seed(0))
    x = torch.randn(4, 2, 2, 1, generator=torch.Generator().manual_seed(1))
    plain = NetworkModule(Network((2, 2, 1), layers[:1]), torch.Generator().manual_seed(0))
    assert torch.equal(module(x), plain(x))


def test_initial_weights_follow_the_generator() -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        return NetworkModule(ds_cnn(), torch.Generator().manual_seed(seed)).state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_dilated_pool_is_refused() -> None:
    network = Network((9, 9, 1), (Layer("max_pool", (INPUT,), kernel=(3, 3), dilation=(2, 2)),))
    with pytest.raises(InputError, match="max_pool with dilation"):
        NetworkModule(network)


def test_baselines_have_their_published_size() -> None:
    def multiplications(network: Network) -> int:
        total = 0
        for operator, folded in zip(network.operators(), NetworkModule(network).fold(), strict=True):
            if folded is None:
                continue
            rows, columns, channels = operator.output
            per_output = folded[0].size // channels
            total += rows * columns * channels * per_output
        return total

    assert multiplications(ds_cnn()) == 2_656_768  # MLPerf Tiny's: 2.7 M
    assert multiplications(micronet_kws_s()) == pytest.approx(16.4e6 / 2, rel=0.02)
    assert ds_cnn(classes=5).output_shape == (1, 1, 5)


def test_a_residual_baseline_has_the_parameters_it_was_published_with() -> None:
    """kws_streaming gives ds_tc_resnet 75 K parameters, with its 35 words; the same network as MatchboxNet-3x1x64 has
    77 K with 64 coefficients and the 30 words of version 1 (arXiv:2004.08531)."""

    def learned(network: Network) -> int:
        """All but the batch norms behind depthwise convolutions, which the published network has not."""
        module = NetworkModule(network)
        own = [x.norm for x in module.layers if isinstance(x, Convolution) and x.is_depthwise]
        return sum(x.numel() for x in module.parameters()) - sum(x.numel() for y in own for x in y.parameters())

    assert round(learned(ds_tc_resnet(classes=35)), -3) == 75_000
    assert round(learned(ds_tc_resnet((98, 64, 1), classes=30)), -3) == 77_000


def test_a_residual_baseline_computes_what_was_published() -> None:
    """Against its blocks in torch's own words: depthwise and pointwise, batch norm, then a projection of the block's
    input is added before the ReLU where there is a residual."""
    network = ds_tc_resnet((21, 10, 1), classes=3)
    module = NetworkModule(network, torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.add_(torch.rand(buffer.shape, generator=rng))
    folded = iter([x for x in module.eval().layers if isinstance(x, Convolution)])
    features = torch.randn(4, 21, 10, 1, generator=rng)

    def along_time(x: torch.Tensor, dilation: int = 1) -> torch.Tensor:
        """(N, C, T) by the next layer's folded kernel."""
        layer = next(folded)
        weight, bias = (y.detach() for y in layer.folded())
        groups = x.shape[1] if layer.is_depthwise else 1
        return functional.conv1d(x, weight[..., 0], bias, padding="same", dilation=dilation, groups=groups)

    x = features[..., 0].transpose(1, 2)  # (N, T, C) -> (N, C, T)
    for residual, dilation in ((False, 1), (True, 1), (True, 1), (True, 1), (False, 2), (False, 1)):
        y = along_time(along_time(x, dilation))
        x = torch.relu(y + along_time(x) if residual else y)
    dense = module.layers[-1]
    expected = functional.linear(x.mean(2), dense.weight, dense.bias)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(module(features), expected, rtol=1e-4, atol=1e-5)
