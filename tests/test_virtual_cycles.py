"""What instructions cost on the virtual board: hand counts from Arm DDI 0439 (tables 3-1 and 7-1), and capstone."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

import capstone
import pytest
from capstone import arm_const
from virtual_programs import ASSEMBLY_START, compile_program, library, power_on, run_to_breakpoint

from hil_nas.device.virtual.elf import read_elf
from hil_nas.device.virtual.timing import TimingModel
from hil_nas.errors import DeviceError

READ_LOAD_CYCLES = 2  # the first read of the counter itself, behind a nop

# Instructions between two reads of the counter, and what they take; the first begins at a word, the instruction
# before it is a load of r5. r6 points into RAM, r7 at the counter.
SEQUENCES = {
    "nothing": ("", 0),
    "nops": ("nop\n" * 7, 7),
    "wide nops": ("nop.w\n" * 5, 5),
    "arithmetic": ("adds.w r0, r1\nmul r2, r0, r1\nsmlad r2, r0, r1, r2\nsmlal r2, r3, r0, r1\nuxtb16 r0, r1\n", 5),
    "one load": ("nop\nldr r0, [r6]\nnop\n", 4),
    "load double": ("nop\nldrd r0, r1, [r6]\nnop\n", 5),
    "store double": ("nop\nstrd r0, r1, [r6], #8\nnop\n", 5),
    "stores": ("nop\nstr r0, [r6]\nstrb r1, [r6, #4]\nstrh r1, [r6, #8]\nnop\n", 5),
    "load multiple": ("nop\nldmia r6, {r0, r1, r2, r3}\nnop\n", 7),
    "store multiple wide": ("nop\nstmia.w r6, {r0, r1, r2, r8, r9}\nnop\n", 8),
    "push and pop": ("nop\npush {r0, r1, r2, lr}\npop.w {r0, r1, r2, r8}\nnop\n", 12),
    "divides": ("mov r1, #3\nudiv r0, r1, r1\nsdiv r0, r1, r1\n", 1 + 8 + 8),
    "float": ("vmul.f32 s0, s1, s2\nvadd.f32 s0, s1, s2\nvmov r0, s1\nvcvt.f32.s32 s0, s1\nvmrs r0, fpscr\n", 5),
    "float multiply and add": ("vmla.f32 s0, s1, s2\nvfma.f32 s0, s1, s2\nvnmls.f32 s0, s1, s2\n", 9),
    "float divide and root": ("vdiv.f32 s0, s1, s2\nvsqrt.f32 s0, s1\n", 28),
    "float multiple": ("nop.w\nvldmia r6, {s0-s6}\nvpush {d8, d9}\nvpop {d8, d9}\nnop\n", 2 + 8 + 5 + 5),
    "skipped in IT": ("cmp r7, #0\nittt eq\nldreq r0, [r6]\nldmeq r6, {r0, r1, r2}\nmoveq r0, r1\nnop\n", 6),
    "executed in IT": ("cmp r7, #0\nittt ne\nldrne r0, [r6]\nldmne r6, {r0, r1, r2}\nmovne r0, r1\nnop\n", 10),
    "either in IT": ("cmp r7, #0\nite eq\nldreq r0, [r6]\nldmiane r6!, {r0, r1, r2}\nnop\n", 8),
    "branches": ("b 1f\nnop\n1: cbz r7, 2f\nnop\n2: cmp r7, #0\nbeq 3f\n3: b.w 4f\n4: nop\n", 7),
    "a call": ("mov r4, lr\nbl called\nmov lr, r4\n", 4),
    "a table branch": ("mov r0, #0\nnop\ntbb [pc, r0]\n.byte 1, 1\nnop\n", 1 + 1 + 4 + 1),
    "a loop of ten": ("mov r0, #10\n1: nop\nsubs r0, #1\nbne 1b\n", 31),
    "a loop over a page": (".rept 3000\nnop\n.endr\n", 3000),
}  # fmt: skip

# What neighbours do to each other, each beside its source (DDI 0439, or a measurement): a pair, and the same where
# the rule does not apply.
NEIGHBOURS = {
    # 3.3.3: a load behind a load is a cycle cheaper, and the next, and the next
    "load behind a load": ("nop\nldr r0, [r6]\nldr r1, [r6, #4]\nnop\n", 5),
    "loads of all widths": ("nop\nldr r0, [r6]\nldrb r1, [r6, #4]\nldrsh.w r2, [r6, #8]\nldr r3, [r6, #12]!\nnop\n", 7),
    # 3.3.3: "nothing can be pipelined after the store"
    "load behind a store": ("nop\nstr r0, [r6]\nldr r1, [r6, #4]\nnop\n", 5),
    # 3.3.3: "LDRD and STRD cannot be pipelined with preceding or following instructions"
    "load behind a load double": ("nop\nldrd r0, r1, [r6]\nldr r2, [r6]\nnop\n", 7),
    "load double behind a load": ("nop\nldr r2, [r6]\nldrd r0, r1, [r6]\nnop\n", 7),
    "load double behind a store": ("nop\nstr r0, [r6]\nldrd r0, r1, [r6]\nnop\n", 6),
    # 3.3.3: "LDM and STM cannot be pipelined"
    "load behind a load multiple": ("nop\nldmia r6, {r0, r1}\nldr r2, [r6]\nnop\n", 1 + 3 + 2 + 1),
    # 3.3.3: only where the first one's destination is no part of the second's address
    "load through a load": ("nop\nldr r0, [r6]\nldr r1, [r0]\nnop\n", 6),
    "store through a load": ("nop\nldr r0, [r6]\nstr r1, [r0]\nnop\n", 6),
    "store of what was loaded": ("nop\nldr r0, [r6]\nstr r0, [r6, #4]\nnop\n", 5),
    # Measured (STM32F407): write-back loads overlap on alternating bases, not on the same one; stores likewise
    "write-back on one base": ("nop.w\nldr r0, [r6], #4\nldr r1, [r6], #4\nnop\n", 6),
    "write-back on two bases": ("nop.w\nldr r0, [r6], #4\nldr r1, [r3], #4\nnop\n", 5),
    "stores on one base": ("nop.w\nstr r0, [r6], #4\nstr r1, [r6], #4\nnop\n", 5),
    "stores on two bases": ("nop.w\nstr r0, [r6], #4\nstr r1, [r3], #4\nnop\n", 4),
    # 3.3.3: one cycle is for "STR Rx,[Ry,#imm]"; "LDR R0,[R1,R2]; STR R1,[R3,R2] - normally three cycles total"
    "store by register": ("nop\nstr r0, [r6, r1]\nnop\n", 4),
    "store by register behind a load": ("nop\nldr r0, [r6, r1]\nstr r2, [r6, r1]\nnop\n", 5),
    # 3.3.3: an address made by the data processing just before stalls for a cycle
    "load at a sum": ("adds r2, r6, r1\nldr r0, [r2]\nnop\n", 1 + 3 + 1),
    "load a while after the sum": ("adds r2, r6, r1\nnop\nldr r0, [r2]\nnop\n", 1 + 1 + 2 + 1),
    "store at a sum": ("adds r2, r6, r1\nstr r0, [r2]\nnop\n", 1 + 2 + 1),
    "load by a product": ("muls r1, r0\nldr r0, [r6, r1]\nnop\n", 1 + 3 + 1),
    "load multiple at a move": ("mov r2, r6\nldmia r2, {r0, r1}\nnop\n", 1 + 4 + 1),
    "push on a moved stack": ("sub sp, #8\npush {r0, r1}\nadd sp, #16\n", 1 + 4 + 1),
    "load behind a compare": ("cmp r6, r1\nldr r0, [r6]\nnop\n", 1 + 2 + 1),
    "float load at a sum": ("adds.w r2, r6, r1\nvldr s0, [r2]\nnop\n", 1 + 3 + 1),
    # Table 7-1: VLDR.64 and VSTR.64 take 3; neighbouring singles overlap (table 3-1), measured: at even halfwords
    "float load": ("nop.w\nvldr s0, [r6]\nnop\n", 4),
    "float loads": ("nop.w\nvldr s0, [r6]\nvldr s1, [r6, #4]\nvldr s2, [r6, #8]\nnop\n", 2 + 2 + 1 + 1),
    "float loads at odd halfwords": ("nop\nvldr s0, [r6]\nvldr s1, [r6, #4]\nnop\n", 2 + 2 + 2),
    "float stores": ("nop.w\nvstr s0, [r6]\nvstr s1, [r6, #4]\nnop\n", 4),
    "float stores at odd halfwords": ("nop\nvstr s0, [r6]\nvstr s1, [r6, #4]\nnop\n", 6),
    "float load behind a store": ("nop.w\nvstr s0, [r6]\nvldr s1, [r6, #4]\nnop\n", 5),
    "load behind a float load": ("nop.w\nvldr s1, [r6]\nldr r0, [r6, #4]\nnop\n", 5),
    "double loads": ("nop.w\nvldr d0, [r6]\nvldr d1, [r6, #8]\nvstr d1, [r6]\nnop\n", 2 + 9),
    # 7.2.3: an arithmetic result consumed by the next instruction takes a cycle longer, but as an addend
    "float result at once": ("vmul.f32 s0, s1, s2\nvadd.f32 s3, s0, s1\n", 3),
    "float result a while later": ("vmul.f32 s0, s1, s2\nnop\nvadd.f32 s3, s0, s1\n", 3),
    "float result stored": ("vcvt.f32.s32 s0, s1\nvstr s0, [r6]\nnop\n", 1 + 2 + 1),
    "float result moved": ("vadd.f32 s0, s1, s2\nvmov r0, s0\n", 3),
    "float result as an addend": ("vmul.f32 s0, s1, s2\nvmla.f32 s0, s3, s4\n", 1 + 3),
    "float result as a factor": ("vmul.f32 s0, s1, s2\nvmla.f32 s5, s0, s4\n", 1 + 4),
    "float copy at once": ("vmov.f32 s0, s1\nvadd.f32 s3, s0, s1\n", 2),
    # Table 7-1: VMOV between two core registers and a double or two singles takes 2
    "two registers at once": ("vmov r0, r1, d0\nvmov d1, r0, r1\nvmov s0, s1, r0, r1\nvmov s0, r1\n", 2 + 2 + 2 + 1),
    # Measured: the third of three wide instructions at odd halfwords takes a cycle more, the fourth does not
    "two misaligned": ("nop\nnop.w\nnop.w\nnop\n", 4),
    "three misaligned": ("nop\nnop.w\nnop.w\nnop.w\nnop\n", 6),
    "five misaligned": ("nop\nnop.w\nnop.w\nnop.w\nnop.w\nnop.w\nnop\n", 8),
    "two and two misaligned": ("nop\nnop.w\nnop.w\nnop\nnop\nnop.w\nnop.w\nnop\n", 8),
    # 3.3.1: a refill takes longer for a wide target at an odd halfword
    "a branch to a misaligned": ("b.w 1f\nnop\n1: nop.w\nnop\n", 1 + 2 + 1),
    "a branch to a wide": ("b.w 1f\nnop\nnop\n1: nop.w\n", 1 + 1),
    # What IT makes the other half of cannot have made an address
    "neighbours under one condition": ("cmp r7, #0\nitt ne\naddne r2, r6, r1\nldrne r0, [r2]\nnop\n", 1 + 1 + 1 + 4),
    "neighbours under two": ("cmp r7, #0\nite eq\naddeq r6, r1\nldrne r0, [r6]\nnop\n", 1 + 1 + 1 + 3),
}  # fmt: skip

TAKEN_BRANCH_CYCLES = 2  # as in board.toml
BRANCHES = {
    "none taken": ("cmp r7, #0\nbeq 1f\ncbz r7, 1f\n1: nop\n", 4, 0),
    "a jump": ("b.n 1f\nnop\n1: nop\n", 2, 1),
    "a call and a return": ("mov r4, lr\nbl called\nmov lr, r4\n", 4, 2),
    "a loop of ten": ("mov r0, #10\n1: nop\nsubs r0, #1\nbne 1b\n", 31, 9),
    "a table branch": ("mov r0, #0\nnop\ntbb [pc, r0]\n.byte 1, 1\nnop\n", 7, 1),  # 3.3.3: "at least six cycles"
    # 3.3.3: LDR PC, "at least five"
    "a loaded counter": ("adr r0, 1f + 1\nstr r0, [r6]\nldr pc, [r6]\nnop\n1: nop\n", 1 + 1 + 3 + 1, 1),
}  # fmt: skip


def between_reads(body: str) -> str:
    return f"""{ASSEMBLY_START}
    mov r1, #1
    str r1, [r7]
    movs r0, #1
    movs r1, #4
    mov r3, r6
    str r6, [r6]
    .balign 4
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


