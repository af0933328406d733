"""How long work reports its progress: the library calls a reporter, only `cli` draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of something long.

    Attributes:
        task: what is being done, in a few words; a new task begins with its first step.
        done: steps done so far.
        total: steps in all, 0 where that is not known.
        note: figures of the moment, such as a loss.
        lasting: whether the note is to stay in sight, as a warning is.
    """

    task: str
    done: int
    total: int
    note: str = ""
    lasting: bool = False


Reporter = Callable[[Progress], None]  # an argument of this type is called `progress` everywhere


def silent(step: Progress) -> None:
    """A reporter that says nothing."""
