"""A board that may go away and come back: what needs it waits, and goes on when it answers again.

What answers in its place ends the waiting: another firmware on the port does not go away by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from hil_nas.device.device import Device
from hil_nas.errors import DeviceError, IdentityError, LinkError, ProtocolError
from hil_nas.progress import Progress, Reporter

WAIT_S = 5.0  # between two looks for the board
MOST_FAILURES = 3  # failures of the same work on a board that answers, after which the board's absence is not the cause

T = TypeVar("T")


class PatientBoard:
    """An open board, opened again where its link fails.

    Args:
        open_again: opens the board and checks who answers; raises DeviceError while it is away.
        progress: called while the board is away.
    """

    def __init__(
        self,
        device: Device,
        open_again: Callable[[], Device],
        progress: Reporter,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.device = device
        self._open_again, self._progress, self._sleep = open_again, progress, sleep

    def do(self, work: Callable[[Device], T]) -> T:
        """The work's result; where the link fails under it, the work is done anew once the board is back.

        Raises:
            LinkError, ProtocolError: where the same work fails time and again though the board came back.
            IdentityError: where another board or build came back.
        """
        for left in reversed(range(MOST_FAILURES)):
            try:
                return work(self.device)
            except (LinkError, ProtocolError) as error:
                if not left:
                    raise
                self._await(error)
        raise AssertionError("the loop returns or raises")

    def _await(self, error: DeviceError) -> None:
        """Closes what is left of the link and tries, for as long as it takes, to open the board again."""
        self.device.close()
        looks = 0
        while True:
            looks += 1
            self._progress(Progress("waiting for the board", looks, 0, error.message))
            try:
                self.device = self._open_again()
                return
            except IdentityError:
                raise
            except DeviceError as still:
                error = still
                self._sleep(WAIT_S)

    def __enter__(self) -> PatientBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.device.close()
