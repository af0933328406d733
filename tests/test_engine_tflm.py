"""The engine `tflm`: which library is taken, what is uploaded, and the real one where TFLM_ROOT names it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_fake import FakeBoard
from every_operator import every_operator

from hil_nas import cli
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import attach_front_end, read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.device.link import Link
from hil_nas.device.protocol import RestartedError
from hil_nas.device.tflm import LIBRARY, find_tflm
from hil_nas.errors import InputError, MissingToolError, RefusedError
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from hil_nas.operators.int8 import QuantOperator
from hil_nas.workflows.measure import folder_name, measure_network
from hil_nas.workflows.verify import Bench, Model

needs_tflm = pytest.mark.skipif(
    not os.environ.get("TFLM_ROOT"),
    reason="needs TensorFlow Lite Micro: TFLM_ROOT names its sources, built as boards/README.md says",
)
SMALL = Network((25, 10, 1), (Layer("conv", (-1,), 4, kernel=(3, 3), relu=True), Layer("fully_connected", (0,), 5)))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What looks like TFLM's sources, named in TFLM_ROOT."""
    header = tmp_path / "tensorflow" / "lite" / "micro" / "micro_interpreter.h"
    header.parent.mkdir(parents=True)
    header.write_text("// here\n")
    monkeypatch.setenv("TFLM_ROOT", str(tmp_path))
    monkeypatch.delenv("TFLM_LIBRARY", raising=False)
    return tmp_path


def library(tree: Path, build: str) -> Path:
    path = tree / "gen" / build / "lib" / LIBRARY
    path.parent.mkdir(parents=True)
    path.write_bytes(build.encode())
    return path


def test_the_library_is_taken_from_where_tflms_build_puts_it(tree: Path) -> None:
    library(tree, "cortex_m_generic_cortex-m4_default_cmsis_nn_gcc")  # another float ABI
    plain = library(tree, "cortex_m_generic_cortex-m4+fp_default_gcc")
    assert find_tflm("cortex-m4").library == plain
    fast = library(tree, "cortex_m_generic_cortex-m4+fp_default_cmsis_nn_gcc")
    assert find_tflm("cortex-m4").library == fast
    before = find_tflm("cortex-m4").digest()
    fast.write_bytes(b"another")
    assert find_tflm("cortex-m4").digest() != before
    with pytest.raises(MissingToolError, match=r"no .* for cortex-m7.*TARGET_ARCH=cortex-m7\+fp"):
        find_tflm("cortex-m7")


def test_a_named_library_goes_before_any_other(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tree, "cortex_m_generic_cortex-m4+fp_default_cmsis_nn_gcc")
    own = tree / "own.a"
    monkeypatch.setenv("TFLM_LIBRARY", str(own))
    with pytest.raises(MissingToolError, match=f"no {LIBRARY} for cortex-m4 in .*own.a"):
        find_tflm("cortex-m4")
    own.write_bytes(b"a library")
    assert find_tflm("cortex-m4").library == own


def test_without_tflm_it_is_said_how_to_get_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch, boards_dir: Path, build_dir: Path
) -> None:
    monkeypatch.setenv("TFLM_ROOT", str(tree / "nothing"))
    with pytest.raises(MissingToolError, match="no sources of TensorFlow Lite Micro in .*nothing.*clone"):
        find_tflm("cortex-m4")
    monkeypatch.delenv("TFLM_ROOT")
    with pytest.raises(MissingToolError, match="the engine tflm needs TFLM_ROOT"):
        open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir, engine="tflm")


def test_the_native_board_has_no_such_engine(boards_dir: Path, build_dir: Path) -> None:
    with pytest.raises(InputError, match="board 'native' has no engine tflm"):
        build_firmware("native", boards_dir, build_dir, find_third_party(), (), "tflm")


@pytest.mark.parametrize(("engine", "expected"), [("plans", b"plan"), ("tflm", b"tflite")])
def test_the_boards_engine_decides_what_is_uploaded(engine: str, expected: bytes) -> None:
    fake = FakeBoard(engine=engine)
    with Device(Link(fake), "serial", "silicon") as device:
        device.load_model({"plans": b"plan", "tflm": b"tflite"})
        assert fake.slots["plan"] == expected


def test_an_engine_without_a_form_is_said() -> None:
    fake = FakeBoard(engine="tflm")
    with (
        Device(Link(fake), "serial", "silicon") as device,
        pytest.raises(InputError, match="engine is 'tflm', there is no form.*known engines: plans"),
    ):
        device.load_model({"plans": b"plan"})
    assert "plan" not in fake.slots


