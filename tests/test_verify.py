"""verify on models that others made: their own types at the ends, their operators' names, boards too small for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_fake import FakeBoard
from step_networks import step_network
from tflite_maker import Maker

from hil_nas import cli
from hil_nas.budget import Budget
from hil_nas.deploy.ends import End
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.device.link import Link
from hil_nas.errors import InputError, RefusedError, UnsupportedError
from hil_nas.network import Layer, Network
from hil_nas.workflows.verify import Bench, Model, verify


def float_model(inputs: int = 30) -> bytes:
    """float32 -> int8 -> leaky ReLU, tanh -> uint8."""
    maker = Maker()
    source, first = maker.tensor((1, inputs), dtype=np.float32), maker.tensor((1, inputs), 0.05, 10)
    middle, curve = maker.tensor((1, inputs), 0.02, -5), maker.tensor((1, inputs), 1 / 128, 0)
    last = maker.tensor((1, inputs), 1 / 128, 128, np.uint8)
    maker.operator("QUANTIZE", [source], first)
    maker.operator("LEAKY_RELU", [first], middle, "LeakyReluOptions", alpha=0.3)
    maker.operator("TANH", [middle], curve)
    maker.operator("QUANTIZE", [curve], last)
    return maker.finish(source, last)


@pytest.fixture
def native(boards_dir: Path, build_dir: Path) -> Any:
    with open_device("native@native", boards_dir=boards_dir, build_dir=build_dir) as device:
        yield device


def test_operators_are_called_as_the_file_calls_them_and_ends_are_the_hosts(native: Device) -> None:
    verification = verify(native, Model.read(float_model()), None, budget=Budget(), count=4)  # type: ignore[arg-type]
    assert verification.ok and verification.clips_compared == 4
    assert [kind for kind, _ in verification.operators] == ["leaky_relu", "tanh"]


@pytest.mark.parametrize("end", ["to_int8", "from_int8"])
def test_a_conversion_that_is_wrong_is_seen(native: Device, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    model, right = Model.read(float_model()), getattr(End, end)

    def wrong(self: End, values: Any) -> Any:
        return right(self, values + (8 * self.scale if self.kind == "float32" else 1))

    monkeypatch.setattr(End, end, wrong)
    assert not verify(native, model, None, budget=Budget(), count=2).bits_equal  # type: ignore[arg-type]


def test_a_board_without_room_says_what_the_model_needs() -> None:
    board = FakeBoard(spoil=lambda command, data: b"e-[too large]\r\nm-ready\r\n" if " plan " in command else data)
    with Device(Link(board), "virtual", "modelled") as device:
        with pytest.raises(RefusedError, match="too large .its plan takes 832 bytes, arena 32, input 30.") as refused:
            Bench(device, Model.read(float_model()), None)  # type: ignore[arg-type]
    assert "board with more memory" in str(refused.value.hint)


def test_the_engine_tflm_takes_int8_alone() -> None:
    with Device(Link(FakeBoard(engine="tflm")), "virtual", "modelled") as device:
        with pytest.raises(UnsupportedError, match="takes or gives float32 and uint8, the engine tflm int8 alone"):
            Bench(device, Model.read(float_model()), None)  # type: ignore[arg-type]


def test_a_model_too_large_for_the_board_is_named(
    tmp_path: Path, boards_dir: Path, build_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "wide.tflite"
    model.write_bytes(float_model(30_000))
    where = ["--boards", str(boards_dir), "--build", str(build_dir)]
    assert cli.main(["verify", str(model), "--board", "native@native", *where]) == 1
    assert f"{model}: the board refused" in (said := capsys.readouterr().err) and "input 30,000" in said


@pytest.mark.parametrize(("first", "named"), [("dsp", ["dsp", "plain"]), ("cmsis-nn", ["cmsis-nn", "plain"])])
def test_kernels_of_our_own_are_left_out_where_that_is_asked(
    first: str, named: list[str], tmp_path: Path, boards_dir: Path, build_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = (Layer("conv", (-1,), 4, (3, 3)), Layer("depthwise", (0,), kernel=(3, 3)), Layer("softmax", (1,)))
    model = tmp_path / "model.tflite"
    model.write_bytes(write_tflite(random_graph(Network((5, 4, 2), layers), 1)))
    where = ["--board", "native@native", "--boards", str(boards_dir), "--build", str(build_dir)]
    assert cli.main(["verify", "--json", str(model), "--clips", "2", "--kernels", first, *where]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["engine"], result["kernels"], result["bits_equal"]) == ("plans", named, True)


def test_the_engine_tflm_has_its_own_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "model.tflite", "--engine", "tflm", "--kernels", "cmsis-nn"]) == 2
    assert "--kernels cmsis-nn is of plans, the engine tflm has its own" in capsys.readouterr().err


STREAM = write_tflite(random_graph(step_network(7), 7))


def test_a_streams_steps_are_compared_from_its_beginning(native: Device) -> None:
    """Whatever ran before: cycles are counted over runs of their own."""
    model = Model.read(STREAM)
    verification = verify(native, model, None, budget=Budget(), count=20)  # type: ignore[arg-type]
    assert verification.ok and verification.compared == "logits of a stream's steps"
    assert verification.clips_compared == 20 and "delay" in [kind for kind, _ in verification.operators]
    again = verify(native, model, None, budget=Budget(), count=20)  # type: ignore[arg-type]
    assert again.ok


@pytest.mark.parametrize("spoilt", ["clear", "run"])
def test_a_stream_that_does_not_begin_or_go_on_as_it_should_is_seen(
    native: Device, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    """The board's delay lines hold what was timed before; or it takes each step twice."""
    run = native.run
    changes = {"clear": lambda: None, "run": lambda what, warmups=1, runs=5: run(what, warmups + 1, runs)}
    monkeypatch.setattr(native, spoilt, changes[spoilt])
    assert not verify(native, Model.read(STREAM), None, budget=Budget(), count=20).bits_equal  # type: ignore[arg-type]


def test_a_streams_step_takes_no_clips(native: Device) -> None:
    clips = np.zeros((2, 16_000), np.int16)
    with pytest.raises(InputError, match="takes one step of a stream, so that clips cannot be run through it"):
        verify(native, Model.read(STREAM), None, budget=Budget(), clips=clips)  # type: ignore[arg-type]


def test_the_engine_tflm_runs_no_streams_step() -> None:
    with Device(Link(FakeBoard(engine="tflm")), "virtual", "modelled") as device:
        with pytest.raises(UnsupportedError, match="keeps state from call to call, which the engine tflm does not run"):
            Bench(device, Model.read(STREAM), None)  # type: ignore[arg-type]
