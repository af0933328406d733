"""The wire, without any I/O: commands out, verified records in.

A command is ASCII and ended by '%'; ours carry the CRC-32 of what stands before the '*':

    hil run all 1 5*89abcdef%

Every line of a reply ends in CR LF and carries a CRC-32 too. The last record counts those before it and
repeats the CRC of the command, so that a line that was dropped, doubled, damaged or left over from an
earlier command never passes:

    m-hil-run-0-1543210-9876543*1a2b3c4d
    m-hil-busy*0a0b0c0d                     (any number, anywhere, not counted: the board is at work)
    m-hil-end-1-89abcdef*5e6f7081
    m-ready

or, where the board says no:

    e-[no plan is loaded]
    m-ready
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from hil_nas.errors import LinkError, ProtocolError, RefusedError

READY = "m-ready"
BOOT_MARKS = (b"m-timestamp-mode-", b"m-init-done")  # a board says both when it starts
MAX_COMMAND_BYTES = 79  # the firmware's buffer of 80 with its terminator
MAX_LINE_BYTES = 512
MAX_CHUNK_BYTES = 1024
MAX_RUNS = 10_000  # of one command, warm-ups apart
MAX_OPERATORS = 256  # of a network
_SHOWN = 80
_TEXT = re.compile(r"[ -$&-)+-~]+")  # printable ASCII without '%' and '*'
_RECORD = re.compile(r"m-hil-([ -)+-~]+)\*([0-9a-f]{8})")
_END = re.compile(r"end-(0|[1-9][0-9]{0,5})-([0-9a-f]{8})")
_SEND = re.compile(r"send-(0|[1-9][0-9]{0,8})-([1-9][0-9]{0,3})")
_REFUSAL = re.compile(r"e-\[(.*)\]")
# As the firmware says it: the command's line, an upload's bytes, or some of them, did not arrive as they were sent. A
# board whose clock runs ahead of ours, as an emulator's may, takes a busy host's pause for the end of an upload.
_DAMAGED = re.compile(r"the (command|data)'s CRC is wrong|upload stopped at byte \d+ of \d+")
_BOOT = re.compile(r"m-timestamp-mode-.*|m-init-done")


class DamagedCommandError(RefusedError):
    """The command or its data did not reach the board whole, so that it was not carried out."""


class RestartedError(LinkError):
    """The board restarted when it was not told to."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="check its power and cable; a fault in the firmware restarts it too")


def crc32(text: str) -> str:
    """CRC-32 (IEEE 802.3) of ASCII text as eight hex digits."""
    return f"{zlib.crc32(text.encode('ascii')):08x}"


def encode_command(text: str) -> bytes:
    """A `hil` command with its CRC and terminator.

    Raises:
        ValueError: for text that a command cannot hold.
    """
    line = f"{text}*{crc32(text)}" if _TEXT.fullmatch(text) else ""
    if not 0 < len(line) <= MAX_COMMAND_BYTES:
        raise ValueError(f"{text!r} is not a command of printable ASCII that fits {MAX_COMMAND_BYTES} bytes")
    return f"{line}%".encode("ascii")


def verify_reply(command: str, lines: Sequence[str]) -> list[str]:
    """The records of a whole reply, each without its `m-hil-` and CRC, heartbeats left out.

    Args:
        command: the text that was sent, without CRC and terminator.
        lines: everything received before `m-ready`, without line ends.

    Raises:
        RefusedError: where the board said no.
        ProtocolError: where anything is not exactly as the protocol has it.
    """
    records = [x for x in (decode_line(command, line) for line in lines) if x != "busy"]
    if not records:
        raise ProtocolError(f"an empty answer to '{command}', expected an end record")
    end = _END.fullmatch(records.pop())
    if end is None:
        raise ProtocolError(f"the answer to '{command}' ends in {shown(lines[-1])}, not in an end record")
    if end.group(2) != crc32(command):
        raise ProtocolError(f"an answer to another command than '{command}': {shown(lines[-1])}")
    if int(end.group(1)) != len(records):
        raise ProtocolError(f"{len(records)} records in answer to '{command}', the board sent {end.group(1)}")
    return records


def decode_line(command: str, line: str) -> str:
    """The text of one record whose CRC is right.

    Raises:
        RefusedError: for an `e-[...]` line, with the board's words.
        LinkError: for boot text: the board restarted in the middle of a command.
        ProtocolError: for anything else.
    """
    refusal = _REFUSAL.fullmatch(line)
    if refusal:
        kind = DamagedCommandError if _DAMAGED.fullmatch(refusal.group(1)) else RefusedError
        raise kind(f"the board refused '{command}': {shown(refusal.group(1))}")
    if _BOOT.fullmatch(line):
        raise RestartedError(f"the board restarted during '{command}'")
    record = _RECORD.fullmatch(line)
    if record is None:
        raise ProtocolError(f"the answer to '{command}' holds a line that is no record: {shown(line)}")
    if crc32(line[:-9]) != record.group(2):
        raise ProtocolError(f"the answer to '{command}' holds a damaged line: {shown(line)}")
    return record.group(1)


@dataclass(frozen=True)
class SendRequest:
    """The board wants the next `chunk_bytes` of an upload, from `offset_bytes` on."""

    offset_bytes: int
    chunk_bytes: int


def parse_send(record: str) -> SendRequest | None:
    """A verified record as a request for upload bytes, None where it is another record."""
    match = _SEND.fullmatch(record)
    if match is None:
        return None
    return SendRequest(int(match.group(1)), int(match.group(2)))


def shown(text: str) -> str:
    """Text from a board for a message: bounded, with nothing that would move a terminal's cursor."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return cut if cut.isascii() and cut.isprintable() else ascii(cut)


class LineSplitter:
    """Bytes in, lines out. A line ends at LF; one CR before it is taken off, any other byte stays."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes.

        Raises:
            ProtocolError: for a line longer than the protocol allows; what came so far is forgotten.
        """
        self._rest += data
        *whole, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        if max(map(len, (*whole, rest))) > MAX_LINE_BYTES:
            self._rest.clear()
            begin = shown(data[:_SHOWN].decode("latin-1"))
            raise ProtocolError(f"a line of more than {MAX_LINE_BYTES} bytes: {begin}")
        return [x.removesuffix(b"\r").decode("latin-1") for x in whole]

    def clear(self) -> None:
        """Forget the beginning of a line."""
        self._rest.clear()
