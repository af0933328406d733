"""The folder that a person takes home: it builds with one command and gives the bits of engine and TFLM."""

from __future__ import annotations

import os
import shutil
import subprocess
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import build_engine, ds_cnn
from every_operator import every_operator

from hil_nas.deploy.c_export import export_c
from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.deploy.listening import Listening
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.firmware import ThirdParty, find_third_party
from hil_nas.errors import InputError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import INPUT, Layer, Network

CONFIG = Mfcc(640, 320, 40, 10)
LABELS = ["down", "go", 'le"ft\\n', "no", "äöü", "on", "right", "stop??/", "up", "yes", "silence", "unknown"]


@pytest.fixture(scope="module")
def third_party(build_dir: Path) -> ThirdParty:
    return find_third_party()


@pytest.fixture(scope="module")
def host(boards_dir: Path, build_dir: Path) -> HostFrontEnd:
    return HostFrontEnd(build_host_library(boards_dir, build_dir))


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A network whose outputs are no probabilities, so that every bit of them depends on the input."""
    return lower(random_graph(ds_cnn(channels=24, blocks=2), 5))


def listening(plan: Plan, front_end: FrontEnd = CONFIG, step: int = 5) -> Listening:
    decisions = Decisions(tuple(LABELS), (ONE // 4,) * len(LABELS), step * front_end.hop_samples, 3, refractory=2)
    return Listening(plan, front_end, decisions, step, warm_up=0, stream=False)


def export(folder: Path, plan: Plan, boards_dir: Path, third_party: ThirdParty) -> None:
    export_c(folder, listening(plan), boards_dir, third_party)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, boards_dir: Path, third_party: ThirdParty
) -> Path:
    """An export, built for this machine after it was moved away from where it was made."""
    made, home = tmp_path_factory.mktemp("made") / "a" / "export", tmp_path_factory.mktemp("home") / "it is mine"
    export(made, plan, boards_dir, third_party)
    shutil.move(made, home)
    make(home)
    return home


def make(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    command = ["make", "-j2", "CFLAGS=-Wall -Wextra -Werror -Wno-unused-parameter", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode()


def noise() -> np.ndarray:
    """What main.c classifies without a file, int16 (16000,)."""
    state, samples = 1, np.empty(16_000, np.int16)
    for i in range(len(samples)):
        state = (state * 1664525 + 1013904223) % 2**32
        samples[i] = (state >> 18) - 8192
    return samples


def scores(output: str) -> list[int]:
    lines = [x for x in output.splitlines() if x[:4].strip().lstrip("-").isdigit()]
    assert len(lines) == len(LABELS)
    values = [int(x[:4]) for x in lines]
    assert lines[int(np.argmax(values))].endswith("<-")
    return values


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 16_000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["build/native/example", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)


@pytest.fixture(scope="module")
def expected(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, host: HostFrontEnd, boards_dir: Path, build_dir: Path
) -> dict[str, list[int]]:
    """The engine's answers to features of the host's front end: to the noise and to a clip of tones."""
    engine = build_engine(tmp_path_factory.mktemp("engine"), boards_dir, build_dir)
    features = host.features(
        CONFIG.blob(plan.input_scale, plan.input_zero_point), np.stack([noise(), tones()])
    )
    answers = engine.run(plan.to_bytes(), features, plan.arena_bytes)
    assert len(np.unique(answers)) > 6
    return {"noise": answers[0].tolist(), "tones": answers[1].tolist()}


def tones() -> np.ndarray:
    time = np.arange(16_000) / 16_000
    return (8000 * np.sin(2 * np.pi * (300 + 2000 * time) * time)).astype(np.int16)


def test_the_example_gives_the_engines_bits(folder: Path, expected: dict[str, list[int]], tmp_path: Path) -> None:
    assert scores(run(folder).stdout) == expected["noise"]
    write_wav(tmp_path / "clip.wav", tones())
    (tmp_path / "clip.raw").write_bytes(tones().tobytes())
    for name in ("clip.wav", "clip.raw"):
        assert scores(run(folder, str(tmp_path / name)).stdout) == expected["tones"]


def test_the_example_names_labels_as_they_are_and_refuses_other_audio(folder: Path, tmp_path: Path) -> None:
    output = run(folder).stdout
    for label in LABELS:
        assert f"  {label}" in output
    write_wav(tmp_path / "slow.wav", tones(), 8_000)
    (tmp_path / "clip.flac").write_bytes(b"fLaC" + tones().tobytes())
    (tmp_path / "text.wav").write_bytes(b"no audio")
    for name, words in (
        ("slow.wav", "not of the front end's sample rate"), ("none.wav", "cannot be opened"),
        ("clip.flac", "is no WAV file"), ("text.wav", "is no WAV file"),
    ):  # fmt: skip
        done = run(folder, str(tmp_path / name))
        assert done.returncode == 1
        assert words in done.stdout


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs gcc-arm-none-eabi")
@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm")
def test_a_cortex_m_gives_the_same_bits(folder: Path, expected: dict[str, list[int]]) -> None:
    assert scores(make(folder, "CROSS=arm-none-eabi-", "run")) == expected["noise"]


@pytest.mark.parametrize("which", ["shape", "peoples"])
def test_a_model_gives_tflms_bits(
    which: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    host: HostFrontEnd,
    boards_dir: Path,
    third_party: ThirdParty,
    folder: Path,
) -> None:
    """One of MLPerf's shape and one of every other operator: only the model and its kernels differ between two exports,
    and the first one's objects serve the second.
    """
    own = every_operator(CONFIG.frames, CONFIG.coefficients, len(LABELS))
    model = own if which == "peoples" else request.getfixturevalue("kws_model")
    plan, oracle = lower(read_tflite(model)), Tflm(model)
    export(tmp_path / "export", plan, boards_dir, third_party)
    home = tmp_path / "built"
    shutil.copytree(folder, home)
    for path in (tmp_path / "export" / x for x in ("src", "third_party")):
        if path.is_dir():
            shutil.copytree(path, home / path.name, dirs_exist_ok=True)
    make(home)
    blob = CONFIG.blob(plan.input_scale, plan.input_zero_point)
    features = host.features(blob, noise()[np.newaxis])
    assert scores(run(home).stdout) == oracle.run(features[..., np.newaxis])[0].tolist()


def test_only_the_kernels_that_the_plan_names_are_linked(folder: Path) -> None:
    symbols = subprocess.run(
        ["nm", str(folder / "build" / "native" / "example")], capture_output=True, text=True, check=True
    ).stdout
    linked = {x.split()[-1] for x in symbols.splitlines()}
    assert {"dsp_conv", "dsp_average_pool", "dsp_fully_connected"} <= linked
    assert not {"cmsis_nn_conv", "arm_convolve_wrapper_s8", "cmsis_nn_kernels", "dsp_kernels"} & linked
    assert [x.name for x in (folder / "src" / "kernels").iterdir()] == ["dsp"]


def test_cmsis_nn_comes_along_where_a_layer_needs_it(
    folder: Path, tmp_path: Path, kws_model: bytes, boards_dir: Path, third_party: ThirdParty
) -> None:
    """MLPerf's network does not: what was built above, for this machine and a Cortex-M4, had no file of it."""
    with_max_pool = every_operator(CONFIG.frames, CONFIG.coefficients, len(LABELS))
    for name, model in (("mlperf", kws_model), ("peoples", with_max_pool)):
        export(tmp_path / name, lower(read_tflite(model)), boards_dir, third_party)
    for home in (folder, tmp_path / "mlperf"):
        assert not (home / "third_party").exists()
        assert not [x for x in home.rglob("*.[ch]") if "arm_nn" in x.read_text(errors="replace")]
    brought = tmp_path / "peoples" / "third_party"
    assert sorted(x.name for x in brought.iterdir()) == ["cmsis_core", "cmsis_nn"]
    for name in ("cmsis_core", "cmsis_nn"):
        assert "Apache License" in (brought / name / "LICENSE.txt").read_text()


