"""Files that are written whole or not at all, and names that can be shown."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Writes beside the target and renames, so that no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def plain_name(path: str | os.PathLike[str]) -> str:
    """A path as text that is the same on every machine and that terminals, pages, JSON and hashes all take.

    Bytes that are no UTF-8 and control characters stand as `\\xe9`; an accented letter is one character (NFC), also
    where a Mac wrote it as two.
    """
    try:
        data = os.fsencode(path)
    except UnicodeEncodeError:  # text of a list or table, with more letters than this locale's names can hold
        data = os.fspath(path).encode("utf-8", "surrogateescape")
    text = unicodedata.normalize("NFC", data.decode("utf-8", "backslashreplace"))
    return "".join(f"\\x{ord(x):02x}" if unicodedata.category(x) in ("Cc", "Zl", "Zp") else x for x in text)
