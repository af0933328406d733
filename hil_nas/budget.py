"""The limits a search must hold, as measured on the board."""

from __future__ import annotations

from dataclasses import dataclass

from hil_nas.options import option
from hil_nas.units import parse_bytes, parse_seconds

_GROUP = "limits, as measured on the board"


@dataclass(frozen=True)
class Budget:
    """None means that the board's own size is the limit (RAM, flash) or that there is none (latency)."""

    max_ram_bytes: int | None = option(
        None, flag="--max-ram", parse=parse_bytes, metavar="SIZE", group=_GROUP,
        help="like 256k; all RAM in use: arena, audio, firmware, stack",
    )  # fmt: skip
    max_flash_bytes: int | None = option(
        None, flag="--max-flash", parse=parse_bytes, metavar="SIZE", group=_GROUP,
        help="like 512k; the firmware with network and tables",
    )  # fmt: skip
    max_latency_s: float | None = option(
        None, flag="--max-latency", parse=parse_seconds, metavar="TIME", group=_GROUP,
        help="like 100ms; front end and network, one clip",
    )  # fmt: skip
