"""What instructions cost on the virtual board: hand counts from Arm DDI 0439 (tables 3-1 and 7-1), and capstone."""

from __future__ import annotations

import ctypes
from pathlib import Path

import capstone
import pytest
from virtual_programs import ASSEMBLY_START, compile_program, library, power_on, run_to_breakpoint

from hil_nas.device.virtual.elf import read_elf

READ_LOAD_CYCLES = 2  # the first read of the counter itself, behind a nop

# Instructions between two reads of the counter, and what they take. r6 points into RAM, r7 at the counter.
SEQUENCES = {
    "nothing": ("", 0),
    "nops": ("nop\n" * 7, 7),
    "wide nops": ("nop.w\n" * 5, 5),
    "arithmetic": ("adds r0, r1\nmul r2, r0, r1\nsmlad r2, r0, r1, r2\nsmlal r2, r3, r0, r1\nuxtb16 r0, r1\n", 5),
    "one load": ("nop\nldr r0, [r6]\nnop\n", 4),
    "load behind a load": ("nop\nldr r0, [r6]\nldr r1, [r6, #4]\nnop\n", 5),
    "four loads": ("nop\nldr r0, [r6]\nldrb r1, [r6, #4]\nldrsh.w r2, [r6, #8]\nldr r3, [r6, #12]!\nnop\n", 7),
    "load behind a store": ("nop\nstr r0, [r6]\nldr r1, [r6, #4]\nnop\n", 4),
    "stores": ("nop\nstr r0, [r6]\nstrb r1, [r6, #4]\nstrh r1, [r6, #8]\nnop\n", 5),
    "load double": ("nop\nldrd r0, r1, [r6]\nnop\n", 5),
    "load double behind a store": ("nop\nstr r0, [r6]\nldrd r0, r1, [r6]\nnop\n", 5),
    "store double": ("nop\nstrd r0, r1, [r6], #8\nnop\n", 5),
    "load multiple": ("nop\nldmia r6, {r0, r1, r2, r3}\nnop\n", 7),
    "store multiple wide": ("nop\nstmia.w r6, {r0, r1, r2, r8, r9}\nnop\n", 8),
    "push and pop": ("nop\npush {r0, r1, r2, lr}\npop.w {r0, r1, r2, r8}\nnop\n", 12),
    "divides": ("mov r1, #3\nudiv r0, r1, r1\nsdiv r0, r1, r1\n", 1 + 8 + 8),
    "float": ("vmul.f32 s0, s1, s2\nvadd.f32 s0, s1, s2\nvmov r0, s1\nvcvt.f32.s32 s0, s1\nvmrs r0, fpscr\n", 5),
    "float multiply and add": ("vmla.f32 s0, s1, s2\nvfma.f32 s0, s1, s2\nvnmls.f32 s0, s1, s2\n", 9),
    "float divide and root": ("vdiv.f32 s0, s1, s2\nvsqrt.f32 s0, s1\n", 28),
    "float load and store": ("nop\nvldr s0, [r6]\nvstr s0, [r6, #4]\nnop\n", 6),
    "float multiple": ("nop\nvldmia r6, {s0-s6}\nvpush {d8, d9}\nvpop {d8, d9}\nnop\n", 2 + 8 + 5 + 5),
    "skipped in IT": ("cmp r7, #0\nittt eq\nldreq r0, [r6]\nldmeq r6, {r0, r1, r2}\nmoveq r0, r1\nnop\n", 6),
    "executed in IT": ("cmp r7, #0\nittt ne\nldrne r0, [r6]\nldmne r6, {r0, r1, r2}\nmovne r0, r1\nnop\n", 10),
    "either in IT": ("cmp r7, #0\nite eq\nldreq r0, [r6]\nldmiane r6!, {r0, r1, r2}\nnop\n", 8),
    "branches": ("b 1f\nnop\n1: cbz r7, 2f\nnop\n2: cmp r7, #0\nbeq 3f\n3: b.w 4f\n4: nop\n", 7),
    "a call": ("mov r4, lr\nbl called\nmov lr, r4\n", 4),
    "a table branch": ("mov r0, #0\ntbb [pc, r0]\n.byte 1, 1\nnop\n", 3),
    "a loop of ten": ("mov r0, #10\n1: nop\nsubs r0, #1\nbne 1b\n", 31),
    "a loop over a page": (".rept 3000\nnop\n.endr\n", 3000),
}  # fmt: skip


