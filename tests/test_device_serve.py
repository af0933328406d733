"""The board's byte stream on a TCP port and on a pty, as MLPerf Tiny's runner would open it."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import serial
from device_fake import FakeBoard

from hil_nas.device.hosts.running import Running
from hil_nas.device.link import Link
from hil_nas.device.serve import serve_pty, serve_tcp
from hil_nas.errors import LinkError

Serve = Callable[[Running, Callable[[str], None]], None]


def over_tcp(running: Running, ready: Callable[[str], None]) -> None:
    serve_tcp(running, 0, ready)


@pytest.fixture(params=[over_tcp, serve_pty], ids=["tcp", "pty"])
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
            serve_tcp(Running(FakeBoard()), taken.getsockname()[1], lambda _: None)
