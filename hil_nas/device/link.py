"""Commands and uploads over a pyserial port: always bounded in time, and usable again after any error.

A command that does not end well, by an error here or by Ctrl-C, leaves the link out of step with the board. So does
a refusal, for it does not say which command it answers, and so do bytes that come unasked. The next command first
brings the link back: silence, then `hil id` until a clean answer, with more patience at each attempt. A command that
reached the board damaged was not carried out, and is sent once more. A restart of the board is always said once: what
was loaded is gone.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from serial import SerialException

from hil_nas.device.protocol import (
    BOOT_MARKS,
    MAX_CHUNK_BYTES,
    MAX_OPERATORS,
    MAX_RUNS,
    READY,
    DamagedCommandError,
    LineSplitter,
    RestartedError,
    decode_line,
    encode_command,
    parse_send,
    shown,
    verify_reply,
)
from hil_nas.errors import DeviceError, LinkError, ProtocolError

SILENCE_S = 5.0
UPLOAD_SILENCE_S = 20.0  # a store in flash is erased before the first byte is asked for
RESYNC_S = 20.0
ENDING_S = 2.0  # from a program's socket closing to its end being seen, and more
_ATTEMPT_S = 3.0  # the first; each further one takes twice as long, see `Link._resynchronise`
_QUIET_S, _LATE_S = 0.05, 0.5
_NOTHING = "nothing"
_MAX_REPLY_LINES = 2 * MAX_RUNS + MAX_OPERATORS + 100  # runs, a heartbeat of each warm-up, operators, and the rest
_MAX_STRANGE_LINES = 100  # of no form that the firmware has: not some bad bytes, but something else on the port
_READ_BYTES = 4096
T = TypeVar("T")


class Port(Protocol):
    """What a link needs of a pyserial port; any pyserial class has it."""

    timeout: float | None

    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


class Link:
    """One command at a time over one port.

    Args:
        port: an open pyserial port.
        alive: raises where the other end is known to have gone, for example a process that has ended or does within
            so many seconds.
        resync_s: how long the board may take to answer where link and board are out of step.
    """

    def __init__(
        self, port: Port, *, alive: Callable[[float], None] = lambda _: None, resync_s: float = RESYNC_S
    ) -> None:
        self._port = port
        self._alive = alive
        self._resync_s = resync_s
        self._splitter = LineSplitter()
        self._lines: deque[str] = deque()
        self._in_step = False
        self._known = False  # whether a restart would be news: the board has answered since the last one
        self._restarted = False  # a restart was seen that no error has reported yet
        self._tail = b""
        self._closed = False
        self._failure: DeviceError | None = None

    def command(self, text: str, *, silence_s: float = SILENCE_S, total_s: float = 60.0) -> list[str]:
        """Send a `hil` command and return its verified records.

        Args:
            silence_s: how long the board may say nothing; a heartbeat counts as something.
            total_s: how long the whole answer may take.

        Raises:
            RefusedError: where the board said no; it is ready for the next command.
            LinkError: for silence, or a port that closed.
            ProtocolError: for an answer that the protocol does not allow.
        """
        return self._guarded(lambda: self._command(text, silence_s, total_s))

    def upload(self, text: str, data: bytes, *, silence_s: float = UPLOAD_SILENCE_S) -> list[str]:
        """Send a `hil load` command, then each chunk that the board asks for.

        Args:
            text: the command without length and CRC-32 of the data, which are added.

        Raises:
            RefusedError, LinkError, ProtocolError: as for `command`.
        """
        command = f"{text} {len(data)} {zlib.crc32(data):08x}"
        return self._guarded(lambda: self._upload(command, data, silence_s))

    def exchange(self, text: str, *, silence_s: float = SILENCE_S, total_s: float = 60.0) -> list[str]:
        """Send a command of MLPerf Tiny's own and return its lines before `m-ready`, as they came.

        Raises:
            LinkError: for silence, or a port that closed.
        """
        return self._guarded(lambda: self._exchange(f"{text}%".encode("ascii"), text, silence_s, total_s))

    def resynchronise(self, limit_s: float | None = None) -> list[str]:
        """Bring link and board into step and return the records of `hil id`; the board may have restarted.

        Args:
            limit_s: how long the board may take; None: `resync_s`.

        Raises:
            LinkError: where no clean answer came within the limit; the message holds the last thing heard.
        """
        records = self._resynchronise(self._resync_s if limit_s is None else limit_s)
        self._restarted = False
        return records

    def _resynchronise(self, limit_s: float) -> list[str]:
        """Attempts that grow: an upload left open takes each as data and gives up after 2 s of silence by the board's
        clock, and an emulator's may take many times as long, more still on a busy machine.
        """
        self._in_step = False
        end = time.monotonic() + limit_s
        attempt_s = _ATTEMPT_S
        heard = _NOTHING
        while True:
            try:
                records = self._identify(min(attempt_s, max(0.2, end - time.monotonic())))
            except DeviceError as error:
                if self._failure:
                    raise self._failure from error
                self._alive(0)
                heard = error.message
                attempt_s *= 2
            else:
                # The answer may be to an earlier try; then the last one's is still to come.
                self._drain(end, _QUIET_S if heard == _NOTHING else _LATE_S)
                self._in_step = self._known = True
                return records
            if time.monotonic() >= end:
                raise LinkError(
                    f"no clean answer to 'hil id' within {limit_s:g} s, the last was: {heard}",
                    hint="check the cable, reset the board; a board without our firmware needs --flash",
                )

    def close(self) -> None:
        """Close the port; more than once is allowed."""
        if not self._closed:
            self._closed = True
            self._port.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _guarded(self, work: Callable[[], T]) -> T:
        """Run `work` in step; after anything but success the link is out of step."""
        if self._closed:
            raise LinkError("the link to the board is closed")
        if self._failure:
            raise self._failure
        try:
            self._synchronise()
            try:
                result = work()
            except DamagedCommandError:
                self._synchronise()
                result = work()
        except RestartedError:
            self._restarted = self._known = False  # the rest of its boot text is no news
            raise
        self._in_step = True
        return result

    def _synchronise(self) -> None:
        """Brings link and board into step, or raises. They count as out of step until the next command has ended."""
        if self._in_step:  # unless something came that nobody asked for
            self._in_step = not self._receive(0) and not self._lines
        if not self._in_step:
            known = self._known
            self._resynchronise(self._resync_s)
            self._restarted = self._restarted and known
        self._in_step = False
        if self._restarted:
            raise RestartedError("the board has restarted by itself, what was loaded is gone")

    def _command(self, text: str, silence_s: float, total_s: float) -> list[str]:
        self._known = self._known and text != "hil reset"  # the text of the start that follows is no news
        return verify_reply(text, self._exchange(encode_command(text), text, silence_s, total_s))

    def _exchange(self, data: bytes, text: str, silence_s: float, total_s: float) -> list[str]:
        self._write(data)
        end = time.monotonic() + total_s
        lines: list[str] = []
        strange = 0
        while (line := self._line(text, silence_s, end)) != READY:
            lines.append(line)
            strange += not line.startswith(("m-", "e-["))
            if len(lines) > _MAX_REPLY_LINES or strange > _MAX_STRANGE_LINES:
                raise ProtocolError(f"{len(lines)} lines in answer to '{text}', the last was {shown(line)}")
        return lines

    def _upload(self, command: str, data: bytes, silence_s: float) -> list[str]:
        self._write(encode_command(command))
        end = time.monotonic() + 2 * silence_s + len(data) / 500  # even 9600 baud moves 960 bytes a second
        lines: list[str] = []
        sent_bytes = 0
        while (line := self._line(command, silence_s, end)) != READY:
            lines.append(line)
            request = None if line.startswith("e-[") else parse_send(decode_line(command, line))
            if request is None:
                continue
            left_bytes = len(data) - sent_bytes
            if request.offset_bytes != sent_bytes or request.chunk_bytes > min(MAX_CHUNK_BYTES, left_bytes):
                raise ProtocolError(f"{shown(line)} at byte {sent_bytes} of {len(data)} of an upload")
            self._write(data[sent_bytes : sent_bytes + request.chunk_bytes])
            sent_bytes += request.chunk_bytes
        records = verify_reply(command, lines)
        if sent_bytes != len(data):
            raise ProtocolError(f"the board took {sent_bytes} of {len(data)} bytes and said it was done")
        return [x for x in records if parse_send(x) is None]

    def _identify(self, attempt_s: float) -> list[str]:
        """One try: end what may stand in the board's command buffer, ask, and take the first clean answer."""
        self._drain(time.monotonic() + attempt_s)
        self._write(b"%")
        end = time.monotonic() + attempt_s
        self._write(encode_command("hil id"))
        problem: DeviceError = LinkError("silence")
        lines: list[str] = []
        while True:
            try:
                line = self._line("hil id", attempt_s, end)
            except LinkError:
                raise problem from None
            if line != READY:
                lines.append(line)
                continue
            try:
                return verify_reply("hil id", lines)
            except DeviceError as error:
                problem = error
                lines.clear()

    def _line(self, text: str, silence_s: float, end: float) -> str:
        silent_at = time.monotonic() + silence_s
        while not self._lines:
            left_s = min(silent_at, end) - time.monotonic()
            if left_s <= 0:
                what = "did not finish" if silent_at > end else f"has been silent for {silence_s:g} s"
                raise LinkError(f"the board {what} in answer to '{text}'", hint="reset the board, try again")
            data = self._receive(min(left_s, 0.25))
            self._lines.extend(self._splitter.feed(data))
            if not data:
                self._alive(0)
        return self._lines.popleft()

    def _drain(self, end: float, quiet_s: float = _QUIET_S) -> None:
        """Read until nothing comes for a while, and forget it."""
        while self._receive(quiet_s) and time.monotonic() < end:
            pass
        self._splitter.clear()
        self._lines.clear()

    def _receive(self, wait_s: float) -> bytes:
        """What has come, at once where there is something, else after at most `wait_s`."""
        try:
            self._port.timeout = wait_s
            data = self._port.read(1)
            if data:
                self._port.timeout = 0
                data += self._port.read(_READ_BYTES)
                self._watch(data)
            return bytes(data)
        except (OSError, SerialException) as error:
            raise self._gone(error) from error
        except DeviceError as error:  # the virtual board's firmware faulted
            self._failure = error
            raise

    def _watch(self, data: bytes) -> None:
        """Whether the board's boot text goes by, even where it is thrown away."""
        heard = self._tail + data
        self._restarted = self._restarted or any(x in heard for x in BOOT_MARKS)
        self._tail = heard[-max(map(len, BOOT_MARKS)) + 1 :]

    def _write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (OSError, SerialException) as error:
            raise self._gone(error) from error
        except DeviceError as error:
            self._failure = error
            raise

    def _gone(self, error: Exception) -> DeviceError:
        hint = "is the board still attached and powered?"
        self._failure = LinkError(f"the port to the board failed: {error}", hint=hint)
        try:
            self._alive(ENDING_S)  # a program that has ended says more
        except DeviceError as ended:
            self._failure = ended
        return self._failure