def test_a_profile_uploads_the_same_network_to_either_engine() -> None:
    names, rows, uploaded = [], [], []
    for engine in ("plans", "tflm"):
        fake = FakeBoard(engine=engine)
        with Device(Link(fake), "virtual", "modelled") as device:
            identity = device.identify()
            rows.append(measure_network(device, identity, SMALL))
            names.append(folder_name(identity))
        uploaded.append(fake.slots["plan"])
    assert uploaded[0] == lower(read_tflite(uploaded[1])).to_bytes()
    assert names == ["nucleo-l4r5@virtual", "nucleo-l4r5@virtual-tflm"] and rows[0] == rows[1]


def test_verify_uploads_a_tflite_as_it_is(boards_dir: Path, build_dir: Path) -> None:
    model = write_tflite(random_graph(SMALL, 0))
    fake = FakeBoard(engine="tflm")
    with Device(Link(fake), "virtual", "modelled") as device:
        Bench(device, Model.read(model), HostFrontEnd(build_host_library(boards_dir, build_dir)))
    assert fake.slots["plan"] == model


@pytest.mark.parametrize("command", ["verify", "serve", "profile"])
def test_a_command_that_chooses_it_says_what_it_needs(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    boards_dir: Path,
    build_dir: Path,
) -> None:
    monkeypatch.delenv("TFLM_ROOT", raising=False)
    model = tmp_path / "model.tflite"
    model.write_bytes(write_tflite(random_graph(SMALL, 0)))
    where = ["--boards", str(boards_dir), "--build", str(build_dir), "--models", str(tmp_path)]
    options = [] if command == "profile" else [str(model)]
    board = ["--board", "nucleo-l4r5@virtual", "--engine", "tflm"]
    assert cli.main([command, *options, *board, *where]) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert "the engine tflm needs TFLM_ROOT" in text and "clone https://github.com/tensorflow/tflite-micro" in text


@pytest.fixture(scope="module")
def device(boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir, engine="tflm") as device:
        yield device


@needs_tflm
@pytest.mark.parametrize("where", ["flash", "ram"])
def test_the_mlperf_model_gives_the_bits_of_tflm(device: Device, reference_model: bytes, where: str) -> None:
    identity = device.identify()
    assert identity.engine == "tflm" and identity.versions.startswith("tflm of library ")
    info = device.load_model({"tflm": reference_model}, where=where)  # type: ignore[arg-type]
    assert (info.op_count, info.input_bytes, info.output_bytes) == (13, 490, 12)
    assert 17_000 < info.arena_bytes < 30_000  # 22,820 with the sources of August 2026
    inputs = np.random.default_rng(7).integers(60, 110, (3, 490)).astype(np.int8)
    expected = Tflm(reference_model).run(inputs.reshape(-1, 49, 10, 1)).reshape(3, -1)
    for values, logits in zip(inputs, expected, strict=True):
        device.set_input(values)
        counts = device.run("network", warmups=0, runs=2)
        assert np.array_equal(device.read("output"), logits)
    assert [x.kind for x in counts.operators[-4:]] == ["average_pool", "reshape", "fully_connected", "softmax"]
    assert max(counts.network_cycles) - min(counts.network_cycles) <= 20
    assert device.memory().arena_bytes == info.arena_bytes


@needs_tflm
def test_audio_goes_through_front_end_and_network(
    device: Device, reference_model: bytes, boards_dir: Path, build_dir: Path
) -> None:
    blob = Mfcc(640, 320, 40, 10).blob(0.6, 20)
    audio = np.random.default_rng(2).normal(0, 3000, 16000).astype(np.int16)
    device.load_model({"tflm": reference_model})
    device.load_front_end(blob)
    device.set_audio(audio)
    device.run("all", warmups=0, runs=1)
    features = HostFrontEnd(build_host_library(boards_dir, build_dir)).features(blob, audio[None])
    assert np.array_equal(device.read("features"), features.reshape(-1))
    expected = Tflm(reference_model).run(features.reshape(1, 49, 10, 1))
    assert np.array_equal(device.read("output"), expected.reshape(-1))


