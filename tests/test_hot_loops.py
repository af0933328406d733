"""The loops that our own kernels spend their time in fit the STM32L4's instruction cache: 32 lines of 32 bytes (RM0432,
embedded flash). One that does not takes up to three times as long, and no other test would see it.

Counted in the linked image: where a loop begins decides how many lines it lies in.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from hil_nas.device.firmware import build_firmware, find_third_party

CACHE_LINES, LINE_BYTES = 32, 32
SIGNS = ("signed", "unsigned")  # whether values below the zero point are left
DEPTHWISE = [
    *(f"dsp_depthwise_{taps}x{columns}_by_{stride}_signed"
      for taps in (3, 5, 9, 15) for columns in (0, 1) for stride in (1, 2)),
    *(f"dsp_depthwise_{window}_{sign}" for window in ("3x3_by_1", "3x3_by_2", "5x3_by_1") for sign in SIGNS),
]  # fmt: skip
# Functions whose loops turn in each other: of each its largest loop.
TOGETHER = [
    ("run_signed", "run_pixels"), ("run_unsigned", "run_pixels"),  # product.c, conv.c
    ("gather_window",), ("gather_narrow",), ("gather_dilated",),
    *((x,) for x in DEPTHWISE), ("spread",),
    ("run_fully_connected",), ("average_few",), ("average_many",),
    ("mel_window",), ("mel_spectrum",), ("mel_energies",), ("mel_log",), ("cosine_transform", "every_second"),
]  # fmt: skip
_FUNCTION = re.compile(r"^[0-9a-f]+ <(\w+)>:$")
_INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(\S+)\s*(.*)$")
_BRANCH = re.compile(r"^(b|cbn?z|b(eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le))(\.[nw])?$")
_TARGET = re.compile(r"\b([0-9a-f]+) <")


@dataclass(frozen=True)
class Loop:
    """Addresses of its first byte and of the one behind it."""

    begin: int
    end: int

    @property
    def lines(self) -> int:
        return (self.end - 1) // LINE_BYTES - self.begin // LINE_BYTES + 1


def largest_loops(elf: Path) -> dict[str, Loop]:
    """By function: what lies between a branch backwards and its target. Of functions of one name, the largest loop."""
    command = ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(elf)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Loop] = {}
    name, begin = "", -1
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            if not match[1].startswith("dsp_steps_of"):  # a label in a function
                name, begin = match[1], -1
        elif match := _INSTRUCTION.match(line):
            address, target = int(match[1], 16), _TARGET.search(match[3])
            begin = address if begin < 0 else begin
            if _BRANCH.match(match[2]) and target and begin <= int(target[1], 16) <= address:
                loop = Loop(int(target[1], 16), address + (2 if match[2].endswith(".n") else 4))
                if name not in found or loop.end - loop.begin > found[name].end - found[name].begin:
                    found[name] = loop
    return found


@pytest.fixture(scope="module")
def loops(boards_dir: Path, build_dir: Path) -> dict[str, Loop]:
    return largest_loops(build_firmware("nucleo_l4r5", boards_dir, build_dir, find_third_party()).elf)


@pytest.mark.parametrize("functions", TOGETHER, ids="+".join)
def test_loops_that_turn_together_fit_the_cache(functions: tuple[str, ...], loops: dict[str, Loop]) -> None:
    lines = {x: loops[x].lines for x in functions}
    assert sum(lines.values()) <= CACHE_LINES, f"{lines} lines: less code, or a loop that begins with a line"


def test_every_kernel_in_assembly_is_looked_at(loops: dict[str, Loop]) -> None:
    assert {x for x in loops if x.startswith("dsp_depthwise_") and x != "dsp_depthwise_run_for"} == set(DEPTHWISE)


@pytest.mark.parametrize(("before", "lines"), [(0, 32), (1, 33)])
def test_a_loop_that_moves_takes_another_line(before: int, lines: int, tmp_path: Path) -> None:
    """1022 bytes: from a line's begin on 32 lines, four bytes later 33."""
    source, elf = tmp_path / "loop.s", tmp_path / "loop.o"
    source.write_text(f"""
        .syntax unified
        .thumb
        .balign 32
        .type moved, %function
    moved:
        .rept {before}
        nop.w
        .endr
    1:  .rept 254
        nop.w
        .endr
        cmp r0, r1
        bne.w 1b
        bx lr
    """)
    subprocess.run(["arm-none-eabi-as", "-mcpu=cortex-m4", str(source), "-o", str(elf)], check=True)
    assert largest_loops(elf)["moved"].lines == lines
