"""A host's raw byte stream on a TCP port or a pty, so that MLPerf Tiny's own runner can drive the board."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil_nas.device.boards import BoardTarget
from hil_nas.device.firmware import Engine
from hil_nas.device.hosts import check, start
from hil_nas.device.hosts.running import Running
from hil_nas.device.link import ENDING_S
from hil_nas.errors import LinkError

_CHUNK_BYTES = 4096
_POLL_S = 0.002


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
    engine: Engine = "cmsis-nn",
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
        if tcp_port is None:
            serve_pty(started.running, ready)
        else:
            serve_tcp(started.running, tcp_port, ready)


def serve_tcp(running: Running, port: int, ready: Callable[[str], None]) -> None:
    """Bridge the board to one client after another on a TCP port of the loopback, until Ctrl-C.

    Args:
        port: 0 for any free one.
        ready: told the pyserial URL to connect to, once it can be.

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
                _bridge(running, _Client(client.fileno(), client.recv, client.sendall))


def serve_pty(running: Running, ready: Callable[[str], None]) -> None:
    """Bridge the board to a pty, which any serial program opens like a port, until Ctrl-C.

    Args:
        ready: told the path of the pty.

    Raises:
        LinkError: where the board goes away.
    """
    with _open_pty() as (leader, follower):
        ready(os.ttyname(follower))
        _bridge(running, _Client(leader, lambda n: os.read(leader, n), lambda data: _write_all(leader, data)))


@contextlib.contextmanager
def _open_pty() -> Iterator[tuple[int, int]]:
    """Both ends, raw; the follower is held open so that clients may come and go."""
    leader, follower = pty.openpty()
    try:
        tty.setraw(follower)
        yield leader, follower
    finally:
        os.close(leader)
        os.close(follower)


def _accept(server: socket.socket, running: Running) -> socket.socket:
    """The next client; meanwhile the board runs on, and what it says is lost as on a serial line."""
    while not select.select([server], [], [], _POLL_S)[0]:
        _from_board(running)
    return server.accept()[0]


def _bridge(running: Running, client: _Client) -> None:
    """Carry bytes both ways until the client leaves."""
    while True:
        readable, _, _ = select.select([client.fileno], [], [], 0)
        try:
            if readable:
                data = client.receive(_CHUNK_BYTES)
                if not data:
                    return
                running.port.write(data)
            data = _from_board(running)
            if data:
                client.send(data)
        except (ConnectionError, BrokenPipeError):
            return


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
