"""Published networks rebuilt from their shapes, to be trained with the same recipe as what a search finds."""

from __future__ import annotations

from collections.abc import Callable

from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.network import INPUT, Layer, Network, Pair, Shape

MLPERF_SHAPE: Shape = (49, 10, 1)  # 30 ms windows every 20 ms over one second, 10 coefficients


def ds_cnn(input_shape: Shape = MLPERF_SHAPE, classes: int = 12) -> Network:
    """MLPerf Tiny's keyword spotting network: a 10x4 convolution and four depthwise-separable blocks, 64 wide.

    Source: mlcommons/tiny, benchmark/training/keyword_spotting/keras_model.py; its dropout is left out and its
    softmax left to the loss.
    """
    layers = [Layer("conv", (INPUT,), 64, (10, 4), (2, 2), relu=True)]
    for _ in range(4):
        layers += _separable(len(layers) - 1, 64, (3, 3), (1, 1))
    return _headed(input_shape, layers, classes)


def micronet_kws_s(input_shape: Shape = MLPERF_SHAPE, classes: int = 12) -> Network:
    """MicroNet-KWS-S: the DS-CNN form with the widths that a differentiable search found.

    Source: arXiv:2010.11267, whose Table 4 gives 16.4 M operations and 53.2 KB of SRAM; this has 8.33 M
    multiply-accumulates and its two largest tensors together 51.7 kB.
    """
    layers = [Layer("conv", (INPUT,), 84, (10, 4), (1, 1), relu=True)]
    for width, stride in ((112, (2, 2)), (84, (1, 1)), (84, (1, 1)), (84, (1, 1)), (196, (1, 1))):
        layers += _separable(len(layers) - 1, width, (3, 3), stride)
    return _headed(input_shape, layers, classes)


def ds_tc_resnet(input_shape: Shape = (98, 40, 1), classes: int = 12) -> Network:
    """ds_tc_resnet, which is MatchboxNet-3x1x64: separable convolutions along time, with the coefficients as channels.

    Source: google-research, kws_streaming/models/ds_tc_resnet.py by the command of kws_experiments_12_labels.md. The
    75 K parameters given there are 74,651 for 35 words and 71,684 for 12 classes. It is the one that pads by 'same', so
    that it hears no stream. One thing differs: a batch norm stands behind each depthwise convolution too, as everywhere
    here, which on the device is that convolution's bias.
    """
    frames, coefficients, channels = input_shape
    layers = [Layer("reshape", (INPUT,), shape=(frames, 1, coefficients * channels))]
    for width, rows, dilation, residual in (
        (128, 11, 1, False), (64, 13, 1, True), (64, 15, 1, True), (64, 17, 1, True), (128, 29, 2, False),
        (128, 1, 1, False),
    ):  # fmt: skip
        source = len(layers) - 1
        layers += [
            Layer("depthwise", (source,), kernel=(rows, 1), dilation=(dilation, 1)),
            Layer("conv", (source + 1,), width, relu=not residual),
        ]
        if residual:
            layers += [Layer("conv", (source,), width), Layer("add", (source + 2, source + 3), relu=True)]
    return _headed(input_shape, layers, classes)


def _separable(source: int, width: int, kernel: Pair, stride: Pair) -> list[Layer]:
    return [
        Layer("depthwise", (source,), kernel=kernel, stride=stride, relu=True),
        Layer("conv", (source + 1,), width, relu=True),
    ]


def _headed(input_shape: Shape, layers: list[Layer], classes: int) -> Network:
    """The layers, an average over the whole map and a fully connected layer of logits."""
    height, width, _ = Network(input_shape, tuple(layers)).output_shape
    last = len(layers) - 1
    pool = Layer("average_pool", (last,), kernel=(height, width), stride=(height, width), padding="valid")
    return Network(input_shape, (*layers, pool, Layer("fully_connected", (last + 1,), classes)))


Builder = Callable[[Shape, int], Network]
# Each with the front end it was published with: MLPerf Tiny's 30 ms windows, Hello Edge's 40 ms that MicroNets took,
# 30 ms every 10 ms of ds_tc_resnet, whose own filters end at 7600 Hz, not at 8000, and weigh magnitudes, not powers.
_PUBLISHED: dict[str, tuple[Builder, FrontEnd]] = {
    "ds-cnn": (ds_cnn, parse_front_end("mfcc:480/320/40/10")),
    "micronet-kws-s": (micronet_kws_s, parse_front_end("mfcc:640/320/40/10")),
    "ds-tc-resnet": (ds_tc_resnet, parse_front_end("mfcc:480/160/80/40")),
}
BASELINES = tuple(_PUBLISHED)


def baseline(name: str, classes: int) -> tuple[Network, FrontEnd]:
    """A published network and the front end that it was published with.

    Raises:
        InputError: for a name that is not among `BASELINES`.
    """
    if name not in _PUBLISHED:
        raise InputError(f"no published network is named '{name}', expected one of: {', '.join(BASELINES)}")
    build, config = _PUBLISHED[name]
    return build((*config.shape, 1), classes), config