@needs_tflm
def test_every_kind_of_operator_runs(device: Device) -> None:
    convert = pytest.importorskip("hil_nas.deploy.convert", reason="needs tensorflow to make a .tflite")
    random = np.random.default_rng(9)
    layers = (
        Layer("conv", (-1,), 8, kernel=(5, 3), stride=(2, 1), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), relu=True),
        Layer("conv", (1,), 8, relu=True),
        Layer("add", (0, 2)),
        Layer("concatenation", (3, 1)),
        Layer("max_pool", (4,), kernel=(2, 2), stride=(2, 2)),
        Layer("average_pool", (5,), kernel=(13, 5), stride=(13, 5), padding="valid"),
        Layer("fully_connected", (6,), 12),
    )
    shapes = [(5, 3, 1, 8), (3, 3, 8, 1), (1, 1, 8, 8), None, None, None, None, (16, 12)]
    outputs = [8, 8, 8, 0, 0, 0, 0, 12]
    weights = [
        None if shape is None else (random.normal(0, 0.4, shape), random.normal(0, 0.2, count))
        for shape, count in zip(shapes, outputs, strict=True)
    ]
    representative = random.normal(0, 1, (50, 49, 10, 1)).astype(np.float32)
    model = convert.to_tflite(Network((49, 10, 1), layers), weights, representative)
    info = device.load_model({"tflm": model})
    values = random.integers(-128, 128, (1, 49, 10, 1)).astype(np.int8)
    device.set_input(values)
    counts = device.run("network", warmups=0, runs=1)
    assert np.array_equal(device.read("output"), Tflm(model).run(values).reshape(-1))
    kinds = [x.kind for x in counts.operators]
    assert len(kinds) == info.op_count and kinds[3:6] == ["add", "concatenation", "max_pool"]


@needs_tflm
def test_every_operator_of_peoples_models_runs(device: Device) -> None:
    model = every_operator(49, 10, classes=12)
    device.load_model({"tflm": model})
    values = np.random.default_rng(6).integers(-128, 128, (1, 49, 10, 1), dtype=np.int8)
    device.set_input(values)
    kinds = {x.label: x.kind for x in read_tflite(model).operators}  # a split is one operator there
    assert [x.kind for x in device.run("network", 0, 1).operators] == list(kinds.values())
    assert np.array_equal(device.read("output"), Tflm(model).run(values).reshape(-1))


@needs_tflm
def test_a_requantisation_runs(device: Device) -> None:
    """The converter puts one before a concatenation of several scales; random graphs have none."""
    graph = random_graph(Network((9, 10, 1), (Layer("conv", (-1,), 4, kernel=(3, 3)),)), 0)
    finer = replace(graph.tensors[1], scale=graph.tensors[1].scale * 0.75, zero_point=-9)
    operators = (*graph.operators, QuantOperator("requantize", (1,), 2))
    model = write_tflite(QuantGraph((*graph.tensors, finer), operators, 0, 2))
    device.load_model({"tflm": model})
    values = np.random.default_rng(5).integers(-128, 128, (1, 9, 10, 1), dtype=np.int8)
    device.set_input(values)
    assert [x.kind for x in device.run("network", 0, 1).operators] == ["conv", "requantize"]
    assert np.array_equal(device.read("output"), Tflm(model).run(values).reshape(-1))


@needs_tflm
def test_a_check_of_tflms_that_fails_is_a_restart_and_no_silence(boards_dir: Path, build_dir: Path) -> None:
    """TFLM takes four axes out of a dense layer for a batched product, and gives up on one scale for all channels."""
    graph = random_graph(SMALL, 0)
    four_axes = replace(graph.tensors[2], shape=(1, 1, 1, 5))
    unlucky = write_tflite(replace(graph, tensors=(*graph.tensors[:2], four_axes)))
    with open_device("mps2-an386@qemu", boards_dir=boards_dir, build_dir=build_dir, engine="tflm") as device:
        device.load_model({"tflm": unlucky})
        device.set_input(np.zeros(250, np.int8))
        with pytest.raises(RefusedError, match="fault 0001"):  # an undefined instruction
            device.run("network", 0, 1)
        with pytest.raises(RestartedError, match="restarted"):
            device.memory()
        assert device.load_model({"tflm": write_tflite(graph)}).op_count == 2


@needs_tflm
def test_a_command_runs_a_tflite_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], boards_dir: Path, build_dir: Path
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(attach_front_end(write_tflite(random_graph(SMALL, 0)), Mfcc(640, 640, 20, 10)))
    where = ["--boards", str(boards_dir), "--build", str(build_dir), "--json"]
    board = ["--board", "nucleo-l4r5@virtual", "--engine", "tflm", "--clips", "3"]
    assert cli.main(["verify", str(model), *board, *where]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["engine"] == "tflm" and result["bits_equal"] and result["compared"] == "features and logits"


@needs_tflm
def test_what_is_no_model_is_refused_and_the_next_works(device: Device, reference_model: bytes) -> None:
    damaged = [reference_model[:-5000], b"TFL3" * 100, b"\0" * 64, reference_model[:8] + b"\xff" * 64]
    for data in damaged:
        with pytest.raises(RefusedError, match="not a .tflite"):
            device.load_model({"tflm": data}, where="ram")
    other = reference_model.replace(b"TFL3", b"TFL2", 1)
    with pytest.raises(RefusedError, match="not a .tflite"):
        device.load_model({"tflm": other}, where="ram")
    assert device.load_model({"tflm": reference_model}, where="ram").op_count == 13
