"""From the network of a window to that of a step: what it is made of, and what cannot stream."""

from __future__ import annotations

import pytest

from hil_nas.baselines import ds_cnn, ds_tc_resnet
from hil_nas.errors import InputError
from hil_nas.network import INPUT, Layer, Network
from hil_nas.streaming import first_whole_step, receptive_frames, smallest_step_frames, state_bytes, step_network

FRAMES = 49


def chain(*steps: Layer, frames: int = FRAMES) -> Network:
    """Layers one behind the other on 13 coefficients that are channels, an average over the map and 3 logits."""
    layers = [Layer("reshape", (INPUT,), shape=(frames, 1, 13)), *steps]
    height = Network((frames, 13, 1), tuple(layers)).output_shape[0]
    last = len(layers) - 1
    layers.append(Layer("average_pool", (last,), kernel=(height, 1), stride=(height, 1), padding="valid"))
    return Network((frames, 13, 1), (*layers, Layer("fully_connected", (last + 1,), 3)))


def conv(source: int, kernel: int, stride: int = 1, padding: str = "valid") -> Layer:
    return Layer("conv", (source,), 8, (kernel, 1), (stride, 1), padding=padding, relu=True)


def depthwise(source: int, kernel: int, stride: int = 1, padding: str = "valid") -> Layer:
    return Layer("depthwise", (source,), kernel=(kernel, 1), stride=(stride, 1), padding=padding, relu=True)


# 49 frames -> 45 -> 22 -> 20 -> 6 rows
STRIDED = chain(conv(0, 5), depthwise(1, 3, 2), conv(2, 1), depthwise(3, 3), conv(4, 9, 2))


def test_receptive_field_is_what_the_formula_says() -> None:
    # reach grows by (kernel - 1) * stride so far: 1 + 4 + 2 + 2*2 + 8*2 = 27 for a row of the last map, rows 4 apart;
    # its 6 rows reach over 27 + 5*4 = 47 of 49 frames: strides leave two unread
    assert receptive_frames(STRIDED) == 47
    assert smallest_step_frames(STRIDED) == 4
    assert first_whole_step(STRIDED, 4) == 12
    assert first_whole_step(STRIDED, 16) == 3


def test_a_step_keeps_in_delay_lines_what_earlier_frames_gave() -> None:
    expected = (
        Layer("reshape", (INPUT,), shape=(4, 1, 13)),
        Layer("delay", (0,), shape=(8, 1, 13)),  # 5 - 1 + 4 rows
        conv(1, 5),
        Layer("delay", (2,), shape=(5, 1, 8)),  # 3 - 2 + 4
        depthwise(3, 3, 2),
        conv(4, 1),  # by row: no line
        Layer("delay", (5,), shape=(4, 1, 8)),  # 3 - 1 + 2
    )
    step = step_network(STRIDED, 4)
    assert step.layers[:7] == expected
    lines = [x.output for x in step.operators() if x.layer.kind == "delay"]
    assert lines == [(8, 1, 13), (5, 1, 8), (4, 1, 8), (9, 1, 8), (6, 1, 8)]  # the average's line holds all its rows
    assert state_bytes(step) == sum(rows * channels for rows, _, channels in lines)
    assert step.input_shape == (4, 13, 1) and step.output_shape == STRIDED.output_shape


def test_readers_of_one_map_share_its_delay_line() -> None:
    network = chain(conv(0, 3), conv(1, 5), depthwise(1, 5), Layer("add", (2, 3)))
    step = step_network(network, 2)
    assert [x.shape for x in step.layers if x.kind == "delay"] == [(4, 1, 13), (6, 1, 8), (43, 1, 8)]


@pytest.mark.parametrize(
    ("network", "frames", "message"),
    [
        (STRIDED, 6, r"a step of 6 frames is no whole number of rows, which strides leave 4 frames apart \(take"),
        (STRIDED, 0, "a step of 0 frames is no whole number"),
        (chain(conv(0, 47)), 4, "reads 3 rows of a window where a step of 4 frames brings 4"),
    ],
)
def test_a_step_of_frames_that_do_not_fit_is_refused(network: Network, frames: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        step_network(network, frames)


def test_padding_along_frequency_needs_an_operator_of_its_own() -> None:
    """An operator has one word for both axes: one that reaches over one row may say 'same', another may not."""
    layers = (
        Layer("conv", (INPUT,), 8, (1, 3)),
        Layer("depthwise", (0,), kernel=(5, 2), padding="valid"),
        Layer("max_pool", (1,), kernel=(2, 3), stride=(2, 1)),
        Layer("average_pool", (2,), kernel=(9, 9), stride=(9, 9), padding="valid"),
    )
    step = step_network(Network((22, 10, 1), layers), 2)
    assert [x.padding for x in step.layers if x.kind != "delay"] == ["same", "valid", "same", "valid"]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (chain(conv(0, 3, padding="same")), r"layer 1 \(conv\) cannot stream: it pads 1 and 1 rows along time"),
        (chain(depthwise(0, 4, 2, "same")), r"layer 1 \(depthwise\) .* pads 1 and 2 rows along time .*'valid'"),
        (ds_cnn(), r"layer 0 \(conv\) cannot stream: it pads 4 and 5 rows along time"),
        (ds_tc_resnet(), r"layer 1 \(depthwise\) cannot stream: it pads 5 and 5 rows along time"),
        (Network((9, 4, 1), (conv(INPUT, 3),)), "the output has 7 rows along time"),
        (
            Network((9, 4, 1), (Layer("reshape", (INPUT,), shape=(4, 9, 1)), conv(0, 4))),
            r"layer 0 \(reshape\) .* mixes rows along time",
        ),
        (
            chain(conv(0, 4, 2), conv(0, 3, 2), Layer("add", (1, 2)), frames=24),
            r"layer 3 \(add\) .* joins values of which one is known 1 frames before the other",
        ),
        (chain(conv(0, 4, 2), conv(0, 26), Layer("add", (1, 2)), frames=48), "joins rows 2 and 1 frames apart"),
    ],
)
def test_what_cannot_stream_is_refused_by_its_layer_and_reason(network: Network, message: str) -> None:
    with pytest.raises(InputError, match=message):
        receptive_frames(network)
