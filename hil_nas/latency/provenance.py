"""What measurements hold for, and provenance.json, which says so beside them and counts them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hil_nas.errors import InputError
from hil_nas.files import write_atomically
from hil_nas.latency.measurements import count_records

SCHEMA, VERSION = "hil_nas.measurements", 3
REMEDY = "restore it, or move its folder away and measure anew with `hil_nas profile`"


@dataclass(frozen=True)
class Provenance:
    """What a measurement holds for; two that differ in any of these are never mixed.

    Attributes:
        clock: `silicon`, `modelled` or `instructions`.
        kernels: a hash of the measured code, its compiler and flags (not of the whole image).
        versions: kernel libraries and compiler, as the device names them.
        weights: where a plan's constants lie, `flash` or `ram`.
    """

    board: str
    host: str
    clock: str
    cpu_hz: int
    engine: str
    kernels: str
    versions: str
    weights: str

    def require(self, other: Provenance, folder: Path, hint: str | None = None) -> None:
        """Refuse rows of a folder that do not hold here.

        Args:
            hint: what to do, where it is not to move that folder away.

        Raises:
            InputError: naming the first difference, both sides of it.
        """
        names = [x.name for x in fields(self)]
        for key in sorted(names, key=lambda x: x == "kernels"):  # last: a hash does not say what differs
            here, there = getattr(self, key), getattr(other, key)
            if here != there:
                hint = hint or f"move {folder} away and measure anew with `hil_nas profile`"
                raise InputError(f"{folder.name} was measured with {key} '{there}', this is '{here}'", hint=hint)


def header_of(provenance: Provenance, **history: Any) -> dict[str, Any]:
    """What provenance.json holds: what is compared, and the builds, days and counts beside it."""
    return {"schema": SCHEMA, "version": VERSION, "provenance": asdict(provenance), **history}


def read_header(path: Path) -> dict[str, Any]:
    """What a provenance.json holds; its `rows` are counts, zeros where it does not count.

    Raises:
        InputError: where it is missing, damaged, or of another version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing", hint=REMEDY) from None
    except ValueError:
        raise InputError(f"{path} is not JSON", hint=REMEDY) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path} is not '{SCHEMA}'", hint=REMEDY)
    if data.get("version") != VERSION:
        raise InputError(f"{path} is of version {data.get('version')}, expected {VERSION}", hint=REMEDY)
    if not isinstance(data.get("provenance"), dict):
        raise _nameless(path)
    none = count_records("")
    rows = data.get("rows", none)
    if not isinstance(rows, dict) or rows.keys() != none.keys() or {type(x) for x in rows.values()} != {int}:
        raise InputError(f"{path} counts {rows}, expected numbers of {' and '.join(none)}", hint=REMEDY)
    return {**data, "rows": rows}


def read_provenance(path: Path) -> Provenance:
    """What a provenance.json says that the rows beside it hold for.

    Raises:
        InputError: as of `read_header`, and where it does not say all of that.
    """
    try:
        return Provenance(**read_header(path)["provenance"])
    except TypeError:
        raise _nameless(path) from None


def write_header(path: Path, header: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(header, indent=2) + "\n").encode())


def _nameless(path: Path) -> InputError:
    return InputError(f"{path} does not name {', '.join(x.name for x in fields(Provenance))}")
