"""A stream's answers are those that clips get, by the oracle that this project did not write; however it is cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import ds_cnn

from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.host_engine import HostEngine, build_engine_library
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.firmware import find_third_party
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.listening.answers import SlidingWindows

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


def clips_of(samples: np.ndarray, stream: SlidingWindows, config: FrontEnd, count: int) -> np.ndarray:
    """The clips (count, clip) whose frames end where the first answers' windows do."""
    used = config.window_samples + (config.frames - 1) * config.hop_samples
    starts = [stream.first_samples + i * stream.period_samples - used for i in range(count)]
    padded = np.concatenate([samples, np.zeros(config.clip.samples, np.int16)])
    return np.stack([padded[x : x + config.clip.samples] for x in starts])


@pytest.mark.parametrize("hops", [1, 2, 5, 7, 49])
def test_the_answer_of_a_window_is_that_of_its_clip(
    hops: int, kws_model: bytes, host: HostFrontEnd, library: Path
) -> None:
    model = attach_front_end(kws_model, FRONT_END)
    stream = SlidingWindows(model, hops * FRONT_END.hop_samples, host, library)
    samples = audio(1 + hops * FRONT_END.hop_samples / 16_000 * 12)
    actual = stream.next(samples)[:12]
    oracle = Tflm(model)
    blob = FRONT_END.blob(oracle.input_scale, oracle.input_zero_point)
    clips = clips_of(samples, stream, FRONT_END, len(actual))
    assert len(actual) >= 11 and len(np.unique(actual)) > 10
    assert np.array_equal(actual, oracle.run(host.features(blob, clips)[..., None]))


def test_pieces_of_any_size_give_the_same_answers(kws_model: bytes, host: HostFrontEnd, library: Path) -> None:
    stream = SlidingWindows(attach_front_end(kws_model, FRONT_END), 1600, host, library)
    samples = audio(4)
    whole = stream.next(samples)
    assert len(whole) == 1 + (len(samples) - stream.first_samples) // 1600
    for cuts in ([1, 2, 500, 16_159, 16_160, 40_000], list(range(100, len(samples), 777))):
        stream.restart()
        assert np.array_equal(np.concatenate([stream.next(x) for x in np.split(samples, cuts)]), whole)


def test_the_first_answer_comes_with_the_sample_that_completes_it(
    kws_model: bytes, host: HostFrontEnd, library: Path
) -> None:
    stream = SlidingWindows(attach_front_end(kws_model, FRONT_END), 1600, host, library)
    assert len(stream.next(audio(2)[: stream.first_samples - 1])) == 0
    assert len(stream.next(np.zeros(1, np.int16))) == 1
    assert len(stream.next(np.zeros(1599, np.int16))) == 0
    assert len(stream.next(np.zeros(1, np.int16))) == 1


@pytest.mark.parametrize("period", [319, 330, 50 * 320, 0])
def test_periods_that_a_front_end_does_not_have(
    period: int, kws_model: bytes, host: HostFrontEnd, library: Path
) -> None:
    with pytest.raises(InputError, match="1 to 49 hops"):
        SlidingWindows(attach_front_end(kws_model, FRONT_END), period, host, library)


def test_a_model_without_a_front_end(kws_model: bytes, host: HostFrontEnd, library: Path) -> None:
    with pytest.raises(InputError, match="no front end"):
        SlidingWindows(kws_model, 1600, host, library)


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
