"""The board's byte stream on a TCP port and on a pty, as MLPerf Tiny's runner would open it."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import serial
from device_fake import FakeBoard
from mlperf_runner import Runner
from test_mlperf_contract import CLIPS, GRAPH, KWS, SERVE

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.hosts import check, start
from hil_nas.device.hosts.running import Running
from hil_nas.device.link import Link
from hil_nas.device.serve import _forget_unread, _open_pty, _tidy, serve_pty, serve_tcp
from hil_nas.errors import LinkError
from hil_nas.network import Layer, Network

Serve = Callable[[Running, Callable[[str], None]], None]


def over_tcp(running: Running, ready: Callable[[str], None]) -> None:
    serve_tcp(running, 0, ready, lambda changed: None)


def over_pty(running: Running, ready: Callable[[str], None]) -> None:
    serve_pty(running, ready, lambda changed: None)


@pytest.fixture(params=[over_tcp, over_pty], ids=["tcp", "pty"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[FakeBoard, str]]:
    board, address = FakeBoard(), queue.Queue[str]()

    def work() -> None:
        with pytest.raises(LinkError):
            request.param(Running(board), address.put)

    thread = threading.Thread(target=work)
    thread.start()
    yield board, address.get(timeout=5)
    board.gone = True
    thread.join(5)
    assert not thread.is_alive()


def test_a_device_works_through_the_bridge(served: tuple[FakeBoard, str]) -> None:
    board, address = served
    data = bytes(range(256)) * 10
    for _ in range(2):  # one client after another
        with Link(serial.serial_for_url(address)) as link:
            assert link.upload("hil load input ram", data) == ["loaded-2560"]
            assert len(link.command("hil read input")) == 40
    assert board.slots["input"] == data


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LinkError, match="cannot be used"):
            serve_tcp(Running(FakeBoard()), taken.getsockname()[1], lambda _: None, lambda _: None)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, boards_dir: Path, build_dir: Path) -> Iterator[str]:
    """The real firmware behind the command, as a person starts it."""
    model = tmp_path_factory.mktemp("served") / "model.tflite"
    model.write_bytes(write_tflite(GRAPH))
    words = ["serve", str(model), "--board", "native@native", "--json", "--tcp", "0"]
    command = [sys.executable, "-c", SERVE, *words, "--boards", str(boards_dir), "--build", str(build_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["address"]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()


def upload(slot: str, data: bytes, sent: int) -> bytes:
    """An upload of which so many bytes are sent; every chunk's request is left unread."""
    return f"hil load {slot} {len(data)} {zlib.crc32(data):08x}%".encode() + data[:sent]


OTHER = lower(random_graph(KWS, seed=10)).to_bytes()  # of the same size as what is served, and other weights
LEFT = {
    "half a command": b"na", "a command that would restart it": b"hil reset", "a long run": b"infer 1000000 10",
    "a long run that has begun": b"infer 3000 10%", "too long a command": b"x" * 300, "half a checksum": b"hil id*0123",
    "half an input": b"db load 490%db 00112233%db 44", "half an upload": upload("plan flash", OTHER, 300),
    "an upload without its data": upload("input ram", bytes(490), 0),
    "all but a byte of one": upload("input ram", bytes(490), 489),
    "another model": upload("plan flash", OTHER, len(OTHER)), "nothing loaded": b"hil unload plan%",
    "a restart": b"hil reset%", "nothing": b"", "answers that nobody read": b"help%name%profile%",
}  # fmt: skip


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_the_next_client_finds_the_board_as_the_first_did(address: str, left: bytes) -> None:
    expected = Tflm(write_tflite(GRAPH)).run(CLIPS[:1].reshape(1, 49, 10, 1))[0]
    with serial.serial_for_url(address) as port:
        for at in range(0, len(left), 1024):  # what was asked for, as far as the board has to be given it
            port.write(left[at : at + 1024])
            time.sleep(0.05)
    with serial.serial_for_url(address, timeout=0.1) as port:
        runner = Runner(port)
        port.write(b"db 00%")  # of an upload that nobody began here
        assert runner.lines(30.0) == ["e-[no 'db load' in progress]", "m-ready"]
        assert (runner.name(), runner.profile()["model"]) == ("hil-nas", "kws01")
        assert runner.load(CLIPS[0].tobytes()) == ["m-load-done", "m-ready"]
        assert [int(np.ceil(256 * x)) - 128 for x in runner.infer(1, 0).results] == expected.tolist()


def test_the_next_client_hears_a_stream_from_its_beginning(boards_dir: Path, build_dir: Path) -> None:
    network = Network((2, 1, 4), (Layer("delay", (-1,), shape=(9, 1, 4)), Layer("fully_connected", (0,), 3)))
    plan = lower(random_graph(network, 1)).to_bytes()
    started = start("native@native", boards_dir=boards_dir, build_dir=build_dir)
    with check(started) as device:
        device.load_plan(plan)
        device.set_input(np.arange(8, dtype=np.int8))
        answers = []
        for _ in range(2):
            for _ in range(3):
                device.run("step", 0, 1)
                answers.append(device.read("output").tolist())
            _tidy(device, started.running, plan, changed=False)
            device.set_input(np.arange(8, dtype=np.int8))
    assert answers[:3] == answers[3:] and answers[0] != answers[1]


def test_a_client_that_leaves_a_pty_is_seen_to_leave() -> None:
    board, address, left = FakeBoard(), queue.Queue[str](), queue.Queue[bool]()

    def work() -> None:
        with pytest.raises(LinkError):
            serve_pty(Running(board), address.put, left.put)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        name = address.get(timeout=5)
        for data, changed in ((b"na", False), (b"hil id%", False), (b"hil lo", False), (b"hil load plan flash", True)):
            with serial.serial_for_url(name) as port:
                port.write(data)
            assert left.get(timeout=20) is changed
        assert left.empty()
    finally:
        board.gone = True
        thread.join(5)
    assert not thread.is_alive()


def test_what_nobody_read_from_a_pty_is_not_for_the_next() -> None:
    with _open_pty() as (leader, name):
        os.write(leader, b"m-ready\r\n")
        _forget_unread(name)
        follower = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            with pytest.raises(BlockingIOError):
                os.read(follower, 100)
        finally:
            os.close(follower)
