"""The limits a search must hold, as measured on the board."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """None means that the board's own size is the limit (RAM, flash) or that there is none (latency)."""

    max_ram_bytes: int | None = None
    max_flash_bytes: int | None = None
    max_latency_s: float | None = None
