"""Front ends: from a clip of audio to the int8 features that a network reads.

Each kind is a package of its own here and a C source in `boards/src/front_ends/`. A front end goes by its name
everywhere, `mfcc:400/200/40/13`: on the command line, in files, on the wire and in reports.
"""

from __future__ import annotations

from collections.abc import Sequence

from hil_nas.errors import InputError
from hil_nas.front_ends.base import ONE_SECOND, ClipFormat, Counts, FrontEnd
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mfcc import Mfcc, clip_grid, paper_grid, search_grid

__all__ = [
    "KINDS", "ONE_SECOND", "WRITTEN", "ClipFormat", "Counts", "FrontEnd", "clip_grid", "paper_grid",
    "parse_front_end", "search_grid", "transforms",
]  # fmt: skip

KINDS: dict[str, type[FrontEnd]] = {x.kind: x for x in (Mfcc, LogMel)}
_USUAL = Mfcc.kind
WRITTEN = " or ".join(f"{x.kind}:{x.numbers}" for x in KINDS.values())
"""How front ends are written, for people."""


def parse_front_end(text: str) -> FrontEnd:
    """A front end by its name; numbers alone are an MFCC's.

    Raises:
        InputError: for an unknown kind, and for numbers that it does not have.
    """
    kind, colon, numbers = text.strip().rpartition(":")
    if colon and kind not in KINDS:
        raise InputError(f"'{text}' is of no known kind of front end", hint=f"write {WRITTEN}")
    return KINDS[kind or _USUAL].parse(numbers)


def transforms(front_ends: Sequence[FrontEnd]) -> tuple[FrontEnd, ...]:
    """The front ends without those whose features are the first columns of another's, in their order."""
    most: dict[FrontEnd, FrontEnd] = {}
    for x in front_ends:
        most[x.transform] = max(most.get(x.transform, x), x, key=lambda y: y.columns)
    return tuple(most.values())
