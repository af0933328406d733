"""A stream's answers are those that clips get, by the oracle that this project did not write; however it is cut."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import ds_cnn
from streams import windows_of

from hil_nas.deploy.decisions import ONE, PROBABILITIES, Decisions
from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.host_engine import HostEngine, build_engine_library
from hil_nas.deploy.listening import Listening, sliding_windows, stream_steps
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.stream import stream_of
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.firmware import find_third_party
from hil_nas.errors import InputError
from hil_nas.front_ends import ClipFormat, FrontEnd, parse_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.listening.decider import Decider, build_decide_library
from hil_nas.listening.host import HostListener
from hil_nas.network import INPUT, Layer, Network

LABELS = tuple(map(str, range(12)))
FRONT_END = parse_front_end("mfcc:480/320/40/10")


@pytest.fixture(scope="module")
def host(boards_dir: Path, build_dir: Path) -> HostFrontEnd:
    return HostFrontEnd(build_host_library(boards_dir, build_dir))


@pytest.fixture(scope="module")
def library(boards_dir: Path, build_dir: Path) -> Path:
    return build_engine_library(boards_dir, find_third_party().cmsis_nn, build_dir)


def audio(seconds: float, seed: int = 1) -> np.ndarray:
    """Noise whose level and colour change a few times a second, int16 (m,)."""
    rng = np.random.default_rng(seed)
    levels = 10 ** rng.uniform(0.5, 4, round(4 * seconds))
    parts = [rng.normal(0, level, 4000).cumsum() % 20_000 - 10_000 for level in levels]
    return np.concatenate(parts).astype(np.int16)


def listener(
    library: Path, model: bytes, period_samples: int, front_end: FrontEnd = FRONT_END, averaged: int = 3
) -> HostListener:
    decisions = Decisions(LABELS, (ONE // 3,) * len(LABELS), period_samples, averaged, refractory=2)
    return HostListener(library, sliding_windows(attach_front_end(model, front_end), decisions))


def clips_of(samples: np.ndarray, listening: Listening, count: int) -> np.ndarray:
    """The clips (count, clip) whose frames end where the first answers' windows do."""
    config = listening.front_end
    used = config.window_samples + (config.frames - 1) * config.hop_samples
    starts = [listening.first_samples + i * listening.period_samples - used for i in range(count)]
    padded = np.concatenate([samples, np.zeros(config.clip.samples, np.int16)])
    return np.stack([padded[x : x + config.clip.samples] for x in starts])


@pytest.mark.parametrize("hops", [1, 2, 5, 7, 49])
def test_the_answer_of_a_window_is_that_of_its_clip(
    hops: int, kws_model: bytes, host: HostFrontEnd, library: Path
) -> None:
    listening = listener(library, kws_model, hops * FRONT_END.hop_samples)
    samples = audio(1 + hops * FRONT_END.hop_samples / 16_000 * 12)
    actual = listening.push(samples)
    oracle = Tflm(kws_model)
    blob = FRONT_END.blob(oracle.input_scale, oracle.input_zero_point)
    clips = clips_of(samples, listening.listening, len(actual))
    assert len(actual) == listening.listening.answers_in(len(samples)) >= 11
    assert len(np.unique(actual.answers)) > 10
    assert np.array_equal(actual.answers, oracle.run(host.features(blob, clips)[..., None]))


def test_decisions_are_those_on_the_answers(kws_model: bytes, library: Path, boards_dir: Path, build_dir: Path) -> None:
    listening = listener(library, kws_model, 640)
    actual = listening.push(audio(8))
    decider = Decider(build_decide_library(boards_dir, build_dir), listening.listening.decisions, PROBABILITIES)
    heard, averages = decider.next(actual.answers)
    assert np.array_equal(actual.heard, heard) and np.array_equal(actual.averages, averages)
    assert len(np.unique(heard)) > 2
    first, period = listening.listening.first_samples, listening.listening.period_samples
    assert np.array_equal(actual.ends, first + period * np.arange(len(actual)))


@pytest.mark.parametrize("name", ["mfcc:480/320/40/10", "logmel:256/256/16@8000/6000", "logmel:200/333/20@8000/9000"])
def test_pieces_of_any_size_give_the_same_answers(name: str, library: Path) -> None:
    """Frames that overlap, that meet, and that lie apart."""
    front_end, rng = parse_front_end(name), np.random.default_rng(8)
    model = write_tflite(random_graph(ds_cnn(*front_end.shape, channels=8, blocks=1), 4))
    listening = listener(library, model, 5 * front_end.hop_samples, front_end)
    samples = audio(4)
    whole = listening.push(samples)
    assert len(whole) == listening.listening.answers_in(len(samples)) > 10 and len(np.unique(whole.answers)) > 6
    many = [np.sort(rng.integers(0, len(samples), count)) for count in (3, 40, 700)]
    for cuts in (*many, [1, 2, 500, 16_159, 16_160, 40_000], range(len(samples) - 9_000, len(samples))):
        listening.restart()
        pieces = [listening.push(x) for x in np.split(samples, cuts)]
        for name in ("ends", "answers", "heard", "averages"):
            assert np.array_equal(np.concatenate([getattr(x, name) for x in pieces]), getattr(whole, name))


