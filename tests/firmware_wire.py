"""The native firmware on its standard input and output, spoken to byte by byte, without the package's own link."""

from __future__ import annotations

import os
import select
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil_nas.device.firmware import build_firmware, find_third_party

# CMSIS-NN shifts negative values left, which every compiler it supports does as it means.
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize=shift-base", "-fno-sanitize-recover=all")


def sanitized_firmware(boards_dir: Path, build_dir: Path) -> Path:
    return build_firmware("native", boards_dir, build_dir, find_third_party(), SANITIZERS).elf


def crc(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


class Wire:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._rest = b""
        self.boot: list[str] = []

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self, limit_s: float = 10.0) -> str:
        assert self.process.stdout is not None
        end = time.monotonic() + limit_s
        while b"\r\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert data, f"the firmware said nothing more; it ended with {self.process.poll()}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line.decode("ascii")

    def answer(self) -> list[str]:
        """Lines up to `m-ready`, which is left out."""
        lines = []
        while (line := self.line()) != "m-ready":
            lines.append(line)
        return lines

    def ask(self, command: str) -> list[str]:
        self.send(f"{command}%".encode("latin-1"))
        return self.answer()

    def upload(self, slot: str, data: bytes, where: str = "ram", checksum: str | None = None) -> list[str]:
        """The last lines of an upload, without what asked for chunks."""
        self.send(f"hil load {slot} {where} {len(data)} {checksum or crc(data)}%".encode())
        lines = []
        while (line := self.line()) != "m-ready":
            if line.startswith("m-hil-send-"):
                offset, size = map(int, line.partition("*")[0].split("-")[3:])
                self.send(data[offset : offset + size])
            else:
                lines.append(line)
        return [x for x in lines if not x.startswith("m-hil-busy")]


@contextmanager
def running(elf: Path) -> Iterator[Wire]:
    """A started firmware, its boot text read; it must end cleanly, which a sanitizer's report prevents."""
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    with subprocess.Popen(
        [str(elf)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        wire = Wire(process)
        try:
            wire.boot = wire.answer()
            yield wire
            assert process.stdin and process.stderr
            process.stdin.close()
            assert process.wait(10) == 0, process.stderr.read().decode()
        finally:
            process.kill()
