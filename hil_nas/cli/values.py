"""What people type, as values: every option is checked here, in one way, before a command begins."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

from hil_nas import units
from hil_nas.errors import HilNasError
from hil_nas.front_ends import FrontEnd, parse_front_end
from hil_nas.target import BoardTarget
from hil_nas.values import suggestion

Value = TypeVar("Value")
MOST_EPOCHS = 10_000
MOST_SEED = 2**32 - 1


def integer(least: int, most: int) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{_short(text)}' is not a whole number from {least} to {most}")
        return value

    return parse


seed = integer(0, MOST_SEED)


def number(*, least: float = -math.inf, above: float = -math.inf) -> Callable[[str], float]:
    """A finite number, `least` or more, above `above`."""
    wanted = f"above {above:g}" if above > least else f"of {least:g} or more"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least and value > above):
            raise argparse.ArgumentTypeError(f"'{_short(text)}' is not a finite number {wanted}")
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of some names; for a list of them, where argparse's own choices are of no use."""

    def parse(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(none_of(text, choices))
        return text

    return parse


def none_of(text: str, choices: tuple[str, ...]) -> str:
    """That a name is unknown, and which was probably meant."""
    close = suggestion(text, choices, "names")
    return f"'{_short(text)}' is none of {', '.join(choices)}{f', {close}' if 'did you mean' in close else ''}"


def name(text: str) -> str:
    """Any text with something in it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def size(text: str) -> int:
    """Bytes, as `units.parse_bytes` reads them."""
    return _checked(units.parse_bytes, text)


def time(text: str) -> float:
    """Seconds, as `units.parse_seconds` reads them."""
    return _checked(units.parse_seconds, text)


def board(text: str) -> str:
    """BOARD or BOARD@HOST, in its usual spelling; whether there is such a board is not asked here."""
    return str(_checked(BoardTarget.parse, text))


def address(text: str) -> str:
    """HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"'{_short(text)}' is no HOST:PORT")
    integer(1, 65535)(port)
    return text


def or_none(parse: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """`none` is that of an option that is not given."""
    return lambda text: None if text == "none" else parse(text)


def listed(parse: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Different values with commas between, at least one."""

    def read(text: str) -> tuple[Value, ...]:
        parts = [x.strip() for x in text.split(",")]
        if "" in parts:
            raise argparse.ArgumentTypeError(f"'{_short(text)}' has an empty item, expected A,B,...")
        values = tuple(map(parse, parts))
        twice = [part for i, part in enumerate(parts) if values[i] in values[:i]]
        if twice:
            raise argparse.ArgumentTypeError(f"'{_short(text)}' names {twice[0]} twice")
        return values

    return read


words = listed(str)


def grid(text: str) -> tuple[FrontEnd, ...]:
    """Front ends; none of them for `continuous`."""
    return () if text == "continuous" else listed(lambda x: _checked(parse_front_end, x))(text)


def _checked(parse: Callable[[str], Value], text: str) -> Value:
    try:
        return parse(text)
    except HilNasError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
