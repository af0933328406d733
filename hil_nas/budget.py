"""The limits a search must hold, as measured on the board."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hil_nas.errors import InputError
from hil_nas.options import option
from hil_nas.units import parse_bytes, parse_seconds, parse_share

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
        help="like 100ms, or for a search like 40ms,100ms; front end and network, a clip, or of a stream a decision",
    )  # fmt: skip
    max_load: float | None = option(
        None, flag="--max-load", parse=parse_share, metavar="SHARE", group=_GROUP,
        help="like 10%; of a stream, the core's time that decisions take",
    )  # fmt: skip

    def of_decision(self, period_s: float) -> Budget:
        """For one decision of a stream: the stricter of latency and load is its latency limit."""
        limits = [self.max_latency_s, None if self.max_load is None else self.max_load * period_s]
        return replace(self, max_latency_s=min((x for x in limits if x is not None), default=None))

    def expect_stream(self, listens: bool) -> None:
        """
        Raises:
            InputError: for a limit of load on what does not listen.
        """
        if self.max_load is not None and not listens:
            raise InputError(
                "--max-load is a share of the time between a stream's decisions, and there is no stream",
                hint="add --listen, or use --max-latency",
            )
