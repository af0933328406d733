"""The real firmware behind the whole device layer, on every host that needs no hardware."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from board_hosts import KINDS, TARGETS
from every_operator import PLAN_KINDS, every_operator

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.boards import load_board
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device, start
from hil_nas.device.link import Link
from hil_nas.errors import DeviceError, InputError, LinkError, RefusedError
from hil_nas.front_ends import parse_front_end
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from hil_nas.target import BoardTarget

CONFIG = Mfcc(640, 320, 40, 10)
BLOB = CONFIG.blob(0.6, 20)
NETWORK = Network(
    (CONFIG.frames, 10, 1),
    (
        Layer("conv", (-1,), 8, kernel=(5, 3), stride=(2, 1), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), relu=True),
        Layer("conv", (1,), 8, relu=True),
        Layer("add", (0, 2)),
        Layer("concatenation", (3, 1)),
        Layer("max_pool", (4,), kernel=(2, 2), stride=(2, 2)),
        Layer("average_pool", (5,), kernel=(13, 5), stride=(13, 5), padding="valid"),
        Layer("fully_connected", (6,), 12),
    ),
)
PLAN = lower(random_graph(NETWORK, seed=4))
AUDIO = np.random.default_rng(2).normal(0, 3000, 16000).astype(np.int16)


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def device(target: str, boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    with open_device(target, boards_dir=boards_dir, build_dir=build_dir) as device:
        yield device


def test_the_board_says_who_it_is(device: Device, target: str) -> None:
    identity = device.identify()
    board, host = target.split("@")
    assert (identity.board, identity.host) == (board.replace("-", "_"), host)
    assert identity.clock_kind == KINDS[target] and identity.clock_hz > 0
    assert "cmsis-nn" in identity.versions and len(identity.build) == len(identity.kernels) == 16


def test_the_operators_of_peoples_models_give_the_bits_of_tflm(device: Device) -> None:
    model = every_operator(49, 10, classes=12)
    info = device.load_plan(lower(read_tflite(model)).to_bytes())
    inputs = np.random.default_rng(8).integers(-128, 128, (3, 49, 10, 1)).astype(np.int8)
    for values, logits in zip(inputs, Tflm(model).run(inputs), strict=True):
        device.set_input(values)
        counts = device.run("network", warmups=0, runs=1)
        assert np.array_equal(device.read("output"), logits)
    assert tuple(x.kind for x in counts.operators) == PLAN_KINDS and info.op_count == len(PLAN_KINDS)


def test_audio_goes_through_front_end_and_network(device: Device, boards_dir: Path, build_dir: Path) -> None:
    device.load_plan(PLAN.to_bytes())
    info = device.load_front_end(BLOB)
    device.set_audio(AUDIO)
    together = device.run("all", warmups=1, runs=3)
    output, features = device.read("output"), device.read("features")
    host = HostFrontEnd(build_host_library(boards_dir, build_dir))
    assert np.array_equal(features, host.features(BLOB, AUDIO[None]).reshape(-1))
    assert (info.frames, info.columns) == (CONFIG.frames, CONFIG.coefficients)
    assert len(together.front_end_cycles) == len(together.network_cycles) == 3
    device.set_input(features)
    device.run("network", warmups=0, runs=1)
    assert np.array_equal(device.read("output"), output)
    alone = device.run("frontend", warmups=0, runs=2)
    assert alone.network_cycles == () and alone.operators == () and len(alone.front_end_cycles) == 2


@pytest.mark.parametrize("name", ["logmel:400/200/40", "mfcc:200/100/23/13@8000/8000"])
def test_every_kind_and_length_gives_the_hosts_bits(
    device: Device, boards_dir: Path, build_dir: Path, name: str
) -> None:
    front_end = parse_front_end(name)
    blob, audio = front_end.blob(0.1, 10), AUDIO[: front_end.clip.samples]
    device.unload("plan")
    info = device.load_front_end(blob, where="flash")
    device.set_audio(audio)
    device.run("frontend", warmups=0, runs=1)
    host = HostFrontEnd(build_host_library(boards_dir, build_dir))
    features = device.read("features")
    assert np.array_equal(features, host.features(blob, audio[None]).reshape(-1)) and len(set(features)) > 20
    assert (info.kind, info.frames, info.columns) == (front_end.kind, *front_end.shape)
    assert info.scratch_bytes == front_end.scratch_bytes
    assert device.memory().audio_bytes == 2 * front_end.clip.samples


def test_more_audio_than_the_board_keeps_is_refused(device: Device) -> None:
    with pytest.raises(RefusedError, match="more than 16000 samples"):
        device.load_front_end(parse_front_end("mfcc:400/200/40/13@16000/16001").blob(0.5, 0))


def test_all_hosts_give_the_same_bits(device: Device, boards_dir: Path, build_dir: Path) -> None:
    """Portable C on this machine and the Cortex-M4's instructions: add and concatenation too."""
    values = np.random.default_rng(3).integers(-128, 128, PLAN.input_bytes).astype(np.int8)
    results = []
    with open_device("native@native", boards_dir=boards_dir, build_dir=build_dir) as native:
        for one in (device, native):
            one.load_plan(PLAN.to_bytes(), where="ram")
            one.set_input(values)
            one.run("network", warmups=0, runs=1)
            results.append(one.read("output"))
    assert np.array_equal(*results) and len(set(results[0])) > 3


