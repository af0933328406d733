"""Ctrl-C reaches whoever runs the virtual board, wherever Python is when it comes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from virtual_programs import C_START, compile_program, library, power_on, word

SLICE_S = 0.05
INTERRUPTS = 200
# Nothing but reads of a register, each a Python callback that C code calls.
POLLS = f"""{C_START}
void run(void) {{
    clock_120_mhz();
    R(0x40021058) |= 1;
    for (;;) result[1] = TIM2(0x24), ++result[0];
}}"""


@pytest.fixture
def alarm() -> Iterator[None]:
    """What Ctrl-C does, by a clock."""

    def interrupt(_: int, __: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_no_interrupt_is_lost_in_a_callback(alarm: None, tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    machine = power_on(compile_program(tmp_path, POLLS), library(boards_dir, build_dir))
    for number in range(INTERRUPTS):
        before, end = word(machine, "result"), time.monotonic() + 10
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.00005 * number)
            while time.monotonic() < end:
                machine.run(SLICE_S)
    machine.run(SLICE_S)
    assert word(machine, "result") > before  # it goes on from where it was
