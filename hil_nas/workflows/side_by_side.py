"""Several boards at once: each works on its own thread, and what goes wrong with one is kept from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import TypeVar

from hil_nas.errors import HilNasError
from hil_nas.progress import Progress, Reporter

Result = TypeVar("Result")


class _Stopped(Exception):
    """Ends a board's work between two of its steps; never leaves this module."""


def side_by_side(
    work: Mapping[str, Callable[[Reporter], Result]], progress: Reporter
) -> dict[str, Result | HilNasError]:
    """Runs each board's work at the same time as the others'.

    Args:
        work: by board; each calls the reporter that it is given with its steps.
        progress: gets the steps of all, with the board in the task's name; from several threads.

    Returns:
        What each work returned, or the error that ended it, in the order of `work`.

    Raises:
        KeyboardInterrupt: once the work of every board has stopped behind its step of that moment.
    """
    stop = Event()

    def reporter(board: str) -> Reporter:
        def report(step: Progress) -> None:
            if stop.is_set():
                raise _Stopped
            progress(replace(step, task=f"{board}: {step.task}"))

        return report

    def run(board: str) -> Result | HilNasError:
        try:
            return work[board](reporter(board))
        except HilNasError as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        futures = {board: pool.submit(run, board) for board in work}
        try:
            return {board: future.result() for board, future in futures.items()}
        except BaseException:
            stop.set()
            raise
