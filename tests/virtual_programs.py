"""Small Cortex-M4 programs, compiled when a test asks for them, and a virtual board to run them on."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from hil_nas.device.virtual.elf import read_elf
from hil_nas.device.virtual.machine import Machine
from hil_nas.device.virtual.timing import Counts, TimingModel, build_timing_library
from hil_nas.errors import DeviceError

COMPILER = "arm-none-eabi-gcc"
CORTEX_M4F = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")

LINKER_SCRIPT = """
MEMORY { flash (rx): ORIGIN = %(flash)s, LENGTH = 2M  ram (rwx): ORIGIN = 0x20000000, LENGTH = 640K }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > flash
  .ramcode : { ramcode_start = .; *(.ramcode*) . = ALIGN(4); ramcode_end = .; } > ram AT > flash
  ramcode_load = LOADADDR(.ramcode);
  .data : { *(.data*) } > ram AT > flash
  .bss : { *(.bss*) *(COMMON) } > ram
  end = .;
}
"""

# What every assembly program begins with: r7 points at the DWT, and the trace unit is on.
ASSEMBLY_START = """
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb
    .section .vectors, "a"
    .word 0x200A0000, start + 1
    .text
    .type start, %function
start:
    movw r7, #0x1000
    movt r7, #0xE000
    movw r0, #0xEDFC
    movt r0, #0xE000
    mov r1, #0x1000000
    str r1, [r0]
    movw r6, #0x8000
    movt r6, #0x2000
"""


# What every C program begins with; it supplies `void run(void)`.
C_START = """
#include <stdint.h>
#define R(a) (*(volatile uint32_t *)(a))
#define STK_CTRL R(0xE000E010)
#define DEMCR R(0xE000EDFC)
#define DWT_CTRL R(0xE0001000)
#define CYCCNT R(0xE0001004)
#define FLASH(x) R(0x40022000 + (x))
#define TIM2(x) R(0x40000000 + (x))
#define ISR R(0x4000801C)
void run(void) __attribute__((noinline));
void start(void);
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[] = {0x200A0000, (uintptr_t)start};
volatile uint32_t result[64];
static inline void finish(void) { __asm__ volatile("bkpt 0"); }
static inline void clock_120_mhz(void) {
    R(0x40021058) |= 1u << 28;                          /* PWR */
    R(0x40007080) &= ~0x100u;                           /* boost */
    R(0x40022000) = 0x605;                              /* 5 wait states, both caches */
    R(0x4002100C) = 1 | 60 << 8 | 1 << 24;              /* MSI 4 MHz * 60 / 2 */
    R(0x40021000) |= 1u << 24;
    while (!(R(0x40021000) & 1u << 25)) {}
    R(0x40021008) = 3;
    while ((R(0x40021008) & 0xC) != 0xC) {}
}
static inline void uart(uint32_t baud) {
    R(0x4002104C) |= 1u << 6;                           /* port G */
    R(0x4002105C) |= 1;                                 /* LPUART1 */
    R(0x40007004) |= 0x200;                             /* IOSV */
    R(0x48001800) = (R(0x48001800) & ~(0xFu << 14)) | 0xAu << 14;
    R(0x48001820) |= 8u << 28;
    R(0x48001824) |= 8;
    R(0x4000800C) = 256ull * 120000000 / baud;
    R(0x40008000) = 0xD;
    while ((ISR & 0x600000) != 0x600000) {}
}
static inline void send(int c) { while (!(ISR & 0x80)) {} R(0x40008028) = (uint32_t)c; }
static inline int receive(void) { return ISR & 0x20 ? (int)R(0x40008024) : -1; }
static inline void say(const char *text) { while (*text) send(*text++); }
void start(void) { run(); finish(); for (;;) {} }
"""


def compile_program(
    folder: Path, source: str, kind: str = "c", flags: Sequence[str] = ("-O2",), flash: str = "0x08000000"
) -> Path:
    """An ELF in `folder`, from one C or assembly ('S') text."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"needs {COMPILER}: apt-get install gcc-arm-none-eabi")
    name = hashlib.sha256(repr((source, flags, flash)).encode()).hexdigest()[:16]
    text, script, elf = (folder / f"{name}.{x}" for x in (kind, "ld", "elf"))
    text.write_text(source)
    script.write_text(LINKER_SCRIPT % {"flash": flash})
    libraries = [] if "-nostdlib" in flags else ["--specs=nosys.specs", "-lm"]
    command = [COMPILER, *CORTEX_M4F, *flags, "-nostartfiles", "-T", str(script), str(text), "-o", str(elf)]
    done = subprocess.run([*command, *libraries], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return elf


def library(boards_dir: Path, build_dir: Path) -> Path:
    return build_timing_library(boards_dir, build_dir)


def power_on(elf: Path, timing: Path, model: TimingModel | None = None) -> Machine:
    return Machine(read_elf(elf), timing, model or TimingModel())


def run_to_breakpoint(machine: Machine, limit_s: float = 20.0) -> None:
    """Run until `bkpt`, which the virtual board reports as a fault."""
    with pytest.raises(DeviceError, match="BKPT"):
        machine.run(limit_s)
        pytest.fail(f"no breakpoint within {limit_s} s, at {machine.image.where(machine.pc())}")


def word(machine: Machine, name: str, index: int = 0) -> int:
    """A 32-bit variable of the program."""
    return machine.word(machine.image.symbols[name] + 4 * index)


def counted(machine: Machine) -> Counts:
    """The counts of all that ran while the counter was enabled."""
    run_to_breakpoint(machine)
    return machine.counts()


def seconds(name: str, default: float) -> float:
    """A time limit that slow machines can raise."""
    return float(os.environ.get(name, default))
