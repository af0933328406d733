"""What the records of each command mean: verified texts to frozen dataclasses, without any I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hil_nas.device.boards import Power
from hil_nas.device.protocol import shown
from hil_nas.errors import ProtocolError

WIRE_VERSION = 5
Where = Literal["ram", "flash"]
What = Literal["network", "step", "frontend", "all"]
ClockKind = Literal["silicon", "modelled", "instructions", "host"]
IDENTITY_NAMES = ("board", "clock", "engine", "build", "kernels", "wire", "pool", "store", "input", "versions")
NUMBER = r"(0|[1-9][0-9]{0,9})"  # one spelling per number, so that nothing damaged reads as another


@dataclass(frozen=True)
class Identity:
    """What answers, and what its cycle counts are.

    Attributes:
        board: the board's folder name.
        clock_hz: of the cycle counter; with `clock_kind` 'instructions' a count is no time.
        clock_kind: silicon (DWT), modelled (virtual board), instructions (QEMU, Renode), host (native).
        clock_error_percent: of a modelled clock: how far its counts may lie from silicon's; else None.
        engine, build: what runs the network, and the id of the linked image.
        kernels: id of the code that is measured, which an edit elsewhere in the image leaves as it is.
        versions: kernel libraries and compiler, separated by ';'.
        host: where the firmware runs.
        power: published for the board; None where nobody did.
        pool_bytes: RAM for the arena, and for what else is loaded: features and scratch of a front end, tables and
            plans that are put there.
        store_bytes: flash for a plan.
        input_bytes: the largest input of a network.
    """

    board: str
    clock_hz: int
    clock_kind: ClockKind
    engine: str
    build: str
    kernels: str
    versions: str
    host: str
    pool_bytes: int
    store_bytes: int
    input_bytes: int
    clock_error_percent: float | None = None
    power: Power | None = None

    @property
    def clock(self) -> dict[str, str | int | float | None]:
        """What a count is, as results say it: its kind, its rate, and what a modelled one may be off by."""
        return {"kind": self.clock_kind, "hz": self.clock_hz, "error_percent": self.clock_error_percent}


@dataclass(frozen=True)
class PlanInfo:
    """A plan as the board has checked it."""

    op_count: int
    arena_bytes: int
    input_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class FrontEndInfo:
    """A front end as the board has checked it, its kind as names begin; its output is int8 (frames, columns)."""

    kind: str
    frames: int
    columns: int
    scratch_bytes: int


@dataclass(frozen=True)
class MemoryUse:
    """Memory in use, line by line, in bytes.

    Attributes:
        stack_bytes: the deepest that the painted stack was written.
        static_bytes: .data and .bss without the pool.
        image_bytes: code, constants and initial data in flash.
        front_end_tables_where, plan_where: where the uploaded blobs lie.
        listen_bytes: of a stream's own memory; 0 where nothing was loaded to listen by.
    """

    arena_bytes: int
    front_end_scratch_bytes: int
    front_end_tables_bytes: int
    front_end_tables_where: Where
    plan_bytes: int
    plan_where: Where
    audio_bytes: int
    listen_bytes: int
    io_bytes: int
    static_bytes: int
    stack_bytes: int
    image_bytes: int

    @property
    def ram_bytes(self) -> int:
        """All RAM that the product needs."""
        always = self.static_bytes + self.stack_bytes + self.arena_bytes + self.front_end_scratch_bytes
        return always + self.audio_bytes + self.listen_bytes + self.io_bytes + self._uploaded_bytes("ram")

    @property
    def flash_bytes(self) -> int:
        """All flash that the product needs."""
        return self.image_bytes + self._uploaded_bytes("flash")

    def _uploaded_bytes(self, where: Where) -> int:
        tables = self.front_end_tables_bytes if self.front_end_tables_where == where else 0
        return tables + (self.plan_bytes if self.plan_where == where else 0)


def parse_identity(
    records: Sequence[str],
    host: str,
    clock_kind: ClockKind,
    clock_error_percent: float | None = None,
    power: Power | None = None,
) -> Identity:
    """The records of `hil id`.

    Raises:
        ProtocolError: for missing, doubled or unknown lines, and for another version of the wire.
    """
    values = _by_name(records, re.compile(r"id-([a-z]+)-(.+)"))
    wire = values.get("wire", str(WIRE_VERSION))
    if wire != str(WIRE_VERSION):  # first: other versions have other lines
        raise ProtocolError(
            f"the board speaks version {shown(wire)} of the wire, expected {WIRE_VERSION}",
            hint="flash the firmware that belongs to this version of hil_nas",
        )
    _expect_names(values, IDENTITY_NAMES)
    return Identity(
        board=values["board"],
        clock_hz=_number(values["clock"], "clock"),
        clock_kind=clock_kind,
        engine=values["engine"],
        build=values["build"],
        kernels=values["kernels"],
        versions=values["versions"],
        host=host,
        pool_bytes=_number(values["pool"], "pool"),
        store_bytes=_number(values["store"], "store"),
        input_bytes=_number(values["input"], "input"),
        clock_error_percent=clock_error_percent,
        power=power,
    )


def parse_plan(records: Sequence[str]) -> PlanInfo:
    """The record of `hil load plan`.

    Raises:
        ProtocolError: where it is another one.
    """
    return PlanInfo(*_numbers(records, "plan", 4))


def parse_front_end(records: Sequence[str]) -> FrontEndInfo:
    """The record of `hil load frontend`.

    Raises:
        ProtocolError: where it is another one.
    """
    match = re.fullmatch(r"frontend-([a-z0-9_]+)" + 3 * f"-{NUMBER}", records[0]) if len(records) == 1 else None
    if match is None:
        raise ProtocolError(f"expected 'frontend' with a kind and 3 numbers, found {shown(repr(records))}")
    return FrontEndInfo(match[1], *map(int, match.groups()[1:]))


def parse_loaded(records: Sequence[str]) -> int:
    """Bytes in the slot after `hil load audio` or `hil load input`.

    Raises:
        ProtocolError: where it is another record.
    """
    return _numbers(records, "loaded", 1)[0]


def parse_listen(records: Sequence[str]) -> int:
    """Bytes of a stream's own memory after `hil load listen`.

    Raises:
        ProtocolError: where it is another record.
    """
    return _numbers(records, "listen", 1)[0]


def parse_data(records: Sequence[str]) -> bytes:
    """The bytes of `hil read`.

    Raises:
        ProtocolError: where a piece is missing, doubled or out of order.
    """
    data = bytearray()
    for text in records:
        match = re.fullmatch(rf"data-{NUMBER}-((?:[0-9a-f][0-9a-f]){{1,64}})", text)
        if match is None or int(match.group(1)) != len(data):
            raise ProtocolError(f"expected the data from byte {len(data)} on, found {shown(text)}")
        data += bytes.fromhex(match.group(2))
    return bytes(data)


def parse_memory(records: Sequence[str]) -> MemoryUse:
    """The records of `hil memory`.

    Raises:
        ProtocolError: for missing, doubled or unknown lines.
    """
    values = _by_name(records, re.compile(r"memory-([a-z_]+)-(.+)"))
    plain = ("arena", "frontend_scratch", "audio", "listen", "io", "static", "stack", "image")
    _expect_names(values, (*plain, "frontend_tables", "plan"))
    sizes = {name: _number(values[name], name) for name in plain}
    tables_bytes, tables_where = _placed(values["frontend_tables"])
    plan_bytes, plan_where = _placed(values["plan"])
    return MemoryUse(
        arena_bytes=sizes["arena"],
        front_end_scratch_bytes=sizes["frontend_scratch"],
        front_end_tables_bytes=tables_bytes,
        front_end_tables_where=tables_where,
        plan_bytes=plan_bytes,
        plan_where=plan_where,
        audio_bytes=sizes["audio"],
        listen_bytes=sizes["listen"],
        io_bytes=sizes["io"],
        static_bytes=sizes["static"],
        stack_bytes=sizes["stack"],
        image_bytes=sizes["image"],
    )


def expect_nothing(records: Sequence[str]) -> None:
    """For commands that only end.

    Raises:
        ProtocolError: where there is a record.
    """
    if records:
        raise ProtocolError(f"expected no record, found {shown(records[0])}")


def _by_name(records: Sequence[str], pattern: re.Pattern[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in records:
        match = pattern.fullmatch(text)
        if match is None or match.group(1) in values:
            raise ProtocolError(f"found {shown(text)}, which is unknown or came twice")
        values[match.group(1)] = match.group(2)
    return values


def _expect_names(values: dict[str, str], names: Sequence[str]) -> None:
    missing, unknown = set(names) - set(values), set(values) - set(names)
    if missing or unknown:
        raise ProtocolError(f"lines missing: {sorted(missing)}, unknown: {sorted(unknown)}")


def _placed(text: str) -> tuple[int, Where]:
    size, _, where = text.rpartition("-")
    for known in ("ram", "flash"):
        if where == known:
            return _number(size, "size"), known
    raise ProtocolError(f"expected BYTES-ram or BYTES-flash, found {shown(text)}")


def _numbers(records: Sequence[str], name: str, count: int) -> list[int]:
    match = re.fullmatch(name + count * f"-{NUMBER}", records[0]) if len(records) == 1 else None
    if match is None:
        raise ProtocolError(f"expected '{name}' with {count} numbers, found {shown(repr(records))}")
    return [int(x) for x in match.groups()]


def _number(text: str, what: str) -> int:
    if not re.fullmatch(NUMBER, text):
        raise ProtocolError(f"expected a number for the {what}, found {shown(text)}")
    return int(text)
