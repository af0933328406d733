"""Files that are written whole or not at all, names that can be shown, and what is said where the system refuses."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hil_nas.errors import OutputError

# What a disk, its rights or its limits do to any program; anything else that a file does is a bug of ours.
_REMEDIES = {
    errno.ENOSPC: "free some space, then try again",
    errno.EDQUOT: "free some space, then try again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "name a folder that can be written",
    errno.EACCES: "name a folder that this user may write",
    errno.EPERM: "name a folder that this user may write",
    errno.ENOTDIR: "name a folder; a file stands there",
    errno.EEXIST: "name a folder; a file stands there",
    errno.EISDIR: "move that folder away",
    errno.ENAMETOOLONG: "name something shorter",
    errno.EIO: "look at the disk",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the limit on open files (ulimit -n)",
}


def refused(error: OSError, written: Path | None = None) -> OutputError | None:
    """What the system refused, in one line; None where that is no matter of disks, rights or limits.

    Args:
        written: what was to be written; None where only the error knows which file it was.
    """
    if "No usable temporary directory" in str(error):  # tempfile's way to say that all disks are full
        return OutputError(str(error.strerror), hint=_REMEDIES[errno.ENOSPC])
    if error.errno not in _REMEDIES:
        return None
    name = f"cannot write {written}" if written else str(error.filename or "a file")
    return OutputError(f"{name}: {error.strerror}", hint=_REMEDIES[error.errno])


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """
    Raises:
        OutputError: where the system refuses what is done to the path inside.
    """
    try:
        yield
    except OSError as error:
        refusal = refused(error, path)
        if refusal is None:
            raise
        raise refusal from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside the path, to be written; it takes the path's name once it is complete, or is gone.

    Raises:
        OutputError: where the system refuses; what stood there before still does.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to be made, in an empty one beside the path; it takes the path's name once it is complete, or is gone.

    Raises:
        OutputError: where the system refuses.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as beside:
            whole = Path(beside) / path.name
            yield whole
            os.replace(whole, path)


def write_atomically(path: Path, data: bytes) -> None:
    """A file that no reader ever sees half of.

    Raises:
        OutputError: as `whole_file`.
    """
    with whole_file(path) as beside:
        beside.write_bytes(data)


def append(path: Path, data: bytes) -> None:
    """Adds to a file, all or nothing; on disk when this returns.

    Raises:
        OutputError: where the system refuses; the file is as it was.
    """
    with writing(path), path.open("ab", buffering=0) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        try:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(size_bytes)
            raise


def require_writable(folder: Path) -> None:
    """Looks, without writing, whether a folder can be made and written: better before long work than behind it.

    Raises:
        OutputError: where it cannot.
    """
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"cannot write in {folder}: {existing} is no folder", hint=_REMEDIES[errno.ENOTDIR])
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in {folder}: {existing} is read-only here", hint=_REMEDIES[errno.EROFS])


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
