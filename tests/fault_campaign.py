"""Faults by the thousand: each strikes a job on the real firmware, and is judged.

A job ends with what it gives on a good line, or with one error of ours, within `BOUND_S`; never with anything else.
Afterwards a whole measurement on a good line gives exactly what it always gives. Everything is seeded, and time is
the test's own, so that a campaign is the same everywhere.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from faulty_line import Fault, FaultyLine, Kind, Talks
from lockstep_firmware import RESET, Clock, Lockstep

from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device import link as link_module
from hil_nas.device.device import Device, expect_identity
from hil_nas.device.link import Link
from hil_nas.device.replies import WIRE_VERSION
from hil_nas.errors import DeviceError, RefusedError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network

BOUND_S = 150.0
OPEN_S = 15.0
CONFIG = Mfcc(640, 320, 20, 10)
FRONT_END = CONFIG.blob(0.6, 20)
HEAD = (Layer("conv", (-1,), 4, kernel=(5, 3), stride=(4, 2), relu=True),)
TAIL = (Layer("depthwise", (0,), kernel=(3, 3), relu=True), Layer("conv", (1,), 4))
PLANS = (
    lower(random_graph(Network((CONFIG.frames, 10, 1), (*HEAD, Layer("fully_connected", (0,), 6))), 1)),
    lower(random_graph(Network((CONFIG.frames, 10, 1), (*HEAD, *TAIL, Layer("fully_connected", (2,), 6))), 2)),
)
_NUMBERS = np.random.default_rng(12)
INPUTS = _NUMBERS.integers(-128, 128, (2, PLANS[0].input_bytes), dtype=np.int8)
AUDIO = _NUMBERS.normal(0, 3000, (2, 16000)).astype(np.int16)
LINE_FAULTS: tuple[Kind, ...] = get_args(Kind)


def _bytes(values: Any) -> bytes:
    return bytes(np.asarray(values).tobytes())


@dataclass(frozen=True)
class Job:
    """What a host asks of a board, given which of the two plans, inputs and clips are loaded.

    Attributes:
        refusal: words of the refusal that is the right outcome, None where a value is.
    """

    name: str
    work: Callable[[Device, int], Any]
    refusal: str | None = None


def _network(device: Device, which: int) -> Any:
    device.set_input(INPUTS[1 - which])
    return device.run("network", 1, 2), _bytes(device.read("output"))


def _measure(device: Device, which: int) -> Any:
    info = device.load_plan(PLANS[1 - which].to_bytes(), "ram" if which else "flash")
    device.set_input(INPUTS[which])
    return info, device.run("network", 0, 1), _bytes(device.read("output"))


def _whole(device: Device, which: int) -> Any:
    device.set_audio(AUDIO[1 - which])
    return device.run("all", 0, 1), _bytes(device.read("features")), _bytes(device.read("output"))


def _front_end(device: Device, which: int) -> Any:
    info = device.load_front_end(FRONT_END, "flash" if which else "ram")
    return info, device.run("frontend", 5, 1), _bytes(device.read("features"))


JOBS = (
    Job("identify", lambda device, _: device.identify()),
    Job("memory", lambda device, _: device.memory()),
    Job("output", lambda device, _: _bytes(device.read("output"))),
    Job("run", lambda device, _: device.run("network", 20, 3)),
    Job("unload", lambda device, _: device.unload("frontend")),
    Job("reset", lambda device, _: device.reset()),
    Job("network", _network),
    Job("measure", _measure),
    Job("whole", _whole),
    Job("front end", _front_end),
)
FULL = (
    Job("plan above RAM", lambda device, _: device.load_plan(bytes(700_000), "ram"), "too large for the RAM"),
    Job("plan above flash", lambda device, _: device.load_plan(bytes(950_000)), "too large for the store"),
    Job("input above its buffer", lambda device, _: device.set_input(np.zeros(27_649, np.int8)), "at most 27648"),
    Job(
        "arena above RAM",
        lambda device, which: device.load_plan(replace(PLANS[which], arena_bytes=600_000).to_bytes(), "ram"),
        "does not fit in RAM",
    ),
)


class Replaced:
    """Our firmware with some of its records changed, their CRCs made good: another board, build or wire."""

    def __init__(self, firmware: Lockstep, old: bytes, new: bytes) -> None:
        self._firmware, self._old, self._new = firmware, old, new
        self.boot = firmware.exchange(order=RESET)

    def exchange(self, data: bytes = b"", order: int = 0) -> bytes:
        lines = self._firmware.exchange(data, order).split(b"\r\n")
        return b"\r\n".join(self._line(x) for x in lines)

    def _line(self, line: bytes) -> bytes:
        text, star, _ = line.partition(b"*")
        if not star or not text.startswith(self._old):
            return line
        return b"%s*%08x" % (self._new, zlib.crc32(self._new))


class Stranger:
    """Something else on the port: says `say(data)` to what it hears."""

    def __init__(self, say: Callable[[bytes], bytes], boot: bytes = b"") -> None:
        self._say, self.boot = say, boot

    def exchange(self, data: bytes = b"", order: int = 0) -> bytes:
        return self._say(data)


def _reference_firmware(data: bytes) -> bytes:
    return b"".join(b"e-[Unknown command: %s]\r\nm-ready\r\n" % x[:20] for x in data.split(b"%")[:-1])


def _stale(data: bytes) -> bytes:
    text = b"m-hil-end-0-00000000"
    return (b"%s*%08x\r\nm-ready\r\n" % (text, zlib.crc32(text))) * data.count(b"%")


BOOT_TEXT = b"m-timestamp-mode-performance\r\nm-lap-us-5\r\nm-init-done\r\nm-ready\r\n"
STRANGERS: dict[str, Callable[[bytes], bytes]] = {
    "silence": lambda data: b"",
    "an echo": lambda data: data,
    "a shell": lambda data: data.replace(b"%", b"\r\n-sh: not found\r\n$ "),
    "MLPerf's firmware": _reference_firmware,
    "ready, always": lambda data: b"m-ready\r\n" * data.count(b"%"),
    "another answer": _stale,
    "a boot loop": lambda data: BOOT_TEXT * data.count(b"%"),
    "noise": lambda data: random.Random(len(data)).randbytes(300),
    "an endless line": lambda data: b"x" * 300,
}
OTHERS = {
    "another board": (b"m-hil-id-board-", b"m-hil-id-board-nucleo_l4r5"),
    "another build": (b"m-hil-id-build-", b"m-hil-id-build-00000000deadbeef"),
    "another wire": (b"m-hil-id-wire-", b"m-hil-id-wire-%d" % (WIRE_VERSION + 1)),
}


@contextmanager
def time_of(clock: Clock) -> Iterator[None]:
    """The link's time is the clock's."""
    real = link_module.time
    link_module.time = clock  # type: ignore[assignment]
    try:
        yield
    finally:
        link_module.time = real


class Campaign:
    """Faults on one firmware, one after the other.

    Attributes:
        table: how often each (fault, outcome) came.
        worst_s: the longest that a struck job took, in the line's time.
    """

    def __init__(self, elf: Path, build: str, seed: int) -> None:
        self.table: Counter[tuple[str, str]] = Counter()
        self.worst_s = 0.0
        self.injected = 0
        self._build, self._clock, self._random = build, Clock(), random.Random(seed)
        self._firmware = Lockstep(elf, self._clock)
        self._which = 0
        self._struck_by: list[Fault] = []
        with time_of(self._clock):
            self._plug()
            self._measured = tuple(self._measurement(x) for x in (0, 1, 0, 1))
            assert self._measured[:2] == self._measured[2:], "the board repeats itself"
            assert self._measured[0] != self._measured[1], "the two can be told apart"
            self._expected = {(x.name, which): self._on_a_good_line(x, which) for x in JOBS for which in (0, 1)}
            self._measurement(self._which)

    def close(self) -> None:
        self._firmware.close()

    def run(self, count: int) -> None:
        """At least `count` faults that struck."""
        while self.injected < count:
            where = f"fault {self.injected}"
            try:
                with time_of(self._clock):
                    self._one()
            except Exception as error:
                error.add_note(f"{where}, struck by {self._struck_by}")
                raise

    def lines(self) -> list[str]:
        """The outcomes as a table."""
        outcomes = sorted({x for _, x in self.table})
        kinds = sorted({x for x, _ in self.table})
        head = f"{'fault':32}" + "".join(f"{x:>16}" for x in outcomes)
        rows = [f"{x:32}" + "".join(f"{self.table[x, y]:16}" for y in outcomes) for x in kinds]
        total = f"{'all':32}" + "".join(f"{sum(self.table[x, y] for x in kinds):16}" for y in outcomes)
        return [head, *rows, total]

    def _one(self) -> None:
        draw = self._random.random()
        if draw < 0.03:
            self._meet_a_stranger()
        elif draw < 0.06:
            self._strike(self._random.choice(FULL), [], "memory full")
        else:
            job = self._random.choice(JOBS if draw < 0.97 else FULL)
            faults = [self._fault(job) for _ in range(self._random.choice((1, 1, 1, 2, 3)))]
            name = f"{faults[0].kind} {'to the board' if faults[0].sending else 'to the host'}"
            self._strike(job, faults, name if len(faults) == 1 else "several")

    def _fault(self, job: Job) -> Fault:
        sent, heard = self._expected[job.name, self._which][1] if job.refusal is None else (60, 60)
        sending = self._random.random() < 0.5
        kind = self._random.choice(LINE_FAULTS)
        return Fault(
            kind, sending,
            at=self._random.randrange(sent if sending else heard),
            amount=self._random.choice((1, 1, 1, 2, 5, 40)),
            seconds=self._random.choice((0.01, 0.3, 1.0, 2.5, 6.0, 30.0, 1000.0 if kind == "hang" else 70.0)),
            seed=self._random.randrange(1 << 30),
        )  # fmt: skip

    def _strike(self, job: Job, faults: list[Fault], name: str) -> None:
        self._struck_by = faults
        self._line.arm(*faults)
        begin_s = self._clock.monotonic()
        outcome = self._outcome(job)
        seconds = self._clock.monotonic() - begin_s
        assert seconds < BOUND_S, f"{job.name} took {seconds:.0f} s after {faults}"
        if self._line.struck or not faults:
            self.injected += max(1, self._line.struck)
            self.table[name, outcome] += 1
            self.worst_s = max(self.worst_s, seconds)
        untold = self._line.settle() - (outcome == "RestartedError")
        if self._line.unplugged:
            self._plug()
        self._usable(allowed=untold, context=f"{job.name} ended with '{outcome}' after {faults}")

    def _outcome(self, job: Job) -> str:
        try:
            outcome = job.work(self._device, self._which)
        except RefusedError as error:
            right = job.refusal is not None and job.refusal in error.message
            return "right" if right else "RefusedError"
        except DeviceError as error:
            assert len(str(error)) < 500
            return type(error).__name__
        assert job.refusal is None, f"{job.name} was not refused"
        expected = self._expected[job.name, self._which][0]
        assert outcome == expected, f"{job.name} gave {outcome!s:.300}, expected {expected!s:.300}"
        return "right"

    def _usable(self, allowed: int, context: str) -> None:
        """A whole measurement on the good line; a restart that nobody could notice before may cost one error."""
        self._which = 1 - self._which
        try:
            measured = self._measurement(self._which)
        except DeviceError as error:
            assert allowed > 0, f"not usable after {context}: {error}"
            measured = self._measurement(self._which)
        assert measured == self._measured[self._which], f"a wrong measurement after {context}"

    def _measurement(self, which: int) -> Any:
        device = self._device
        infos = device.load_plan(PLANS[which].to_bytes()), device.load_front_end(FRONT_END)
        device.set_audio(AUDIO[which])
        device.set_input(INPUTS[which])
        whole = device.run("all", 0, 1), _bytes(device.read("features")), _bytes(device.read("output"))
        alone = device.run("network", 0, 1), _bytes(device.read("output"))
        return infos, whole, alone, device.memory()

    def _on_a_good_line(self, job: Job, which: int) -> tuple[Any, tuple[int, int]]:
        """A job's value, and its bytes to and from the board."""
        self._measurement(which)
        self._line.arm()
        return job.work(self._device, which), self._line.traffic()

    def _meet_a_stranger(self) -> None:
        """At the start, or in the middle where it is no firmware of ours."""
        name = self._random.choice([*STRANGERS, *OTHERS])
        begin_s = self._clock.monotonic()
        other: Talks = Replaced(self._firmware, *OTHERS[name]) if name in OTHERS else Stranger(STRANGERS[name])
        middle = name in STRANGERS and self._random.random() < 0.5
        try:
            if middle:
                self._line.swap(other)
                job = self._random.choice(JOBS)
                job.work(self._device, self._which)
            else:
                self._open(FaultyLine(other, self._clock))
        except DeviceError as error:
            outcome = type(error).__name__
        else:
            raise AssertionError(f"{name} passed for our firmware")
        seconds = self._clock.monotonic() - begin_s
        assert seconds < BOUND_S, f"{name} kept us {seconds:.0f} s"
        self.injected += 1
        self.table[f"wrong firmware{' in the middle' if middle else ''}", outcome] += 1
        self._plug()
        self._usable(allowed=0, context=f"meeting {name}")

    def _plug(self) -> None:
        self._line = FaultyLine(self._firmware, self._clock)
        self._device = self._open(self._line)

    def _open(self, line: FaultyLine) -> Device:
        device = Device(Link(line, resync_s=OPEN_S), "native", "host")
        expect_identity(device.identify(started=True), "native", self._build)
        return device
