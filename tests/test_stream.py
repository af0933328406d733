"""A quantised model as a stream: after every step the very bytes that the model of windows gives for the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine
from streams import by_tflm, equal_windows, features_of_audio, periods, streamed, valid_chain, windows_of
from test_keras_models import Build, converted, tf

from hil_nas.deploy.decisions import Decisions, attach_decisions, read_decisions
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.stream import step_tflite, stream_of
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import attach_front_end, read_front_end, read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.errors import InputError
from hil_nas.front_ends import parse_front_end
from hil_nas.network import INPUT, Layer, Network
from hil_nas.streaming import first_whole_step, receptive_frames, state_bytes, step_network
from hil_nas.workflows.verify import host_library

__all__ = ["tf"]
HEARD = 3  # times a window's frames are streamed


@pytest.mark.parametrize("seed", range(24))
def test_every_step_of_every_period_gives_the_bytes_of_its_window(seed: int, engine: Engine) -> None:
    network = valid_chain(seed)
    window = random_graph(network, seed)
    frames, columns, _ = network.input_shape
    heard = np.random.default_rng(seed).integers(-128, 128, (HEARD * frames, columns, 1)).astype(np.int8)
    expected = Tflm(write_tflite(window)).run(windows_of(heard, frames))
    assert len(np.unique(expected, axis=0)) > len(expected) // 4
    for period in periods(network, 12):
        stream = stream_of(window, period)
        assert equal_windows(stream, streamed(stream, heard, engine), expected) > (frames // period)
        assert equal_windows(stream, by_tflm(write_tflite(stream.step), heard), expected) > (frames // period)


@pytest.mark.parametrize("seed", range(24))
def test_a_network_and_its_model_have_the_same_step(seed: int) -> None:
    """What a search prices is what will run."""
    network = valid_chain(seed)
    for period in periods(network, 12):
        described, stream = step_network(network, period), stream_of(random_graph(network, seed), period)
        operators = [(x.kind, stream.step.tensors[x.output].map) for x in stream.step.operators]
        assert operators == [(x.layer.kind, x.output) for x in described.operators()]
        assert stream.receptive_frames == receptive_frames(network)
        assert stream.first_whole_step == first_whole_step(network, period)
        assert stream.state_bytes == state_bytes(described)


def along_one_axis(layers: Any, x: Any) -> Any:
    """Conv1D, which the converter writes with time as the width, means, functions and a softmax."""
    x = layers.Conv1D(8, 3, strides=2, activation="relu")(x)
    x = layers.Activation("hard_swish")(layers.BatchNormalization()(layers.SeparableConv1D(12, 5)(x)))
    x = layers.LeakyReLU(0.1)(layers.Conv1D(8, 3, dilation_rate=2)(x))
    x = layers.Dense(6)(layers.AveragePooling1D(2)(x))
    return layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling1D()(x))


def padded_along_frequency(layers: Any, x: Any) -> Any:
    for strides in ((2, 2), (1, 1)):
        x = layers.Conv2D(6, 3, strides=strides, activation="relu")(layers.ZeroPadding2D(((0, 0), (1, 1)))(x))
    x = layers.MaxPooling2D((4, 2), strides=(1, 2))(layers.DepthwiseConv2D((1, 3), padding="same")(x))
    return layers.Dense(5)(layers.Flatten()(x))


def with_a_way_around(layers: Any, x: Any) -> Any:
    """Residuals, cropped to the rows that the convolutions beside them give, in the middle and at the beginning."""
    x = layers.Conv1D(8, 3, activation="relu")(x)
    for crop in ((2, 2), (0, 4), (4, 0)):
        x = layers.Add()([layers.Conv1D(8, 5, activation="relu")(x), layers.Cropping1D(crop)(x)])
    return layers.Dense(5)(layers.GlobalMaxPooling1D()(x))


def of_the_newest_row(layers: Any, x: Any) -> Any:
    one, other = layers.Conv1D(6, 7, activation="relu")(x), layers.Conv1D(6, 3, activation="tanh")(x)
    x = layers.Concatenate()([one, layers.Cropping1D((1, 3))(other)])
    return layers.Dense(5)(layers.Conv1D(8, 4)(x)[:, -2, 2:])


@pytest.mark.parametrize(
    ("build", "shape", "steps"),
    [
        (along_one_axis, (40, 10), (4, 8, 12)),
        (padded_along_frequency, (30, 10, 1), (2, 4)),
        (with_a_way_around, (32, 10), (1, 2, 5)),
        (of_the_newest_row, (24, 10), (1, 3)),
    ],
)
def test_models_of_keras_stream(
    tf: Any, engine: Engine, build: Build, shape: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    model = converted(tf, shape, build, batch=1)
    heard = np.random.default_rng(5).integers(-128, 128, (4 * shape[0], *shape[1:])).astype(np.int8)
    expected = Tflm(model).run(windows_of(heard, shape[0]))
    assert len(np.unique(expected, axis=0)) > len(expected) // 4
    for frames in steps:
        stream = stream_of(read_tflite(model), frames)
        assert equal_windows(stream, streamed(stream, heard, engine), expected) > 5
        assert equal_windows(stream, by_tflm(step_tflite(model, frames), heard), expected) > 5


def of_one_row(layers: Any, x: Any) -> Any:
    x = layers.Conv1D(8, 3, padding="causal")(x)
    return layers.Dense(5)(layers.GlobalAveragePooling1D()(x))


def gated(layers: Any, x: Any) -> Any:
    x = layers.Conv1D(8, 3)(x)
    x = layers.Multiply()([x, layers.GlobalAveragePooling1D(keepdims=True)(x)])
    return layers.Dense(5)(layers.GlobalAveragePooling1D()(x))


def turned(layers: Any, x: Any) -> Any:
    return layers.Dense(5)(layers.Flatten()(layers.Conv1D(8, 3)(layers.Permute((2, 1))(x))))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (of_one_row, r"operator 0 \(PAD\) cannot stream: it pads along time"),
        (gated, r"operator \d+ \(MUL\) .* joins the rows of a map with a value of the whole window"),
        (turned, r"operator 0 \(TRANSPOSE\) .* mixes rows along time"),
    ],
)
def test_a_model_that_cannot_stream_is_refused_by_its_operator(tf: Any, build: Build, message: str) -> None:
    graph = read_tflite(converted(tf, (24, 10), build, batch=1))
    with pytest.raises(InputError, match=message):
        stream_of(graph, 1)


def test_the_keyword_network_of_mlperf_tiny_runs_as_sliding_windows(reference_model: bytes) -> None:
    with pytest.raises(InputError, match=r"operator 0 \(CONV_2D\) cannot stream: it pads 4 and 5 rows along time"):
        stream_of(read_tflite(reference_model), 2)


def test_real_audio_gives_the_bytes_of_its_windows(
    librispeech: list[Path], engine: Engine, boards_dir: Path, build_dir: Path
) -> None:
    front_end = parse_front_end("mfcc:480/320/24/13/256")
    layers = (
        Layer("reshape", (INPUT,), shape=(49, 1, 13)),
        Layer("conv", (0,), 24, (5, 1), (2, 1), padding="valid", relu=True),
        Layer("depthwise", (1,), kernel=(9, 1), padding="valid", relu=True),
        Layer("conv", (2,), 24, relu=True),
        Layer("average_pool", (3,), kernel=(15, 1), stride=(15, 1), padding="valid"),
        Layer("fully_connected", (4,), 12),
    )
    window = random_graph(Network((49, 13, 1), layers), 1)
    source = window.tensors[window.input]
    host = host_library(boards_dir, build_dir)
    heard = features_of_audio(librispeech, 20, front_end, host, source.scale, source.zero_point)[..., None]
    expected = Tflm(write_tflite(window)).run(windows_of(heard, 49))
    assert len(expected) == 951
    for period in (2, 4, 10):
        stream = stream_of(window, period)
        assert equal_windows(stream, streamed(stream, heard, engine), expected) > 900 // period
        assert equal_windows(stream, by_tflm(write_tflite(stream.step), heard), expected) > 900 // period


def test_a_step_travels_with_what_its_window_has_in_its_metadata() -> None:
    front_end = parse_front_end("mfcc:480/320/24/13/256")
    decisions = Decisions(("yes", "no", "silence"), (20_000, 21_000, 0), 640, 4, 10)
    network = Network(
        (49, 13, 1),
        (
            Layer("conv", (INPUT,), 4, (5, 13), (2, 1), padding="valid"),
            Layer("average_pool", (0,), kernel=(23, 1), stride=(23, 1), padding="valid"),
            Layer("fully_connected", (1,), 3),
        ),
    )
    graph = random_graph(network, 0)
    model = attach_decisions(attach_front_end(write_tflite(graph), front_end), decisions)
    step = step_tflite(model, 2)
    assert read_front_end(step) == front_end and read_decisions(step) == decisions
    read = read_tflite(step)
    assert lower(read).to_bytes() == lower(stream_of(graph, 2).step).to_bytes()
    with pytest.raises(InputError, match=r"operator \d+ .* cannot stream: it is a delay line"):
        step_tflite(step, 2)


def wakeword_network() -> Network:
    """MLPerf Tiny's streaming wakeword: mlcommons/tiny, benchmark/training/streaming_wakeword/keras_model.py."""
    layers: list[Layer] = []
    for kernel, width in ((3, 128), (5, 128), (10, 128), (15, 32)):
        layers.append(Layer("depthwise", (len(layers) - 1,), kernel=(kernel, 1), padding="valid"))
        layers.append(Layer("conv", (len(layers) - 1,), width, padding="valid", relu=True))
    layers += [Layer("fully_connected", (7,), 3), Layer("softmax", (8,))]
    return Network((30, 1, 40), tuple(layers))


