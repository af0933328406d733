"""Networks that can stream, what they hear, and whether a stream gives the bytes of its windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from deploy_harness import Engine
from numpy.lib.stride_tricks import sliding_window_view

from hil_nas.audio.decode import read_audio
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.stream import Stream
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.network import INPUT, Layer, Network
from hil_nas.streaming import smallest_step_frames, step_network


def valid_chain(seed: int) -> Network:
    """A random chain without padding, along time alone or on the plane of time and frequency."""
    rng = np.random.default_rng(seed)
    frames, columns, plane = int(rng.integers(24, 60)), int(rng.integers(4, 14)), seed % 3 == 2
    shape = (frames, columns, 1)
    layers = [] if plane else [Layer("reshape", (INPUT,), shape=(frames, 1, columns))]

    def add(kind: str, **fields: Any) -> None:
        layers.append(Layer(kind, (len(layers) - 1,), padding="valid", **fields))

    for block in range(int(rng.integers(2, 5))):
        height, width, _ = Network(shape, tuple(layers)).output_shape if layers else shape
        stride = int(rng.choice([1, 1, 2, 3 if seed % 4 else 4]))
        kernel = int(rng.integers(1, 8))
        if height < kernel + stride or height < 4:
            break
        window = {"kernel": (kernel, min(width, 2) if plane else 1), "stride": (stride, 1)}
        if block and rng.random() < 0.2:
            add(str(rng.choice(["average_pool", "max_pool"])), **window)
        elif block and rng.random() < 0.7:
            dilation = 2 if kernel > 1 and stride == 1 and height > 2 * kernel else 1
            add("depthwise", relu=True, dilation=(dilation, 1), **window)
            add("conv", out_channels=int(rng.choice([8, 12, 20])), relu=True)
        else:
            add("conv", out_channels=int(rng.choice([8, 12, 20])), relu=True, **window)
    height, width, _ = Network(shape, tuple(layers)).output_shape
    if rng.random() < 0.8:
        add("average_pool", kernel=(height, width), stride=(height, width))
    add("fully_connected", out_channels=7)
    return Network(shape, tuple(layers))


def periods(network: Network, most: int) -> Iterator[int]:
    """Every number of frames that a step of the network can have, up to so many."""
    apart = smallest_step_frames(network)
    for frames in range(apart, most + 1, apart):
        try:
            step_network(network, frames)
        except InputError as error:
            assert "where a step of" in error.message and frames > apart
            return
        yield frames


def streamed(stream: Stream, heard: np.ndarray, engine: Engine) -> np.ndarray:
    """int8 (frames, ...) -> what the engine answers after every step, from an empty state on."""
    plan, count = lower(stream.step), len(heard) // stream.frames
    steps = heard[: count * stream.frames].reshape(count, stream.frames, *heard.shape[1:])
    return engine.run(plan.to_bytes(), steps, plan.arena_bytes)


def by_tflm(step: bytes, heard: np.ndarray) -> np.ndarray:
    """The same by TensorFlow Lite Micro, of the .tflite of a step."""
    oracle = Tflm(step)
    frames = int(np.prod(oracle.input_shape)) // heard[0].size
    count = len(heard) // frames
    return oracle.run(heard[: count * frames].reshape(count, *oracle.input_shape))


def equal_windows(stream: Stream, answers: np.ndarray, expected: np.ndarray) -> int:
    """How many steps gave the bytes of the window that they end; all must.

    Args:
        answers: after every step.
        expected: of the window that begins with each frame.
    """
    starts = np.arange(1, len(answers) + 1) * stream.frames - stream.receptive_frames
    assert np.flatnonzero(starts >= 0)[0] == stream.first_whole_step - 1
    compared = (starts >= 0) & (starts < len(expected))
    assert np.array_equal(answers[compared], expected[starts[compared]])
    return int(compared.sum())


def windows_of(heard: np.ndarray, frames: int) -> np.ndarray:
    """(frames heard, ...) -> the window that begins with each frame: (windows, frames, ...)."""
    return np.moveaxis(sliding_window_view(heard, frames, axis=0), -1, 1)


def features_of_audio(
    files: list[Path], seconds: int, front_end: FrontEnd, host: HostFrontEnd, scale: float, zero_point: int
) -> np.ndarray:
    """int8 (frames, columns) of so much speech, each frame as the front end makes it for the clip that begins there."""
    rate_hz, hop = front_end.clip.sample_rate_hz, front_end.hop_samples
    parts: list[np.ndarray] = []
    while sum(len(x) for x in parts) < seconds * rate_hz:
        parts.append(read_audio(files[len(parts)], 60, rate_hz).samples)
    audio = np.concatenate(parts)[: seconds * rate_hz]
    starts = range(0, len(audio) - front_end.clip.samples + 1, hop)
    clips = np.stack([audio[x : x + front_end.clip.samples] for x in starts])
    features = host.features(front_end.blob(scale, zero_point), clips)  # (clips, frames, columns)
    assert all(np.array_equal(features[i, 1:], features[i + 1, :-1]) for i in range(len(features) - 1))
    return np.concatenate([features[:-1, 0], features[-1]])
