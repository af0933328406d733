"""Programs that a host starts, and the sockets to their UARTs. None outlives this process, however it ends."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from serial.urlhandler import protocol_socket

from hil_nas.device.hosts import guard
from hil_nas.device.protocol import shown
from hil_nas.errors import LinkError, MissingToolError

VERSION_S = 30.0
_END_S = 2 * guard.END_S


def find_program(name: str, hint: str) -> str:
    """The path of a program.

    Raises:
        MissingToolError: where it is not on PATH.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"'{name}' is not on PATH", hint=hint)
    return path


def program_version(path: str) -> str:
    """What a program calls its version; empty where it does not say, or not in time."""
    try:
        _, text = run([path, "--version"], VERSION_S, os.environ | {"LC_ALL": "C"})
    except subprocess.TimeoutExpired:
        return ""
    text = re.sub(r"\([^)]*\)", "", text)  # a distribution's own numbers
    match = re.search(r"\d+(\.\d+)+", text)
    return match.group() if match else ""


def is_older(version: str, oldest: tuple[int, ...]) -> bool:
    """Whether a version, as `program_version` gives it, lies before the oldest that does."""
    return tuple(map(int, re.findall(r"\d+", version)[: len(oldest)])) < oldest


def run(command: Sequence[str], limit_s: float, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a program to its end; returns its status and all that it printed.

    Raises:
        subprocess.TimeoutExpired: where it did not end within the limit; it has been ended.
    """
    with tempfile.TemporaryFile() as out:
        process = _started(command, out, environment=environment)
        try:
            status = process.wait(limit_s)
        finally:
            _end(process)
        out.seek(0)
        return status, out.read().decode("utf-8", "replace")


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A started program, ended at the latest when this process ends, by SIGKILL too.

    As a context it ends the program where the block fails, by Ctrl-C as well.

    Args:
        command: program and arguments. Its standard input says nothing and stays open.
        log: takes all that it prints; its last line stands in error messages.
        files: descriptors that it is handed, under their numbers here.
    """

    def __init__(self, command: Sequence[str], log: Path, files: Sequence[int] = ()) -> None:
        self._name = Path(command[0]).name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            self._process = _started(command, out, files)
        self._finalizer = weakref.finalize(self, _end, self._process)

    def alive(self, within_s: float = 0.0) -> None:
        """Returns while the program runs.

        Raises:
            LinkError: where it has ended, or does within so many seconds, with its last words.
        """
        try:
            status = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return
        words = self.words().strip()
        last = shown(words.splitlines()[-1]) if words else "it said nothing"
        hint = f"its output is in {self.log}" if words else None
        raise LinkError(f"{self._name} ended with status {status}: {last}", hint=hint)

    def words(self) -> str:
        """All that it has printed; nothing once it has been released."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""

    def end(self) -> None:
        """End the program and wait for it; more than once is allowed."""
        self._finalizer()

    def release(self) -> None:
        """End the program after all went well: its log goes too, unless it had ended by itself in error."""
        status = self._process.poll()
        self.end()
        if not status:
            self.log.unlink(missing_ok=True)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.end()


class SocketPort(protocol_socket.Serial):  # type: ignore[misc]
    """pyserial's socket port on a socket that is connected already; it keeps what came before it was opened."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        super().__init__()
        self.logger = None
        connected.setblocking(False)
        self.is_open = True

    def reset_input_buffer(self) -> None:
        """Drops nothing: boot text that has come already must not be lost."""

    def close(self) -> None:
        """Close the socket; pyserial's own close() leaves it open where the other end has gone."""
        self.is_open = False
        self._socket.close()


def start_on_socket(command: Callable[[int], Sequence[str]], log: Path) -> tuple[Child, SocketPort]:
    """Start a program whose UART is a socket that it is handed: no port, nobody else can come between.

    Args:
        command: makes the command line, given the socket's descriptor.
    """
    ours, theirs = socket.socketpair()
    try:
        child = Child(command(theirs.fileno()), log, (theirs.fileno(),))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return child, SocketPort(ours)


def _started(
    command: Sequence[str], out: IO[bytes], files: Sequence[int] = (), environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is for this process, which then ends the program in order.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, *command], env=environment, pass_fds=files,
        stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()  # what the guard waits for
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