def test_the_streaming_wakeword_of_mlperf_tiny_streams(engine: Engine) -> None:
    """30 frames of 64 ms, 32 ms apart; its rules let activations stay from frame to frame."""
    network = wakeword_network()
    assert receptive_frames(network) == 30
    assert state_bytes(step_network(network, 1)) == 3 * 40 + (5 + 10 + 15) * 128
    window = random_graph(network, 0)
    heard = np.random.default_rng(0).integers(-128, 128, (150, 1, 40)).astype(np.int8)
    expected = Tflm(write_tflite(window)).run(windows_of(heard, 30))
    for period in (1, 2, 3, 7):
        stream = stream_of(window, period)
        assert equal_windows(stream, streamed(stream, heard, engine), expected) >= 121 // period
        assert equal_windows(stream, by_tflm(write_tflite(stream.step), heard), expected) >= 121 // period


def test_its_published_model_streams(wakeword_model: bytes, engine: Engine) -> None:
    window = read_tflite(wakeword_model)
    heard = np.random.default_rng(1).integers(-128, 128, (200, 1, 40)).astype(np.int8)
    stream, expected = stream_of(window, 1), Tflm(wakeword_model).run(windows_of(heard, 30))
    assert equal_windows(stream, streamed(stream, heard, engine), expected) == 171
    assert equal_windows(stream, by_tflm(step_tflite(wakeword_model, 1), heard), expected) == 171