def test_the_first_answer_comes_with_the_sample_that_completes_it(kws_model: bytes, library: Path) -> None:
    listening = listener(library, kws_model, 1600)
    assert len(listening.push(audio(2)[: listening.listening.first_samples - 1])) == 0
    assert len(listening.push(np.zeros(1, np.int16))) == 1
    assert len(listening.push(np.zeros(1599, np.int16))) == 0
    assert len(listening.push(np.zeros(1, np.int16))) == 1


def test_a_step_hears_new_frames_alone_and_answers_behind_its_warm_up(library: Path, host: HostFrontEnd) -> None:
    """By a network that keeps nothing, so that the oracle answers each step by itself."""
    front_end = parse_front_end("mfcc:480/320/40/10")
    layers = (Layer("conv", (INPUT,), 8, (3, 3), relu=True), Layer("fully_connected", (0,), len(LABELS)))
    step_model = write_tflite(random_graph(Network((5, 10, 1), layers), 2))
    window_model = attach_front_end(write_tflite(random_graph(ds_cnn(channels=8, blocks=1), 4)), front_end)
    decisions = Decisions(LABELS, (ONE // 3,) * len(LABELS), 1600, 2, 0)
    windows = sliding_windows(window_model, decisions)
    steps = stream_steps(step_model, windows)
    assert (steps.rows, steps.step, steps.warm_up) == (5, 5, 9) and steps.first_samples == windows.first_samples
    samples = audio(3)
    actual = HostListener(library, steps).push(samples)
    assert np.array_equal(actual.ends, HostListener(library, windows).push(samples).ends)
    oracle = Tflm(step_model)
    five = parse_front_end("mfcc:480/320/40/10@16000/1760")
    blob = five.blob(oracle.input_scale, oracle.input_zero_point)
    clips = np.stack([samples[end - 1760 : end] for end in actual.ends])
    assert np.array_equal(actual.answers, oracle.run(host.features(blob, clips)[..., None]))
    with pytest.raises(InputError, match="a step of the stream is 5 frames, the decisions' period 4"):
        stream_steps(step_model, sliding_windows(window_model, replace(decisions, period_samples=1280)))


@pytest.mark.parametrize("frames", [2, 4, 6])
def test_a_stream_answers_as_the_windows_that_its_steps_end(frames: int, library: Path, host: HostFrontEnd) -> None:
    """TFLM on every window that begins with a frame of the audio, the step's state in the engine."""
    window = random_graph(streamable(), 3)
    stream, samples = stream_of(window, frames), audio(6)
    decisions = Decisions(LABELS, (ONE // 3,) * len(LABELS), 320 * frames, 2, 0)
    windows = sliding_windows(attach_front_end(write_tflite(window), FRONT_END), decisions)
    steps = replace(windows, plan=lower(stream.step), warm_up=-(-49 // frames) - 1, stream=True)
    listening = HostListener(library, steps)
    actual = np.concatenate([listening.push(x).answers for x in np.split(samples, [3, 5000, 40_000])])
    listening.restart()
    assert np.array_equal(listening.push(samples).answers, actual)  # nothing is left of the stream before
    oracle = Tflm(write_tflite(window))
    whole = replace(FRONT_END, clip=ClipFormat(16_000, len(samples)))
    features = host.features(whole.blob(oracle.input_scale, oracle.input_zero_point), samples[None])[0]
    expected = oracle.run(windows_of(features[..., None], 49))
    starts = frames * (np.arange(len(actual)) + -(-49 // frames)) - stream.receptive_frames
    known = starts < len(expected)
    assert known.sum() > 15 and len(np.unique(actual, axis=0)) > 10
    assert np.array_equal(actual[known], expected[starts[known]])


def streamable() -> Network:
    """A chain along time without padding, of strides 2 and 1."""
    layers = [Layer("reshape", (INPUT,), shape=(49, 1, 10))]

    def add(kind: str, **fields: Any) -> None:
        layers.append(Layer(kind, (len(layers) - 1,), padding="valid", **fields))  # type: ignore[arg-type]

    add("conv", out_channels=16, kernel=(5, 1), stride=(2, 1), relu=True)
    add("depthwise", kernel=(5, 1), relu=True)
    add("conv", out_channels=16, relu=True)
    add("average_pool", kernel=(19, 1), stride=(19, 1))
    add("fully_connected", out_channels=12)
    return Network((49, 10, 1), tuple(layers))


@pytest.mark.parametrize("period", [319, 330, 50 * 320])
def test_periods_that_a_front_end_does_not_have(period: int, kws_model: bytes, library: Path) -> None:
    with pytest.raises(InputError, match="1 to 49 hops"):
        listener(library, kws_model, period)


def test_what_does_not_belong_together(kws_model: bytes, library: Path) -> None:
    decisions = Decisions(LABELS[1:], (1,) * 11, 1600, 1, 0)
    with pytest.raises(InputError, match="no front end"):
        sliding_windows(kws_model, decisions)
    with pytest.raises(InputError, match="11 classes for a network with 12 outputs"):
        sliding_windows(attach_front_end(kws_model, FRONT_END), decisions)
    with pytest.raises(InputError, match="the network reads 490"):
        sliding_windows(attach_front_end(kws_model, parse_front_end("mfcc:640/320/40/12")), decisions)
    with pytest.raises(InputError, match=r"expected int16 \(samples,\)"):
        listener(library, kws_model, 1600).push(np.zeros(10, np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"step": 0}, "as many frames as lie between"),
        ({"step": 50}, "as many frames as lie between"),
        ({"warm_up": 65_536}, "too many runs"),
        ({"front_end": None}, "are needed"),
        ({"network": None}, "are needed"),
        ({"decisions": None}, "are needed"),
        ({"scratch": None}, "scratch"),
        ({"scratch": 8}, "scratch"),
    ],
)
def test_the_source_refuses_settings_by_itself(
    changed: dict[str, int | None], reason: str, kws_model: bytes, library: Path
) -> None:
    listening = listener(library, kws_model, 1600)
    for name, value in changed.items():
        setattr(listening._settings, name, value)
    fault = listening._c.listen_fault(ctypes.byref(listening._settings))
    assert reason in fault.decode()


def test_the_source_refuses_a_network_and_decisions_of_another_shape(kws_model: bytes, library: Path) -> None:
    for name, value, reason in (("output_bytes", 11, "number of classes"), ("input_bytes", 491, "whole frames")):
        listening = listener(library, kws_model, 1600)
        setattr(listening._model, name, value)
        assert reason in listening._c.listen_fault(ctypes.byref(listening._settings)).decode()
    listening = listener(library, kws_model, 1600)
    listening._decide[:4] = 0
    assert "classes out of range" in listening._c.listen_fault(ctypes.byref(listening._settings)).decode()


def test_it_stays_in_its_memory_and_makes_each_frame_once(boards_dir: Path, tmp_path: Path) -> None:
    """listen_jobs.c: any shape and any cut, by a front end and a network that tell what they were given."""
    sources = [Path(__file__).with_name("listen_jobs.c"), *sorted((boards_dir / "src" / "listen").glob("*.c"))]
    flags = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    include = [f"-I{boards_dir / 'include'}", f"-I{boards_dir / 'src'}"]
    subprocess.run(["gcc", *flags, *include, *sources, "-o", tmp_path / "jobs"], check=True)
    done = subprocess.run([tmp_path / "jobs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 10_000  # answers compared


def test_the_engine_here_is_the_engine(library: Path, boards_dir: Path) -> None:
    """By TFLM's kernels, for a network with all that chains are made of."""
    plan = lower(read_tflite(random_model(3)))
    features = np.random.default_rng(0).integers(-128, 128, (20, plan.input_bytes)).astype(np.int8)
    actual = HostEngine(library, plan).run(features)
    oracle = Tflm(random_model(3))
    assert np.array_equal(actual, oracle.run(features.reshape(-1, *oracle.input_shape)))
    assert len(np.unique(actual)) > 10
    with pytest.raises(InputError, match=r"expected int8 \(n, "):
        HostEngine(library, plan).run(features[:, 1:])


def random_model(seed: int) -> bytes:
    return write_tflite(random_graph(ds_cnn(channels=16, blocks=2), seed))


def test_what_is_no_library_and_what_is_no_plan(library: Path, tmp_path: Path) -> None:
    plan = lower(read_tflite(random_model(3)))
    with pytest.raises(InputError, match="not an engine library"):
        HostEngine(tmp_path / "nothing.so", plan)
    with pytest.raises(InputError, match="the engine refuses"):
        HostEngine(library, replace(plan, operators=(replace(plan.operators[0], kernel_list=99), *plan.operators[1:])))