@pytest.mark.parametrize("name", [*SEQUENCES, *NEIGHBOURS])
def test_a_difference_of_the_counter_is_the_hand_count(
    name: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    body, expected = {**SEQUENCES, **NEIGHBOURS}[name]
    assert counted_between_reads(body, TimingModel(), tmp_path, library(boards_dir, build_dir)) == expected


@pytest.mark.parametrize("name", BRANCHES)
def test_a_taken_branch_costs_the_pipeline_s_refill(
    name: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    body, cycles, taken = BRANCHES[name]
    model = TimingModel(taken_branch_cycles=TAKEN_BRANCH_CYCLES)
    expected = cycles + TAKEN_BRANCH_CYCLES * taken
    assert counted_between_reads(body, model, tmp_path, library(boards_dir, build_dir)) == expected


def counted_between_reads(body: str, model: TimingModel, folder: Path, timing: Path) -> int:
    machine = power_on(compile_program(folder, between_reads(body), kind="S", flags=["-nostdlib"]), timing, model)
    run_to_breakpoint(machine)
    return machine.word(machine.image.symbols["result"]) - READ_LOAD_CYCLES


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

MULTIPLE = {
    "push", "pop", "ldm", "stm", "ldmdb", "stmdb", "ldmia", "stmia",
    "vpush", "vpop", "vldmia", "vldmdb", "vstmia", "vstmdb",
}  # fmt: skip
MULTIPLY_ADD = {"vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"}
ARITHMETIC = {*MULTIPLY_ADD, "vadd", "vsub", "vmul", "vnmul", "vdiv", "vsqrt", "vcvt", "vcvtr"}
ALONE = {"sdiv": 8, "udiv": 8, "vdiv": 14, "vsqrt": 14, "tbb": 4, "tbh": 4, **dict.fromkeys(MULTIPLY_ADD, 3)}
CORE = {*range(arm_const.ARM_REG_R0, arm_const.ARM_REG_R12 + 1), arm_const.ARM_REG_SP, arm_const.ARM_REG_LR}


class Seen:
    """One instruction as capstone decodes it, and what its neighbour behind it needs to know."""

    def __init__(self, decoded: capstone.CsInsn) -> None:
        self.wide = decoded.size == 4
        self.misaligned = self.wide and decoded.address % 4 == 2
        self.in_it = decoded.cc not in (0, arm_const.ARM_CC_AL) and decoded.id != arm_const.ARM_INS_B
        self.name = decoded.insn_name()
        self.text = decoded.op_str
        read, written = (set(x) for x in decoded.regs_access())
        self.registers = [x.reg for x in decoded.operands if x.type == arm_const.ARM_OP_REG]
        memory = [x.mem for x in decoded.operands if x.type == arm_const.ARM_OP_MEM]
        double = self.registers and arm_const.ARM_REG_D0 <= self.registers[0] <= arm_const.ARM_REG_D31
        self.float_single = self.name in ("vldr", "vstr") and not double
        self.load = self.name.startswith("ldr") and not self.name.startswith("ldrd")
        self.load |= self.name == "vldr" and not double
        self.store = (self.name.startswith("str") and not self.name.startswith("strd")) or (
            self.name == "vstr" and not double
        )
        self.several = bool(self.name in MULTIPLE or memory) and not (self.load or self.store)
        self.address = {x for m in memory for x in (m.base, m.index)} & CORE
        if self.name in MULTIPLE:
            base = arm_const.ARM_REG_SP if self.name[-2:] in ("sh", "op") else self.registers[0]
            self.address = {base} & CORE
        self.by_register = any(m.index for m in memory)
        self.made = written & CORE
        self.float_made = singles(written) if self.name in ARITHMETIC else set()
        addend = singles(self.registers[:1]) if self.name in MULTIPLY_ADD else set()
        others = singles(self.registers[1:]) if addend else set()
        stored = singles(self.registers) if self.name.startswith(("vstm", "vpush")) else set()
        self.float_read = (singles(read) - addend) | others | stored

    def words(self) -> int:
        """Words that a multiple load or store moves."""
        inside = self.text.partition("{")[2].rstrip("}").split(",")
        return sum(2 if x.strip().startswith("d") else 1 for x in inside)


def singles(registers: Iterable[int]) -> set[int]:
    """Single-precision registers, those of a double two by two."""
    addresses = set()
    for register in registers:
        if arm_const.ARM_REG_S0 <= register <= arm_const.ARM_REG_S31:
            addresses.add(register - arm_const.ARM_REG_S0)
        elif arm_const.ARM_REG_D0 <= register <= arm_const.ARM_REG_D15:
            first = 2 * (register - arm_const.ARM_REG_D0)
            addresses |= {first, first + 1}
    return addresses


def alone_cycles(now: Seen) -> int:
    """The published tables."""
    if now.name in ALONE:
        return ALONE[now.name]
    if now.name in MULTIPLE:
        return 1 + now.words()
    if now.name.startswith(("ldrd", "strd")) or (now.name in ("vldr", "vstr") and now.several):
        return 3
    if now.load:
        return 3 if now.registers[0] == arm_const.ARM_REG_PC else 2
    if now.name == "vmov" and len([x for x in now.registers if x in CORE]) == 2:
        return 2
    return 1


def expected_cycles(before: Seen | None, now: Seen) -> int:
    """And what neighbours do to each other."""
    cycles = alone_cycles(now)
    if before is None:
        return cycles + (now.store and (now.by_register or (now.float_single and now.misaligned)))
    late = (before.load or before.store) and bool(before.made & now.address)
    slow_float = now.float_single and now.misaligned
    if now.load and before.load and not late and not slow_float:
        cycles -= 1
    if now.store:
        cycles += late or slow_float or (now.by_register and not before.load)
    computes = not (before.load or before.store or before.several)
    cycles += computes and bool(before.made & now.address)
    return cycles + bool(before.float_made & now.float_read)


def test_the_functions_of_the_c_library_cost_what_capstone_says(
    tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    elf = compile_program(tmp_path, VARIETY, flags=["-O2", "-Wl,-estart", "-u", "_printf_float"])
    segment = read_elf(elf).segments[0]
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB + capstone.CS_MODE_MCLASS)
    decoder.detail = True
    ours = ctypes.CDLL(str(library(boards_dir, build_dir)))
    seen: dict[str, int] = {}
    for address, size, _ in read_elf(elf).functions:
        code = segment.data[address - segment.address : address - segment.address + size]
        before, misaligned, total, bytes_ = None, 0, 0, 0
        for decoded in decoder.disasm(code, address):
            now = Seen(decoded)
            misaligned = misaligned + 1 if now.misaligned else 0
            total += (1 if now.in_it else expected_cycles(before, now)) + (misaligned == 3)
            bytes_ += decoded.size
            assert decoded_cycles(ours, code[:bytes_], address) == total, f"{decoded.mnemonic} {decoded.op_str}"
            seen[decoded.mnemonic] = seen.get(decoded.mnemonic, 0) + 1
            before = now
    assert sum(seen.values()) > 5000 and len(seen) > 80


def decoded_cycles(ours: ctypes.CDLL, code: bytes, address: int) -> int:
    instructions, cycles = ctypes.c_uint32(), ctypes.c_uint32()
    counts = ctypes.byref(instructions), ctypes.byref(cycles)
    ours.timing_decode(code + b"\0\0\0\0", ctypes.c_uint32(address), len(code), *counts)
    return cycles.value


def test_more_conditional_instructions_than_can_be_watched_are_a_fault(
    tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    """From then on they would count as skipped, and the counter would show too little without a word."""
    watched = 16384
    source = f"""
    .syntax unified
    .thumb
    .global start, _start
    .section .vectors, "a"
    .word 0x200A0000, start
    .text
    .thumb_func
    start:
    _start:
    .rept {watched + 1}
    it eq
    ldreq r0, [r1]
    .endr
    """
    machine = power_on(compile_program(tmp_path, source, "S", ["-nostdlib"]), library(boards_dir, build_dir))
    timing, engine = machine._counters, machine._uc._uch
    on_block = timing._library.timing_on_block
    on_block.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p]
    timing.start()
    first, block_bytes = machine.image.symbols["start"] & ~1, 128 * 4
    sites = 0
    for address in range(first, first + 4 * watched, block_bytes):
        on_block(engine, address, block_bytes, timing.handle)
        sites += len(timing.new_sites())
    assert sites == watched
    on_block(engine, first + 4 * watched, 4, timing.handle)
    with pytest.raises(DeviceError, match="more conditional instructions than the cycle model can watch"):
        timing.new_sites()