def test_counts_of_a_board_repeat(device: Device, target: str) -> None:
    if KINDS[target] == "host":
        pytest.skip("this machine's clock is no counter")
    device.load_plan(PLAN.to_bytes())
    device.set_input(np.zeros(PLAN.input_bytes, np.int8))
    counts = device.run("network", warmups=1, runs=5)
    assert max(counts.network_cycles) - min(counts.network_cycles) <= 2
    total = sum(x.cycles for x in counts.operators)
    assert total == pytest.approx(counts.network_median_cycles, rel=0.05)


@pytest.mark.renode
@pytest.mark.parametrize("target", ["nucleo-l4r5@renode", "nucleo-h743zi@renode"])
def test_renode_counts_runs_longer_than_silicon_could(target: str, boards_dir: Path, build_dir: Path) -> None:
    """Its counter counts 10 million instructions in a second of its time, and wraps that much later."""
    layers = tuple(Layer("conv", (i - 1,), 32, kernel=(3, 3)) for i in range(10))
    plan = lower(random_graph(Network((64, 64, 4), layers), seed=1))
    with open_device(target, boards_dir=boards_dir, build_dir=build_dir) as device:
        device.load_plan(plan.to_bytes(), where="ram")
        device.set_input(np.zeros(plan.input_bytes, np.int8))
        counts = device.run("network", warmups=0, runs=1)
    silicon_s = 2**32 / load_board(BoardTarget.parse(target).board, boards_dir).cpu_hz
    assert counts.network_cycles[0] > 10_000_000 * silicon_s
    assert sum(x.cycles for x in counts.operators) == pytest.approx(counts.network_cycles[0], rel=0.001)


def test_memory_grows_by_what_is_loaded(device: Device) -> None:
    device.reset()
    before = device.memory()
    assert before.arena_bytes == before.plan_bytes == before.audio_bytes == 0
    device.load_plan(PLAN.to_bytes(), where="flash")
    flash, ram = device.memory().flash_bytes, device.memory().ram_bytes
    assert flash - before.flash_bytes == len(PLAN.to_bytes())
    device.load_plan(PLAN.to_bytes(), where="ram")
    assert device.memory().ram_bytes - ram == len(PLAN.to_bytes())


