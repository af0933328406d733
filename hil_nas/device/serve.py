"""A host's raw byte stream on a TCP port or a pty, so that MLPerf Tiny's own runner can drive the board.

One client after another; each finds the board as the first one did, whatever the one before left half-said.
"""

from __future__ import annotations

import contextlib
import math
import os
import pty
import re
import select
import socket
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil_nas.device.device import Device
from hil_nas.device.firmware import USUAL_ENGINE, Engine
from hil_nas.device.hosts import check, start
from hil_nas.device.hosts.running import Running
from hil_nas.device.link import ENDING_S
from hil_nas.errors import LinkError
from hil_nas.target import BoardTarget

_CHUNK_BYTES = 4096
_POLL_S = 0.002
_CHANGES = re.compile(rb"hil +(load|unload|reset)")
_LONGEST_WORDS = 80  # a command is no longer


@dataclass(frozen=True)
class _Client:
    """The other side: a file descriptor to wait on, and how to read and write it."""

    fileno: int
    receive: Callable[[int], bytes]
    send: Callable[[bytes], object]


def serve(
    target: str | BoardTarget,
    *,
    boards_dir: Path,
    build_dir: Path,
    tcp_port: int | None,
    ready: Callable[[str], None],
    plan: bytes | None = None,
    port: str | None = None,
    flash: bool = False,
    engine: Engine = USUAL_ENGINE,
) -> None:
    """Start a board's firmware and bridge it until Ctrl-C; what was started is ended then.

    Args:
        plan: or what else the engine runs; loaded first, MLPerf Tiny's protocol has no command for it.
        tcp_port: of the loopback, 0 for any free one; None bridges to a pty instead.
        ready: told the pyserial URL or the path of the pty.
        port, flash, engine: as for `open_device`.

    Raises:
        HilNasError: as `open_device`, and where the board goes away.
    """
    started = start(target, boards_dir=boards_dir, build_dir=build_dir, port=port, flash=flash, engine=engine)
    with check(started) as device:
        if plan is not None:
            device.load_plan(plan)

        def tidy(changed: bool) -> None:
            _tidy(device, started.running, plan, changed)

        if tcp_port is None:
            serve_pty(started.running, ready, tidy)
        else:
            serve_tcp(started.running, tcp_port, ready, tidy)


def serve_tcp(running: Running, port: int, ready: Callable[[str], None], tidy: Callable[[bool], None]) -> None:
    """Bridge the board to one client after another on a TCP port of the loopback, until Ctrl-C.

    Args:
        port: 0 for any free one.
        ready: told the pyserial URL to connect to, once it can be.
        tidy: makes the board ready for the next client; told whether the last one changed what is loaded.

    Raises:
        LinkError: where the port is taken or the board goes away.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError as error:
            raise LinkError(f"TCP port {port} cannot be used: {error}", hint="choose another, or 0") from error
        server.listen(1)
        ready(f"socket://127.0.0.1:{server.getsockname()[1]}")
        while True:
            client = _accept(server, running)
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                changed = _bridge(running, _Client(client.fileno(), client.recv, client.sendall))
            tidy(changed)


def serve_pty(running: Running, ready: Callable[[str], None], tidy: Callable[[bool], None]) -> None:
    """Bridge the board to a pty, which any serial program opens like a port, until Ctrl-C.

    A client is seen to leave where nobody has the pty open for some milliseconds; one that comes sooner than that goes
    on where the last one was.

    Args:
        ready: told the path of the pty.
        tidy: as for `serve_tcp`.

    Raises:
        LinkError: where the board goes away.
    """
    with _open_pty() as (leader, name):
        other_end = select.poll()
        other_end.register(leader, select.POLLIN)
        ready(name)
        while True:
            while other_end.poll(0) == [(leader, select.POLLHUP)]:  # nobody has it open, and nobody wrote and left
                _from_board(running)
            client = _Client(leader, lambda n: os.read(leader, n), lambda data: _write_all(leader, data))
            tidy(_bridge(running, client))
            _forget_unread(name)


@contextlib.contextmanager
def _open_pty() -> Iterator[tuple[int, str]]:
    """The end to bridge, and the path of the other, raw; with that closed, it is seen when a client leaves."""
    leader, follower = pty.openpty()
    try:
        name = os.ttyname(follower)
        tty.setraw(follower)
        os.close(follower)
        yield leader, name
    finally:
        os.close(leader)


def _forget_unread(name: str) -> None:
    """What the board said to a client that has left; the system would keep it for the next."""
    follower = os.open(name, os.O_RDWR | os.O_NOCTTY)
    try:
        termios.tcflush(follower, termios.TCIFLUSH)
    finally:
        os.close(follower)


def _tidy(device: Device, running: Running, plan: bytes | None, changed: bool) -> None:
    """Ends what a client left half-said, without carrying it out, and loads what it took away.

    However long that takes: the client may have left in the middle of a long run.
    """
    _to_board(running, b"*")  # a command that ends here has a wrong CRC; in an upload it is data, and silence ends that
    device.identify(started=True, limit_s=math.inf)
    _to_board(running, b"db load%")  # of no size: refused, and the input that was half-sent is given up
    device.identify(started=True, limit_s=math.inf)
    if changed:
        device.reset()
        if plan is not None:
            device.load_plan(plan)
    elif plan is not None:
        device.clear()  # of a stream that the client has heard


def _accept(server: socket.socket, running: Running) -> socket.socket:
    """The next client; meanwhile the board runs on, and what it says is lost as on a serial line."""
    while not select.select([server], [], [], _POLL_S)[0]:
        _from_board(running)
    return server.accept()[0]


def _bridge(running: Running, client: _Client) -> bool:
    """Carry bytes both ways until the client leaves; whether it may have changed what is loaded."""
    changed, heard = False, b""
    while True:
        try:
            readable, _, _ = select.select([client.fileno], [], [], 0)
            data = client.receive(_CHUNK_BYTES) if readable else None
        except OSError:  # a pty's way to say it, or a connection that broke
            data = b""
        if data == b"":
            return changed
        if data:
            heard = heard[-_LONGEST_WORDS:] + data
            changed = changed or _CHANGES.search(heard) is not None
            _to_board(running, data)
        if said := _from_board(running):
            with contextlib.suppress(OSError):  # the client has left, as the next receive finds
                client.send(said)


def _to_board(running: Running, data: bytes) -> None:
    try:
        running.port.write(data)
    except OSError as error:  # SerialException is one
        running.alive(ENDING_S)
        raise LinkError(f"the port to the board failed: {error}") from error


def _from_board(running: Running) -> bytes:
    """What the board has said by now; waits a moment where it says nothing."""
    try:
        running.port.timeout = _POLL_S
        data = bytes(running.port.read(1))
        if data:
            running.port.timeout = 0
            return data + bytes(running.port.read(_CHUNK_BYTES))
    except OSError as error:  # SerialException is one
        running.alive(ENDING_S)
        raise LinkError(f"the port to the board failed: {error}") from error
    return b""


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
