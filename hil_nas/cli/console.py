"""What people see while a command runs: progress and one-line errors on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import time
from threading import Lock
from types import TracebackType
from typing import Any

from rich.console import Console as Rich
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hil_nas.errors import HilNasError
from hil_nas.progress import Progress as Step

_FILE_WIDTH = 200  # of tables in a pipe or a file, which have no edge to wrap at


def failure(error: HilNasError) -> dict[str, Any]:
    """What JSON says of an error."""
    return {"status": "failed", "error": type(error).__name__, "message": error.message, "hint": error.hint}


class Console:
    """Draws progress where a person watches, and a plain line now and then where a log does.

    Args:
        as_json: print one JSON object on standard output instead of text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._rich = Rich(stderr=True)
        self._progress: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._last_lines_s: dict[str, float] = {}
        self._lock = Lock()
        self._answered = False

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def step(self, step: Step) -> None:
        """A reporter for the library's long work, from any thread."""
        with self._lock:
            if step.lasting:
                self._line(f"{step.task}: {step.note}")
            elif self._rich.is_terminal:
                self._draw(step)
            else:
                self._log(step)

    def result(self, data: dict[str, Any], text: RenderableType) -> None:
        """The outcome: JSON, or text and tables for a person."""
        self._stop()
        self._answered = True
        if self.as_json:
            sys.stdout.write(json.dumps(data, default=str) + "\n")
        else:
            console = Rich()
            if not console.is_terminal:
                console = Rich(width=max(console.width, _FILE_WIDTH))
            console.print(text)

    def say(self, text: str) -> None:
        self._rich.print(text, highlight=False)

    def error(self, error: HilNasError) -> None:
        self._stop()
        self.tell(error)
        if self.as_json and not self._answered:  # one object: a result that missed a limit says so itself
            sys.stdout.write(json.dumps(failure(error)) + "\n")

    def tell(self, error: HilNasError, of: str = "") -> None:
        """An error on standard error; `of` says of which board, where there are several."""
        sys.stderr.write(f"hil_nas: {of}{error.message}\n")
        if error.hint:
            sys.stderr.write(f"         {error.hint}\n")

    def interrupted(self, resumable: bool) -> None:
        self._stop()
        hint = "the same command with --resume goes on from the last epoch" if resumable else None
        sys.stderr.write(f"hil_nas: interrupted{f'; {hint}' if hint else ''}\n")
        if self.as_json and not self._answered:
            sys.stdout.write(json.dumps({"status": "interrupted", "hint": hint}) + "\n")

    def _draw(self, step: Step) -> None:
        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            note = TextColumn("{task.fields[note]}", markup=False)  # it may name a file
            self._progress = Progress(*columns, note, console=self._rich)
            self._progress.start()
        if step.task not in self._tasks:
            self._tasks[step.task] = self._progress.add_task(step.task, total=step.total or None, note="")
        self._progress.update(self._tasks[step.task], completed=step.done, total=step.total or None, note=step.note)

    def _log(self, step: Step) -> None:
        now = time.monotonic()
        if step.task in self._last_lines_s and step.done < step.total and now - self._last_lines_s[step.task] < 10.0:
            return
        self._last_lines_s[step.task] = now
        counted = f" {step.done}/{step.total}" if step.total else ""
        self._line(f"{step.task}{counted}  {step.note}".rstrip())

    def _line(self, text: str) -> None:
        self._rich.print(text, markup=False, highlight=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks = {}