def test_what_is_missing_or_damaged_is_refused_and_the_next_works(device: Device) -> None:
    device.reset()
    with pytest.raises(RefusedError, match="no model loaded"):
        device.run("network")
    good = PLAN.to_bytes()
    with pytest.raises(RefusedError):
        device.load_plan(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(RefusedError):
        device.load_plan(replace(PLAN, arena_bytes=1 << 30).to_bytes(), where="ram")
    with pytest.raises(RefusedError, match="no model loaded"):
        device.run("network")
    device.load_plan(good)
    with pytest.raises(RefusedError, match="no input"):
        device.run("network")
    with pytest.raises(RefusedError):
        device.set_input(np.zeros(40_000, np.int8))
    assert device.memory().plan_bytes == len(good)


@pytest.fixture
def link(target: str, boards_dir: Path, build_dir: Path) -> Iterator[Link]:
    started = start(target, boards_dir=boards_dir, build_dir=build_dir)
    with started.link() as link:
        yield link
    started.running.release()


def test_mlperf_speaks_too(link: Link) -> None:
    name = link.exchange("name")
    assert len(name) == 1 and name[0].startswith("m-name-dut-[") and name[0].endswith("]")
    assert link.exchange("profile")[1] == "m-model-[kws01]"
    assert link.exchange("no such thing") == ["e-[Unknown command: no such thing]"]


def test_ctrl_c_in_an_upload_leaves_the_board_usable(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board waits for bytes that never come, gives up after two seconds, and the link waits for that."""
    link.command("hil id")
    sent, write = [], link._write

    def interrupt(data: bytes) -> None:
        sent.append(data)
        if len(sent) == 3:
            raise KeyboardInterrupt
        write(data)

    monkeypatch.setattr(link, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        link.upload("hil load input ram", b"x" * 4000)
    monkeypatch.undo()
    assert link.upload("hil load input ram", b"y" * 490) == ["loaded-490"]


@pytest.mark.parametrize("garbage", [b"\xff" * 300, b"hil run all 1", b"%%%%", b"hil load plan ram 5000 00000000%"])
def test_garbage_on_the_line_leaves_the_board_usable(link: Link, garbage: bytes) -> None:
    link.command("hil id")
    link._port.write(garbage)
    link.resynchronise()
    assert link.command("hil id")


class FaultyPort:
    """One byte in one direction goes wrong, then the line is good again."""

    def __init__(self, port: serial.SerialBase, random: np.random.Generator) -> None:
        self._port, self._random, self._left = port, random, -1
        self._sending = False

    def spoil(self) -> None:
        self._sending = bool(self._random.integers(4) == 0)
        self._left = int(self._random.integers(18 if self._sending else 500))

    @property
    def timeout(self) -> float | None:
        return self._port.timeout  # type: ignore[no-any-return]

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._port.timeout = value

    def read(self, size: int = 1, /) -> bytes:
        data = bytes(self._port.read(size))
        return data if self._sending else self._change(data)

    def write(self, data: bytes, /) -> None:
        self._port.write(self._change(data) if self._sending else data)

    def close(self) -> None:
        self._port.close()

    def _change(self, data: bytes) -> bytes:
        at, self._left = self._left, max(-1, self._left - len(data))
        if not 0 <= at < len(data):
            return data
        self._left = -1
        bad = [b"", 2 * data[at : at + 1], bytes([data[at] ^ 1 << int(self._random.integers(8))])]
        return data[:at] + bad[self._random.integers(3)] + data[at + 1 :]


def test_a_line_that_loses_doubles_and_flips_bytes_never_gives_another_answer(
    boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hil_nas.device.link._ATTEMPT_S", 0.3)  # nothing is uploaded here
    running = start("native@native", boards_dir=boards_dir, build_dir=build_dir).running
    port = FaultyPort(running.port, np.random.default_rng(11))
    errors = 0
    with Link(port) as link:
        expected = link.command("hil memory")
        for _ in range(20):
            port.spoil()
            try:
                assert link.command("hil memory", silence_s=0.2) == expected
            except DeviceError:
                errors += 1
        assert link.command("hil memory") == expected
    running.release()
    assert errors > 7


def test_closing_ends_what_was_started(target: str, boards_dir: Path, build_dir: Path) -> None:
    with open_device(target, boards_dir=boards_dir, build_dir=build_dir) as device:
        device.identify()
    with pytest.raises(LinkError, match="closed"):
        device.identify()
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    names = [Path(f"/proc/{x}/comm").read_text().strip() for x in children]
    assert len([x for x in names if x.startswith(("qemu", "native"))]) <= 1  # the module's own device


def test_a_board_does_not_run_on_every_host(boards_dir: Path, build_dir: Path) -> None:
    with pytest.raises(InputError, match="does not run on 'qemu'.*nucleo-l4r5@virtual"):
        open_device("nucleo-l4r5@qemu", boards_dir=boards_dir, build_dir=build_dir)
    with pytest.raises(InputError, match="not flashed"):
        open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir, flash=True)


@pytest.mark.hardware
def test_silicon_runs_the_same_image(boards_dir: Path, build_dir: Path) -> None:
    with open_device("nucleo-l4r5", boards_dir=boards_dir, build_dir=build_dir, flash=True) as device:
        assert device.identify().clock_kind == "silicon"
        device.load_plan(PLAN.to_bytes())
        device.set_input(np.zeros(PLAN.input_bytes, np.int8))
        assert len(device.run("network").network_cycles) == 5
