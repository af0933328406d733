"""MLPerf Tiny's standard runner as far as the device sees it, written anew from what mlcommons/tiny's
benchmark/runner (at 1afd2c98) sends, waits for and reads out of the answers; none of its text is here.

It types ASCII ended by '%', takes bytes one by one, drops CR, LF and NUL, and an answer ends with the first line
that has `m-ready` in it. A line that does not come within 5 s (30 s for `infer`) ends the whole run.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from hil_nas.device.link import Port

NAME = re.compile(r"m-(name)-dut-\[([^]]+)]")
PROFILE = re.compile(r"m-(model|profile)-\[([^]]+)]")
RESULTS = re.compile(r"m-results-\[([^]]+)\]")
LAP = re.compile(r"m-lap-us-([0-9]+)")
LINE_S, INFER_S = 5.0, 30.0
BYTES_A_COMMAND = 31


@dataclass(frozen=True)
class Inference:
    """What the runner makes of an answer to `infer`."""

    results: list[float]
    elapsed_us: int


class Runner:
    """Drives one device over a pyserial port."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._rest = bytearray()

    def line(self, limit_s: float = LINE_S) -> str:
        end = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            assert time.monotonic() < end, f"no line within {limit_s} s, only {bytes(self._rest)!r}"
            self._port.timeout = 0.1
            self._rest += self._port.read(1)
            self._port.timeout = 0
            self._rest += self._port.read(4096)
        line, _, rest = bytes(self._rest).partition(b"\n")
        self._rest = bytearray(rest)
        return bytes(x for x in line if x not in b"\r\0").decode()  # the runner drops what does not decode

    def lines(self, limit_s: float = LINE_S) -> list[str]:
        """Up to and with the line that says ready; empty lines are not kept."""
        lines: list[str] = []
        while not lines or "m-ready" not in lines[-1]:
            lines += [x for x in [self.line(limit_s)] if x]
        return lines

    def send(self, command: str, limit_s: float = LINE_S) -> list[str] | str:
        """As the runner hands an answer on: a lone line comes as text and not as a list."""
        self._port.write(f"{command}%".encode())
        lines = self.lines(limit_s)
        return lines if len(lines) != 1 else lines[0]

    def name(self) -> str:
        """It walks over the lines, so that a lone line would be walked letter by letter and give no name."""
        return next(match.group(2) for x in self.send("name") if (match := NAME.fullmatch(x)))

    def profile(self) -> dict[str, str]:
        return {match.group(1): match.group(2) for x in self.send("profile") if (match := PROFILE.fullmatch(x))}

    def timestamp_us(self) -> int:
        return next(int(match.group(1)) for x in self.send("timestamp") if (match := LAP.fullmatch(x)))

    def load(self, data: bytes) -> list[str] | str:
        """The answer to the last of its commands; it looks at none of them."""
        self.send(f"db load {len(data)}")
        answer: list[str] | str = ""
        for at in range(0, len(data), BYTES_A_COMMAND):
            answer = self.send(f"db {data[at : at + BYTES_A_COMMAND].hex()}")
        return answer

    def infer(self, count: int, warmups: int) -> Inference:
        lines = self.send(f"infer {count} {warmups}", INFER_S)
        laps = [int(match.group(1)) for x in lines if (match := LAP.fullmatch(x))]
        results = [match.group(1) for x in lines if (match := RESULTS.fullmatch(x))]
        return Inference([float(x) for x in results[-1].split(",")], laps[1] - laps[0])
