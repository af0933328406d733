"""Work on another thread, so that no signal's handler runs in the middle of it.

Python runs handlers on its main thread only, between any two of its instructions: where C code has called Python
back, a KeyboardInterrupt is printed and lost. The main thread waits meanwhile, and there it may come at any moment
too: hence locks alone, which are taken wholly or not at all.
"""

from __future__ import annotations

from _thread import start_new_thread
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T], limit_s: float, stop: Callable[[], None]) -> T:
    """What `work` returns or raises. An exception that interrupts the wait goes on only once `work` has ended.

    Args:
        limit_s: after which `stop` is called.
        stop: has the work end soon, also one that has not begun; it may have ended already.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    begun, ended = Lock(), Lock()
    ended.acquire()

    def run() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        ended.release()

    try:
        start_new_thread(run, ())
        ended.acquire(timeout=max(limit_s, 0.0))
        stop()
        while not (results or errors):
            ended.acquire(timeout=1.0)
    except BaseException:
        stop()
        while not (results or errors or begun.acquire(blocking=False)):  # with the lock it never begins
            ended.acquire(timeout=0.01)
        raise
    if errors:
        raise errors[0]
    return results[0]
