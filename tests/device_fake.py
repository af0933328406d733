"""A board in Python that speaks the wire, for tests of what is above it; shaped like a pyserial port."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Sequence

BOOT = "m-timestamp-mode-performance\r\nm-lap-us-42\r\nm-init-done\r\nm-ready\r\n"
IDENTITY = {
    "board": "nucleo_l4r5", "clock": "120000000", "engine": "plans", "build": "0123456789abcdef",
    "kernels": "fedcba9876543210", "wire": "5", "pool": "570000", "store": "1400000", "input": "27648",
    "versions": "cmsis-nn 4.0.0;gcc 12.2.1",
}  # fmt: skip


class Clock:
    """In place of the module `time`: it passes where a board is waited for, and not because a machine is slow."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def crc(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"


def reply(command: str, records: Iterable[str], busy: Sequence[int] = ()) -> bytes:
    """A whole reply as a firmware sends it; heartbeats before the records numbered in `busy`."""
    lines = []
    records = list(records)
    for index, text in enumerate([*records, f"end-{len(records)}-{crc(command.encode())}"]):
        if index in busy:
            lines.append(b"m-hil-busy")
        lines.append(f"m-hil-{text}".encode())
    return b"".join(b"%s*%s\r\n" % (x, crc(x).encode()) for x in lines) + b"m-ready\r\n"


def line(text: str) -> bytes:
    return f"m-hil-{text}*{crc(f'm-hil-{text}'.encode())}\r\n".encode()


class FakeBoard:
    """Answers at once. `spoil(command, reply)` may change any reply; `gone` is an unplugged cable."""

    def __init__(self, spoil: Callable[[str, bytes], bytes] = lambda _, x: x, **identity: str) -> None:
        self.spoil = spoil
        self.identity = IDENTITY | identity
        self.timeout: float | None = None
        self.out = bytearray(BOOT.encode())
        self.slots: dict[str, bytes] = {}
        self.commands: list[str] = []
        self.gone = self.closed = False
        self.silence_s = 60.0  # after which an upload is given up; 2 s of a board's own time
        self._typed = bytearray()
        self._upload: tuple[str, str, int, int] | None = None
        self._received = bytearray()
        self._upload_at = 0.0

    def read(self, size: int = 1, /) -> bytes:
        self._check_upload()
        if self.gone:
            raise OSError("device disconnected")
        if not self.out:
            time.sleep(min(self.timeout or 0, 0.02))
        data = bytes(self.out[:size])
        del self.out[:size]
        return data

    def write(self, data: bytes, /) -> int:
        self._check_upload()
        for value in data:
            if self._upload:
                self._take(value)
            elif value == ord("%"):
                self._execute(self._typed.decode("latin-1"))
                self._typed.clear()
            else:
                self._typed.append(value)
        return len(data)

    def close(self) -> None:
        self.closed = True

    def _execute(self, typed: str) -> None:
        command, star, code = typed.partition("*")
        self.commands.append(command)
        if star and code != crc(command.encode("latin-1")):
            return self._answer(command, b"e-[the command's CRC is wrong]\r\nm-ready\r\n")
        if command.startswith("hil load "):
            _, _, slot, _, size, code = command.split()
            self._upload, self._upload_at = (command, slot, int(size), int(code, 16)), time.monotonic()
            self._received.clear()
            return self._ask()
        records = self._records(command)
        if isinstance(records, str):
            return self._answer(command, f"e-[{records}]\r\nm-ready\r\n".encode())
        self._answer(command, reply(command, records))
        if command == "hil reset":
            self.out += BOOT.encode()

    def _records(self, command: str) -> list[str] | str:
        match command.split():
            case ["hil", "id"]:
                return [f"id-{k}-{v}" for k, v in self.identity.items()]
            case ["hil", "run", what, _, runs]:
                front_end, network = 1000 * (what != "network"), 5000 * (what != "frontend")
                totals = [f"run-{i}-{front_end}-{network}" for i in range(int(runs))]
                return totals + [f"op-{i}-conv-2500" for i in range(2) if network]
            case ["hil", "read", slot]:
                data = self.slots.get(slot, bytes(range(100)))
                return [f"data-{i}-{data[i : i + 64].hex()}" for i in range(0, len(data), 64)]
            case ["hil", "memory"]:
                names = ("arena", "frontend_scratch", "audio", "listen", "io", "static", "stack", "image")
                sizes = [f"memory-{x}-{1000 + i}" for i, x in enumerate(names)]
                return [*sizes, "memory-plan-50000-flash", "memory-frontend_tables-7000-ram"]
            case ["hil", "reset"] | ["hil", "unload", _]:
                return []
        return f"Unknown command: {command}"

    def _answer(self, command: str, data: bytes) -> None:
        self.out += self.spoil(command, data)

    def _ask(self) -> None:
        assert self._upload
        command, _, size, _ = self._upload
        self._answer(command, line(f"send-{len(self._received)}-{min(1024, size - len(self._received))}"))

    def _take(self, value: int) -> None:
        assert self._upload
        command, slot, size, code = self._upload
        self._received.append(value)
        self._upload_at = time.monotonic()
        if len(self._received) == size:
            self._upload = None
            if zlib.crc32(self._received) != code:
                return self._answer(command, b"e-[the data's CRC is wrong]\r\nm-ready\r\n")
            self.slots[slot] = bytes(self._received)
            known = {"plan": "plan-2-20000-490-12", "frontend": "frontend-mfcc-49-10-4096"}
            chunks = -(-size // 1024)
            whole = reply(command, [*chunks * ["send"], known.get(slot, f"loaded-{size}")])
            self._answer(command, b"".join(x + b"\r\n" for x in whole.split(b"\r\n")[chunks:-1]))
        elif len(self._received) % 1024 == 0:
            self._ask()

    def _check_upload(self) -> None:
        if self._upload and time.monotonic() - self._upload_at > self.silence_s:
            command, _, size, _ = self._upload
            self._upload = None
            words = f"upload stopped at byte {len(self._received)} of {size}"
            self._answer(command, f"e-[{words}]\r\nm-ready\r\n".encode())