def test_another_kind_rate_and_length_is_exported_and_linked_alone(
    tmp_path: Path, host: HostFrontEnd, boards_dir: Path, build_dir: Path, third_party: ThirdParty
) -> None:
    front_end = parse_front_end("logmel:200/160/24@8000/8000")
    layers = (Layer("conv", (INPUT,), 8, (3, 3), (2, 2), relu=True), Layer("fully_connected", (0,), len(LABELS)))
    plan = lower(random_graph(Network((*front_end.shape, 1), layers), 1))
    export_c(tmp_path / "export", listening(plan, front_end), boards_dir, third_party)
    make(tmp_path / "export")
    engine = build_engine(tmp_path, boards_dir, build_dir)
    audio = tones()[:8000]
    features = host.features(front_end.blob(plan.input_scale, plan.input_zero_point), np.stack([noise()[:8000], audio]))
    answers = engine.run(plan.to_bytes(), features, plan.arena_bytes)
    assert len(np.unique(answers)) > 6
    write_wav(tmp_path / "clip.wav", audio, 8_000)
    assert scores(run(tmp_path / "export").stdout) == answers[0].tolist()
    assert scores(run(tmp_path / "export", str(tmp_path / "clip.wav")).stdout) == answers[1].tolist()
    write_wav(tmp_path / "fast.wav", audio, 16_000)
    assert run(tmp_path / "export", str(tmp_path / "fast.wav")).returncode == 1
    names = subprocess.run(["nm", "build/native/example"], cwd=tmp_path / "export", capture_output=True, text=True)
    assert "front_end_log_mel" in names.stdout and "front_end_mfcc" not in names.stdout


def test_the_folder_holds_its_licences_and_nothing_of_this_machine(folder: Path, boards_dir: Path) -> None:
    assert (folder / "LICENSE").read_text() == (boards_dir.parent / "LICENSE").read_text()
    for path in folder.rglob("*.[ch]"):
        assert str(boards_dir.parent) not in path.read_text(errors="replace")


def test_a_folder_that_is_taken_and_cmsis_without_its_licence_are_refused_and_leave_nothing(
    tmp_path: Path, plan: Plan, boards_dir: Path, third_party: ThirdParty
) -> None:
    home = tmp_path / "export"
    home.mkdir()
    (home / "mine.txt").write_text("")
    with pytest.raises(InputError, match="not empty"):
        export(home, plan, boards_dir, third_party)
    bare = replace(third_party, cmsis_nn=tmp_path / "bare")
    shutil.copytree(third_party.cmsis_nn, bare.cmsis_nn, ignore=shutil.ignore_patterns("LICENSE*", "*PROVENANCE*"))
    with_max_pool = lower(read_tflite(every_operator(CONFIG.frames, CONFIG.coefficients, len(LABELS))))
    with pytest.raises(InputError, match="no LICENSE"):
        export(tmp_path / "new", with_max_pool, boards_dir, bare)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["bare", "export"]