def between_reads(body: str) -> str:
    return f"""{ASSEMBLY_START}
    mov r1, #1
    str r1, [r7]
    nop
    ldr r5, [r7, #4]
    {body}
    ldr r4, [r7, #4]
    sub r4, r4, r5
    movw r0, #:lower16:result
    movt r0, #:upper16:result
    str r4, [r0]
    bkpt 0
called:
    bx lr
    .align 2
    .bss
    .global result
result: .space 4
"""


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_difference_of_the_counter_is_the_hand_count(
    name: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    body, expected = SEQUENCES[name]
    elf = compile_program(tmp_path, between_reads(body), kind="S", flags=["-nostdlib"])
    machine = power_on(elf, library(boards_dir, build_dir))
    run_to_breakpoint(machine)
    assert machine.word(machine.image.symbols["result"]) == expected + READ_LOAD_CYCLES


VARIETY = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
double work(const char *text, float x) {
    char out[64];
    snprintf(out, sizeof out, "%g %d %s", strtod(text, 0), atoi(text), strstr(text, "a"));
    qsort(out, strlen(out), 1, (int (*)(const void *, const void *))strcmp);
    return sinf(x) * expf(x) / sqrtf(x) + pow(x, 3) + fmaf(x, x, x) + (double)strtoull(out, 0, 7);
}
void start(void) { static volatile double d; d = work("12a", 0.3f); }
"""

ONE_PLUS_N = {
    "push", "pop", "ldm", "stm", "ldmdb", "stmdb", "ldmia", "stmia",
    "vpush", "vpop", "vldmia", "vldmdb", "vstmia", "vstmdb",
}  # fmt: skip
MULTIPLY_ADD = {"vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"}
FIXED = {"vldr": 2, "vstr": 2, "sdiv": 8, "udiv": 8, "vdiv": 14, "vsqrt": 14, **dict.fromkeys(MULTIPLY_ADD, 3)}


def expected_cycles(instruction: capstone.CsInsn, behind: bool) -> int:
    """The published table, on capstone's disassembly; `behind` a single load or store."""
    name = instruction.mnemonic.split(".")[0]
    if name in FIXED:
        return FIXED[name]
    if name in ONE_PLUS_N:
        return 1 + registers(instruction)
    if name.startswith(("ldrd", "strd")):
        return 2 if behind else 3
    if name.startswith("ldr"):
        return 1 if behind else 2
    return 1


def registers(instruction: capstone.CsInsn) -> int:
    """Words that a multiple load or store moves."""
    inside = instruction.op_str.partition("{")[2].rstrip("}").split(",")
    return sum(2 if x.strip().startswith("d") else 1 for x in inside)


def test_every_instruction_of_the_c_library_costs_what_capstone_says(
    tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    elf = compile_program(tmp_path, VARIETY, flags=["-O2", "-Wl,-estart", "-u", "_printf_float"])
    functions = [(a, n) for a, n, _ in read_elf(elf).functions if n]
    segment = read_elf(elf).segments[0]
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB + capstone.CS_MODE_MCLASS)
    ours = ctypes.CDLL(str(library(boards_dir, build_dir)))
    seen: dict[str, int] = {}
    for address, size in functions:
        code = segment.data[address - segment.address : address - segment.address + size]
        for instruction in decoder.disasm(code, address):
            alone = next(decoder.disasm(instruction.bytes, address))  # without the condition that IT gives it
            for behind in (False, True):
                cycles = decoded_cycles(ours, bytes(instruction.bytes), behind)
                expected = expected_cycles(alone, behind)
                assert cycles == expected, f"{instruction.mnemonic} {instruction.op_str}"
            seen[instruction.mnemonic] = seen.get(instruction.mnemonic, 0) + 1
    assert sum(seen.values()) > 5000 and len(seen) > 80


def decoded_cycles(ours: ctypes.CDLL, code: bytes, behind: bool) -> int:
    store = b"\x30\x60" if behind else b"\x00\xbf"  # str r0, [r6]; nop
    instructions, cycles = ctypes.c_uint32(), ctypes.c_uint32()
    ours.timing_decode(store + code + b"\0\0\0\0", 2 + len(code), ctypes.byref(instructions), ctypes.byref(cycles))
    assert instructions.value == 2
    return cycles.value - 1
