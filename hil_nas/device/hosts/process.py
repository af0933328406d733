"""Programs that a host starts, and the loopback sockets to their UARTs."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import serial
from serial.urlhandler import protocol_socket

from hil_nas.device.protocol import shown
from hil_nas.errors import LinkError, MissingToolError

CONNECT_S = 30.0
VERSION_S = 30.0
_END_S = 3.0


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
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_S,
            env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = re.sub(r"\([^)]*\)", "", done.stdout.decode("utf-8", "replace"))  # a distribution's own numbers
    found = re.search(r"\d+(\.\d+)+", text)
    return found.group() if found else ""


def is_older(version: str, oldest: tuple[int, ...]) -> bool:
    """Whether a version, as `program_version` gives it, lies before the oldest that does."""
    return tuple(map(int, re.findall(r"\d+", version)[: len(oldest)])) < oldest


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A started program, ended at the latest when this process ends.

    Args:
        command: program and arguments.
        log: takes all that it prints; its last line stands in error messages.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._name = Path(command[0]).name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            # A session of its own: Ctrl-C is for this process, which then ends the child in order.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process)

    def alive(self, within_s: float = 0.0) -> None:
        """Nothing, where the program runs.

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


class SocketPort(protocol_socket.Serial):  # type: ignore[misc]
    """pyserial's socket port, which keeps what came first and closes its socket in any case."""

    _socket = None

    def reset_input_buffer(self) -> None:
        """Nothing: pyserial calls this when a port is opened, and the boot text may have come by then."""

    def close(self) -> None:
        """Close the socket; pyserial's own close() leaves it open where the other end has gone."""
        opened = self._socket
        super().close()
        if opened is not None:
            opened.close()


def connect(port: int, child: Child, limit_s: float = CONNECT_S) -> serial.SerialBase:
    """A pyserial port on a loopback socket that `child` is about to open.

    Raises:
        LinkError: where the program ends, or does not listen within the limit.
    """
    end = time.monotonic() + limit_s
    while True:
        try:
            return SocketPort(f"socket://127.0.0.1:{port}")
        except serial.SerialException as error:
            child.alive()
            if time.monotonic() >= end:
                message = f"nothing listened on port {port} within {limit_s:g} s: {error}"
                raise LinkError(message, hint=f"what was started has written {child.log}") from error
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
