"""What people see while a command runs: progress and one-line errors on standard error, results on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console as Rich
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hil_nas.errors import CutOffWarning, HilNasError, OutputError
from hil_nas.progress import Progress as Step

_FILE_WIDTH = 200  # of tables in a pipe or a file, which have no edge to wrap at


class _Rich(Rich):
    """Rich's console, but for its habit of ending the program when the reader of its output has gone."""

    def on_broken_pipe(self) -> None:
        raise


@contextmanager
def standard_output() -> Iterator[None]:
    """Whatever is printed inside has reached its reader. After an error nothing more is written, not even at the exit.

    Raises:
        OutputError: where it cannot be written.
    """
    try:
        yield
        if sys.stdout is not None:  # closed before the program began
            sys.stdout.flush()
    except OSError as error:
        _drop(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"cannot write to standard output: {error.strerror}") from None


def _drop(stream: TextIO) -> None:
    """Discards what is left in the buffer: Python would try to write it again as it ends, and complain."""
    with suppress(OSError):  # not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _standard_error() -> Iterator[None]:
    """Whatever is printed inside is lost where standard error cannot be written; the command goes on."""
    try:
        yield
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _say_plainly(text: str) -> None:
    with _standard_error():
        if sys.stderr is not None:
            sys.stderr.write(f"{text}\n")


def failure(error: HilNasError) -> dict[str, Any]:
    """An error as JSON shows it."""
    return {"status": "failed", "error": type(error).__name__, "message": error.message, "hint": error.hint}


class Console:
    """Draws progress where a person watches, and a plain line now and then where a log does.

    Args:
        as_json: print one JSON object on standard output instead of text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._rich = _Rich(stderr=True)
        self._progress: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._last_lines_s: dict[str, float] = {}
        self._begun: dict[str, tuple[float, int]] = {}  # when a task was first seen, and how far it was
        self._done: dict[str, int] = {}  # how far it was last; one that falls back has begun anew
        self._lock = Lock()
        self._answered = False
        self._warned: set[str] = set()
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Console:
        self._warnings.__enter__()
        warnings.simplefilter("always", CutOffWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is CutOffWarning:
                self.warn(str(message))
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._warnings.__exit__(kind, error, trace)

    def step(self, step: Step) -> None:
        """A reporter for the library's long work, from any thread."""
        with self._lock, _standard_error():
            if step.lasting:
                self.say(f"{step.task}: {step.note}")
            elif self._rich.is_terminal:
                self._draw(step)
            else:
                self._log(step)

    def result(self, data: dict[str, Any], text: RenderableType) -> None:
        """The outcome: JSON, or text and tables for a person.

        Raises:
            OutputError: where standard output cannot be written; that its reader has gone is no error.
        """
        self._stop()
        self._answered = True
        with standard_output():
            if self.as_json:
                print(json.dumps(data, default=str))
                return
            console = _Rich()
            if not console.is_terminal:
                console = _Rich(width=max(console.width, _FILE_WIDTH))
            console.print(text)

    def say(self, text: str) -> None:
        with _standard_error():
            self._rich.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A warning on standard error, printed once however often it occurs."""
        with self._lock:
            if text not in self._warned:
                self._warned.add(text)
                self.say(f"hil_nas: {text}")

    def error(self, error: HilNasError) -> None:
        self._stop()
        self.tell(error)
        self._fail(failure(error))

    def tell(self, error: HilNasError, of: str = "") -> None:
        """An error on standard error; `of` names the board where there are several."""
        _say_plainly(f"hil_nas: {of}{error.message}")
        if error.hint:
            _say_plainly(f"         {error.hint}")

    def interrupted(self, resume: str | None) -> None:
        """
        Args:
            resume: the command that goes on with what was interrupted, if there is one.
        """
        self._stop()
        hint = f"to go on from its last epoch: {resume}" if resume else None
        _say_plainly("hil_nas: interrupted")
        if hint:
            _say_plainly(f"         {hint}")
        self._fail({"status": "interrupted", "hint": hint})

    def _fail(self, message: dict[str, Any]) -> None:
        """Prints the object of a command that printed no result: a result that missed a limit says so itself."""
        if self.as_json and not self._answered:
            with suppress(OutputError), standard_output():  # standard error has it
                print(json.dumps(message))

    def _draw(self, step: Step) -> None:
        if self._progress is None:
            # What is done and its note may name files.
            task, note = (TextColumn(x, markup=False) for x in ("{task.description}", "{task.fields[note]}"))
            columns = (task, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note)
            self._progress = Progress(*columns, console=self._rich)
            self._progress.start()
        if step.task not in self._tasks:
            self._tasks[step.task] = self._progress.add_task(step.task, total=step.total or None, note="")
        self._progress.update(self._tasks[step.task], completed=step.done, total=step.total or None, note=step.note)

    def _log(self, step: Step) -> None:
        now = time.monotonic()
        if step.done == 0 or step.done < self._done.get(step.task, step.done + 1):
            self._begun[step.task] = now, step.done
        self._done[step.task] = step.done
        if step.task in self._last_lines_s and step.done < step.total and now - self._last_lines_s[step.task] < 10.0:
            return
        self._last_lines_s[step.task] = now
        counted = f" {step.done}/{step.total}{self._left(step, now)}" if step.total else ""
        self.say(f"{step.task}{counted}  {step.note}".rstrip())

    def _left(self, step: Step, now: float) -> str:
        """How long the rest of a task takes at its pace so far, where that is worth a word."""
        begun_s, before = self._begun[step.task]
        if step.done <= before:
            return ""
        left_s = (now - begun_s) / (step.done - before) * (step.total - step.done)
        return f", {left_s / 60:.0f} min left" if left_s >= 60 else ""

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks = {}
