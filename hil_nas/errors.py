"""The error tree. Every message says what was found and what was expected; the hint says what to do.

    HilNasError
    ├── UsageError            the command line asks for something that makes no sense
    ├── InputError            a file, option or value from outside is not what it must be
    │   └── UnsupportedError  a model holds something that is not lowered, by name
    ├── OutputError           a file or folder cannot be written: disk, rights or limits
    ├── MissingToolError      a compiler, package or program is not installed
    ├── BuildError            the firmware or the host library did not build
    ├── InfeasibleError       no network holds the limits; the message names the nearest
    ├── DivergedError         a loss left the finite numbers; the training or search ended there
    ├── OutOfRangeError       a latency model was asked outside what it was fitted on
    ├── LimitsMissedError     the finished network broke a limit or a bit on the board
    ├── RunError              a run folder is of another version, incomplete or damaged
    └── DeviceError           something between here and the board
        ├── IdentityError     another board or build answers than the one that was asked for
        ├── LinkError         silence, a closed port, a device that went away
        ├── ProtocolError     an answer that is not what the protocol allows
        └── RefusedError      the device said no, in its own words
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


class HilNasError(Exception):
    """Base of all errors that a person can act on.

    Args:
        message: what was found and what was expected, in one line.
        hint: what to do about it, in one line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(HilNasError):
    """The command line asks for something that makes no sense; nothing has begun."""


class InputError(HilNasError):
    """A file, an option or a value from outside is not what it must be."""


class UnsupportedError(InputError):
    """A model holds an operator, type or shape that is not lowered; the message names it."""


class OutputError(HilNasError):
    """A file or folder cannot be written: the disk is full, the user may not, or something stands in its place."""


class MissingToolError(HilNasError):
    """A compiler, package or program is not installed; the hint says how to get it."""


class BuildError(HilNasError):
    """The firmware or the host library did not build."""


class InfeasibleError(HilNasError):
    """No network in the space holds the limits; the message names the nearest one."""


class DivergedError(HilNasError):
    """A loss left the finite numbers, so the training or search that it steered was ended."""


class OutOfRangeError(HilNasError):
    """A latency model was asked for something outside the range it was fitted on."""


class LimitsMissedError(HilNasError):
    """The finished network broke a limit, or its bits differ from the host's."""


class RunError(HilNasError):
    """A run folder is of another version, incomplete or damaged."""


class DeviceError(HilNasError):
    """Something between here and the board."""


class IdentityError(DeviceError):
    """Another board or build answers than the one that was asked for: waiting does not help."""


class LinkError(DeviceError):
    """Silence, a closed port, or a device that went away."""


class ProtocolError(DeviceError):
    """An answer that the protocol does not allow: garbled, doubled, dropped or of another command."""


class RefusedError(DeviceError):
    """The device refused a command; the message holds its own words."""


class CutOffWarning(UserWarning):
    """A file ends before what was written to it; the work goes on with what is there."""


@contextmanager
def naming(path: str | os.PathLike[str], kind: type[HilNasError]) -> Iterator[None]:
    """Puts a file's name before what is wrong with it, where errors inside are of this kind."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{os.fspath(path)}: {error.message}", hint=error.hint) from None
