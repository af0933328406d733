"""What trackers share: what is sent when, and that a failing one costs no run."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.tracking.figures import Point, points

AGAIN_S = 60.0  # from a failure to the next try: each may take seconds


class Tracked(Protocol):
    """One run in a tracker."""

    def steps(self, figure: str) -> set[int]:
        """At which steps the tracker had this figure when the run was opened."""

    def send(self, point: Point) -> None: ...

    def end(self, *, finished: bool) -> None:
        """Nothing follows, in this process at least."""


class Backend(Protocol):
    """Where figures go.

    Attributes:
        name: as people know it, with its place.
        errors: what it raises where it cannot be reached or written.
    """

    name: str
    errors: tuple[type[Exception], ...]

    def expect_reachable(self) -> None:
        """
        Raises:
            InputError, OutputError: where it cannot be reached or written.
        """

    def open(self, run: Run, name: str) -> Tracked:
        """The run of this name: the one that is there, else a new one with the configuration."""


class Tracker:
    """Follows runs and sends what a backend has not got yet: of a resumed run the rest, or all where it has none."""

    def __init__(self, backend: Backend, runs_dir: Path, progress: Reporter) -> None:
        self._backend, self._runs_dir, self._progress = backend, runs_dir, progress
        self._open: dict[Path, Tracked] = {}
        self._sent: dict[Path, set[tuple[str, int]]] = {}
        self._warned, self._again_s = False, 0.0

    def grown(self, run: Run) -> None:
        """Sends what is new. What a tracker did not take is tried again later; the run's last word is always tried."""
        ended = run.path("result.json").exists()
        if not ended and time.monotonic() < self._again_s:
            return
        try:
            self._catch_up(run)
            self._again_s = 0.0
            if ended and (tracked := self._open.pop(run.folder, None)):
                tracked.end(finished=True)
        except self._backend.errors as error:
            self._failed(run, error)

    def close(self) -> None:
        """Of what is open nothing more comes: it was interrupted, or failed."""
        for tracked in self._open.values():
            with suppress(*self._backend.errors):
                tracked.end(finished=False)
        self._open.clear()

    def _catch_up(self, run: Run) -> None:
        """Sends every point whose first figure is not there; a run folder without lines is none for trackers."""
        found = [x for x in points(run) if x.figures]
        if not any(x.step for x in found):
            return
        if run.folder not in self._open:
            name = run.folder.relative_to(self._runs_dir).as_posix()
            self._open[run.folder], self._sent[run.folder] = self._backend.open(run, name), set()
        tracked, sent = self._open[run.folder], self._sent[run.folder]
        for point in found:
            first = next(iter(point.figures))
            if (first, point.step) not in sent and point.step not in tracked.steps(first):
                tracked.send(point)
            sent.add((first, point.step))

    def _failed(self, run: Run, error: Exception) -> None:
        self._open.pop(run.folder, None)  # opened again, it says what it has got after all
        self._again_s = time.monotonic() + AGAIN_S
        if not self._warned:
            self._warned = True
            note = f"{first_line(error)}; the run goes on, its folder holds every figure"
            self._progress(Progress(f"{self._backend.name} takes no figures", 0, 0, note, lasting=True))


def first_line(error: Exception) -> str:
    """What an error of a library says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
