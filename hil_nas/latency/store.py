"""The rows of measurements on disk: appended as they come, read again after an interruption.

`measurements.csv` holds the raw counts, `provenance.json` beside it what they hold for and how many they are. A
network's rows end with its total, and all of them reach the disk before the next network begins. What an interruption
left half-written has no total or no line end; it is not read, and is cut off before the next row is appended. A file
that ends before what was counted has been cut by something else. A warning says in both cases what was lost.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hil_nas.errors import CutOffWarning, InputError
from hil_nas.files import append, write_atomically, writing
from hil_nas.latency.measurements import (
    FrontEndRow,
    Measurements,
    NetworkRow,
    OperatorRow,
    count_records,
    csv_text,
    front_end_rows,
    network_rows,
    parse_measurements,
)
from hil_nas.latency.provenance import REMEDY, Provenance, header_of, read_header, read_provenance, write_header

ROWS, HEADER, LOCK = "measurements.csv", "provenance.json", ".lock"


@dataclass(frozen=True)
class Store:
    """The folder `latency_models/<BOARD@HOST>/`.

    Raises:
        InputError: for rows or a header that are damaged, or of another version.
    """

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def has_rows(self) -> bool:
        """Whether anything was measured yet."""
        return (self.folder / ROWS).is_file()

    def provenance(self) -> Provenance:
        """What the rows were measured with."""
        if not self.has_rows() and not (self.folder / HEADER).exists():
            raise InputError(f"there are no measurements in {self.folder}", hint="run `hil_nas profile` first")
        return read_provenance(self.folder / HEADER)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts no other process measures into this folder.

        Raises:
            InputError: where one does.
        """
        lock = FileLock(self.folder / LOCK, blocking=False)
        try:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except Timeout:
            message = f"another process is measuring into {self.folder}"
            raise InputError(message, hint="let it end, or name another folder with --models") from None
        try:
            yield
        finally:
            lock.release()

    def open(self, provenance: Provenance, build: str, shipped_dir: Path | None = None) -> None:
        """Make the folder ready to append, after an interruption too.

        Args:
            provenance: what is about to be measured.
            build: the firmware image; recorded with the day, neither is compared.
            shipped_dir: holds folders as this one; a new one begins with its namesake's rows, where they are of the
                same provenance.

        Raises:
            InputError: where the folder holds rows of another provenance.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        first = self._first_rows(provenance, shipped_dir)
        seen = {} if first is None else read_header(first.folder / HEADER)
        today = datetime.now(UTC).date().isoformat()
        history = {"builds": build, "days": today}
        kept = {key: list(dict.fromkeys([*seen.get(key, []), value])) for key, value in history.items()}
        if first is not None and first.folder != self.folder:
            write_header(self.folder / HEADER, header_of(provenance, **kept))
            write_atomically(self.folder / ROWS, (first.folder / ROWS).read_bytes())
        text, lost = self._whole_rows()
        if lost:
            warnings.warn(CutOffWarning(f"{lost}; measured again"), stacklevel=2)
        if self.has_rows():
            with writing(self.folder / ROWS):
                os.truncate(self.folder / ROWS, len(text.encode()))
        write_header(self.folder / HEADER, header_of(provenance, **kept, rows=count_records(text)))

    def _first_rows(self, provenance: Provenance, shipped_dir: Path | None) -> Store | None:
        """The store whose rows are continued: this one, the shipped one of this name, or None."""
        if self.has_rows() or any(self._promised().values()):
            provenance.require(self.provenance(), self.folder)
            return self
        shipped = None if shipped_dir is None else Store(shipped_dir / self.name)
        if shipped is None or not shipped.has_rows() or shipped.provenance() != provenance:
            return None
        return shipped

    def read(self) -> Measurements:
        """Every complete row; warns of those that were lost.

        Raises:
            InputError: naming the line that is damaged.
        """
        path = self.folder / ROWS
        if not path.is_file():
            raise InputError(f"there are no measurements in {self.folder}", hint="run `hil_nas profile` first")
        text, lost = self._whole_rows()
        if lost:
            warnings.warn(CutOffWarning(f"{lost}; `hil_nas profile` measures what is missing"), stacklevel=2)
        return parse_measurements(path, text)

    def append_network(self, network: NetworkRow, operators: Sequence[OperatorRow]) -> None:
        """A network's operators and, last, its total; on disk when this returns."""
        self._append(network_rows(network, operators))

    def append_front_end(self, row: FrontEndRow) -> None:
        """A front end's stages and, last, its total; on disk when this returns."""
        self._append(front_end_rows(row))

    def _append(self, rows: Sequence[dict[str, str]]) -> None:
        path = self.folder / ROWS
        text = csv_text(rows, header=not path.exists() or path.stat().st_size == 0)
        append(path, text.encode())
        header = read_header(self.folder / HEADER)
        header["rows"] = {kind: header["rows"][kind] + more for kind, more in count_records(text).items()}
        write_header(self.folder / HEADER, header)

    def _whole_rows(self) -> tuple[str, str]:
        """The text of all complete rows, and in words what was lost, empty where nothing was."""
        path = self.folder / ROWS
        text, left = _finished(path) if path.is_file() else ("", 0)
        complete = count_records(text)
        gone = [
            f"{count - complete[kind]} of {count} {kind.replace('_', ' ')}"
            for kind, count in self._promised().items()
            if count > complete[kind]
        ]
        if gone:
            return text, f"{path} was cut off: {' and '.join(gone)} are gone"
        unfinished = f"{left} {'row' if left == 1 else 'rows'} of what was being measured"
        return text, f"{path} ends in {unfinished} when it was interrupted, which count for nothing" if left else ""

    def _promised(self) -> dict[str, int]:
        """How many networks and front ends were written, as the header counts them."""
        header = read_header(self.folder / HEADER) if (self.folder / HEADER).exists() else {}
        rows: dict[str, int] = header.get("rows", count_records(""))
        return rows


def model_folder(name: str, expected: Provenance | None, models_dir: Path, shipped_dir: Path | None) -> Path:
    """The folder of a board's rows: this user's own, or those that came with the program where there are none.

    Raises:
        InputError: where the latter would be needed and do not hold here.
    """
    own = models_dir / name
    if shipped_dir is None or Store(own).has_rows() or not (shipped := Store(shipped_dir / name)).has_rows():
        return own
    if expected is not None:
        expected.require(shipped.provenance(), shipped.folder, "measure anew with `hil_nas profile`")
    return shipped.folder


def _finished(path: Path) -> tuple[str, int]:
    """The text up to the last network total or front end, and how many rows were begun behind it."""
    data = path.read_bytes()
    end = start = 0
    while (stop := data.find(b"\n", start)) >= 0:
        line = data[start : stop + 1]
        if start == 0 or line.startswith((b"network,", b"front_end,")):
            end = stop + 1
        start = stop + 1
    try:
        return data[:end].decode("utf-8"), len(data[end:].splitlines())
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", hint=REMEDY) from None
