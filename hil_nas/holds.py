"""Folders that a process is at work in, so that no other one goes on with them or takes them away."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

_TRIES, _PAUSE_S = 20, 0.01  # whoever only looks holds a folder for less than that


class Hold:
    """A folder marked as this process's own, until nothing refers to the mark any more or the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


_ours: WeakValueDictionary[tuple[int, int], Hold] = WeakValueDictionary()  # by device and number of the folder


def hold(folder: Path) -> Hold | None:
    """Marks a folder; None where another process has. Within a process a folder has one mark, however often it is held.

    A file system that knows no locks marks nothing and lets everybody in.
    """
    for _ in range(_TRIES):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        number = _number(descriptor)
        if (ours := _ours.get(number)) is not None:
            os.close(descriptor)
            return ours
        if _locked(descriptor, fcntl.LOCK_EX):
            _ours[number] = mark = Hold(descriptor)
            return mark
        os.close(descriptor)
        time.sleep(_PAUSE_S)
    return None


def held_elsewhere(folder: Path) -> bool:
    """Whether another process has marked the folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _number(descriptor) not in _ours and not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _number(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
    return True
