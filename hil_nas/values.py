"""What people write, as values: parsers of text, all refusing in the same way."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from hil_nas.errors import InputError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Range:
    """The finite numbers that a setting may be.

    Attributes:
        least, above, most: the ends; `above` is no longer a part of it.
    """

    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf

    def holds(self, value: float) -> bool:
        return math.isfinite(value) and value > self.above and self.least <= value <= self.most

    def whole(self, text: str) -> int:
        """The text as a whole number of the range.

        Raises:
            InputError: where it is none.
        """
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not self.holds(value):
            raise InputError(f"'{_short(text)}' is not a whole number {self}")
        return value

    def number(self, text: str) -> float:
        """The text as a finite number of the range.

        Raises:
            InputError: where it is none.
        """
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not self.holds(value):
            raise InputError(f"'{_short(text)}' is not a finite number {self}")
        return value

    def __str__(self) -> str:
        if math.isfinite(self.most):
            return f"from {self.least:g} to {self.most:.15g}"
        return f"above {self.above:g}" if self.above > self.least else f"of {self.least:g} or more"


def one_of(*choices: str) -> Callable[[str], str]:
    """One of some names."""

    def parse(text: str) -> str:
        if text not in choices:
            raise InputError(none_of(text, choices))
        return text

    return parse


def none_of(text: str, choices: Iterable[str]) -> str:
    """That a name is unknown, and which was probably meant."""
    names = tuple(choices)
    close = suggestion(text, names, "names")
    return f"'{_short(text)}' is none of {', '.join(names)}{f', {close}' if 'did you mean' in close else ''}"


def suggestion(name: str, known: Iterable[str], what: str) -> str:
    """A hint for an unknown name: what it was probably meant to be, else all that is known."""
    names = tuple(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known {what}: {', '.join(names) or 'none'}"


def some_text(text: str) -> str:
    """Any text with something in it."""
    if not text.strip():
        raise InputError("it is empty")
    return text


def or_none(parse: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """`none` is that of an option that is not given."""
    return lambda text: None if text == "none" else parse(text)


def listed(parse: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Different values with commas between, at least one."""

    def read(text: str) -> tuple[Value, ...]:
        parts = [x.strip() for x in text.split(",")]
        if "" in parts:
            raise InputError(f"'{_short(text)}' has an empty item, expected A,B,...")
        values = tuple(map(parse, parts))
        twice = [part for i, part in enumerate(parts) if values[i] in values[:i]]
        if twice:
            raise InputError(f"'{_short(text)}' names {twice[0]} twice")
        return values

    return read


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
