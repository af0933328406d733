"""Sizes and times as people write them: `256k`, `1.5M`, `50ms`, `0.1s`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil, inf
from typing import Any

from hil_nas.errors import InputError

_BYTES = {
    **dict.fromkeys(("b", "byte", "bytes"), 1), **dict.fromkeys(("k", "kb", "ki", "kib"), 1024),
    **dict.fromkeys(("m", "mb", "mi", "mib"), 1024**2),
}  # fmt: skip
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_NUMBER = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$")


def parse_bytes(text: str) -> int:
    """`256k`, `256KiB`, `2M` or `4096B` as bytes; k and M are 1024 and 1024**2; the unit is required.

    Raises:
        InputError: for anything else, less than a byte included.
    """
    match = _NUMBER.match(text.lower())
    size_bytes = float(match.group(1)) * _BYTES.get(match.group(2), 0) if match else 0.0
    if not 1 <= size_bytes < inf:
        raise InputError(f"'{text}' is not a size", hint="write it with its unit, like 256k, 2M or 4096B")
    return int(size_bytes)


def parse_seconds(text: str) -> float:
    """`50ms`, `0.1s` or `800us` as seconds; the unit is required.

    Raises:
        InputError: for anything else, zero included.
    """
    match = _NUMBER.match(text.lower())
    seconds = float(match.group(1)) * _SECONDS[match.group(2)] if match and match.group(2) in _SECONDS else 0.0
    if not 0 < seconds < inf:
        raise InputError(f"'{text}' is not a time", hint="write it with its unit, like 50ms or 0.1s")
    return seconds


def parse_share(text: str) -> float:
    """`10%` as 0.1.

    Raises:
        InputError: for anything else, nothing and more than all included.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    share = float(match.group(1)) / 100 if match else 0.0
    if not 0 < share <= 1:
        raise InputError(f"'{text}' is not a share", hint="write percent of the whole, like 10%")
    return share


def format_bytes(size_bytes: int) -> str:
    """12,345 bytes as `12.1 KiB`; below 1 KiB as bytes."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024**2:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 1024**2:.2f} MiB"


def format_bytes_like(size_bytes: float, limit_bytes: float) -> str:
    """A size in the unit in which a limit was written (`41.6k` for `20k`), rounded up: to ask for it is enough."""
    for name, unit, decimals in (("M", 1024**2, 2), ("k", 1024, 1)):
        if limit_bytes >= unit and int(round(limit_bytes / unit, 2) * unit) == limit_bytes:
            return f"{_up(size_bytes / unit, decimals)}{name}"
    return f"{ceil(size_bytes):,} bytes"


def format_seconds_like(seconds: float, limit_s: float) -> str:
    """A time in the unit in which a limit was written (`27.35ms` for `10ms`), rounded up: to ask for it is enough."""
    for name, unit, decimals in (("s", 1.0, 3), ("ms", 1e-3, 2)):
        if limit_s >= unit:
            return f"{_up(seconds / unit, decimals)}{name}"
    return f"{_up(seconds * 1e6, 1)}us"


def _up(value: float, decimals: int) -> str:
    scale = 10**decimals
    return f"{ceil(value * scale * (1 - 1e-12)) / scale:.{decimals}f}".rstrip("0").rstrip(".")


def format_latency(latency_ms: float, error_percent: float | None) -> str:
    """83.4 ms as `83.40 ms`, of a modelled clock as `83.40 ms ± 5 %`: what its counts may be off silicon's by."""
    return f"{latency_ms:.2f} ms" + ("" if error_percent is None else f" ± {error_percent:g} %")


def clock_name(clock: Mapping[str, Any]) -> str:
    """`silicon clock`, or `modelled clock, ± 5 %`."""
    error_percent = clock["error_percent"]
    return f"{clock['kind']} clock" + ("" if error_percent is None else f", ± {error_percent:g} %")


def count_unit(clock_kind: str) -> str:
    """What a count of this clock is: instructions are no time and never called cycles."""
    return "instructions" if clock_kind == "instructions" else "cycles"
