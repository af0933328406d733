"""Prints what the front end costs on a Cortex-M4F: instructions and modelled cycles a clip, by configuration.

    python tests/bench_front_end.py [window/hop/mel/coefficients ...]

Runs the real Thumb code in Unicorn, code and tables in flash. Cycles are those of design section 6 with the
STM32L4R5's penalties; two frames warm the caches, two more are taken times half the number of frames.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
from capstone import CS_ARCH_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs
from unicorn import UC_ARCH_ARM, UC_HOOK_CODE, UC_HOOK_MEM_READ, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn.arm_const import (
    UC_ARM_REG_FPEXC,
    UC_ARM_REG_LR,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_ARM_REG_R3,
    UC_ARM_REG_SP,
)

from hil_nas.audio.front_end import cmsis_dsp_sources
from hil_nas.audio.tables import front_end_blob
from hil_nas.mfcc import MfccConfig, paper_grid

ROOT = Path(__file__).resolve().parent.parent
CMSIS_DSP = ROOT / "build" / "third_party" / "cmsisdsp-1.10.3"
M4_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O3", "-ffp-contract=off",
            "-ffunction-sections", "-fdata-sections", "-falign-functions=32", "-D__GNUC_PYTHON__",
            "-DARM_DSP_TABLE_ATTRIBUTE=__attribute__((aligned(32)))")  # fmt: skip
FLASH, BLOB, RAM, AUDIO, STACK_TOP, RETURN = (
    0x08000000, 0x08180000, 0x20000000, 0x20020000, 0x2007FF00, 0x08170000,
)  # fmt: skip
INSTRUCTION_MISS, DATA_SECTOR_MISS, DATA_LINE_MISS = 9.4, 7.5, 3.9


def link(folder: Path, *extra: str, source: Path | None = None) -> Path:
    """The front end as a Cortex-M4F image at FLASH, without start-up code."""
    elf = folder / "front_end.elf"
    includes = [f"-I{p}" for p in (ROOT / "boards/include", CMSIS_DSP / "Include", CMSIS_DSP / "PrivateInclude")]
    sources = [source or ROOT / "boards/src/mfcc.c", *cmsis_dsp_sources(ROOT / "boards", CMSIS_DSP)]
    layout = [f"-Wl,-Ttext={FLASH:#x}", "-Wl,--gc-sections", "-Wl,-e,mfcc_pair", "-Wl,-u,mfcc_check"]
    subprocess.run(["arm-none-eabi-gcc", "-nostartfiles", "--specs=nano.specs", *M4_FLAGS, *includes, *layout, *extra,
                    *map(str, sources), "-o", str(elf)], check=True)  # fmt: skip
    return elf


def segments(elf: bytes) -> list[tuple[int, bytes]]:
    """Address and bytes of each loaded segment."""
    offset, (size, count) = struct.unpack_from("<I", elf, 28)[0], struct.unpack_from("<HH", elf, 42)
    heads = [struct.unpack_from("<8I", elf, offset + i * size) for i in range(count)]
    return [(h[3], elf[h[1] : h[1] + h[4]]) for h in heads if h[0] == 1 and h[4]]


def symbols(elf: Path) -> dict[str, tuple[int, int]]:
    text = subprocess.run(["arm-none-eabi-nm", "-S", str(elf)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()]
    return {r[3]: (int(r[0], 16) & ~1, int(r[1], 16)) for r in rows if len(r) == 4 and r[2] in "tTW"}


class Cache:
    """Lines of 32 bytes with 8-byte sectors, least recently used first out."""

    def __init__(self, lines: int) -> None:
        self.lines, self.held = lines, OrderedDict[int, int]()

    def miss(self, address: int) -> tuple[int, int]:
        """(line missed, sector missed) as 0 or 1."""
        line, bit = address >> 5, 1 << (address >> 3 & 3)
        if line in self.held:
            self.held.move_to_end(line)
            if self.held[line] & bit:
                return 0, 0
            self.held[line] |= bit
            return 0, 1
        if len(self.held) == self.lines:
            self.held.popitem(last=False)
        self.held[line] = bit
        return 1, 1


MEMORY = ("ldr", "str", "vldr", "vstr", "pop", "push", "ldm", "stm", "vldm", "vstm", "vpush", "vpop")


def base_cycles(mnemonic: str, operands: str, behind_memory: bool) -> int:
    """Cortex-M4 cost (Arm DDI 0439) with the simplifications of the virtual board."""
    name = mnemonic.split(".")[0]
    if name.startswith(("vldm", "vstm", "vpush", "vpop", "push", "pop", "ldm", "stm")):
        first = operands.split("{")[1]
        count = 0
        for part in first.strip("}").split(","):
            ends = [int("".join(filter(str.isdigit, e)) or 13) for e in part.split("-")]
            count += ends[-1] - ends[0] + 1
        return 1 + count * (2 if "d" in first and name[0] == "v" else 1)
    if name.startswith(("ldrd", "strd")):
        return 2 if behind_memory else 3
    if name.startswith(("vldr", "vstr")):
        return 3 if operands.startswith("d") else 2
    if name.startswith("ldr"):
        return 1 if behind_memory else 2
    if name.startswith(("sdiv", "udiv")):
        return 8
    if name.startswith(("vdiv", "vsqrt")):
        return 14
    return 3 if name.startswith(("vmla", "vmls", "vfma", "vfms", "vnm")) and name != "vnmul" else 1


class Machine:
    """Unicorn with the image loaded; call() counts."""

    def __init__(self, elf: Path) -> None:
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.uc.mem_map(FLASH, 0x200000)
        self.uc.mem_map(RAM, 0x80000)
        for address, data in segments(elf.read_bytes()):
            self.uc.mem_write(address, data)
        self.uc.reg_write(UC_ARM_REG_FPEXC, 0x40000000)
        self.symbols = symbols(elf)
        self.disassembler = Cs(CS_ARCH_ARM, CS_MODE_THUMB | CS_MODE_MCLASS)
        self.costs: dict[int, tuple[str, str]] = {}
        self.icache, self.dcache = Cache(32), Cache(8)
        self.uc.hook_add(UC_HOOK_CODE, self._instruction)
        self.uc.hook_add(UC_HOOK_MEM_READ, self._read)

    def call(self, name: str, *arguments: int) -> tuple[int, float]:
        """Runs a function and returns its (instructions, cycles)."""
        self.counts, self.cycles, self.behind_memory = Counter[int](), Counter[int](), False
        self.misses = Counter[str]()
        self.at = 0
        registers = (UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3)
        for register, value in zip(registers, arguments, strict=False):
            self.uc.reg_write(register, value)
        self.uc.reg_write(UC_ARM_REG_SP, STACK_TOP)
        self.uc.reg_write(UC_ARM_REG_LR, RETURN | 1)
        self.uc.emu_start(self.symbols[name][0] | 1, RETURN)
        return sum(self.counts.values()), sum(self.cycles.values())

    def by_function(self) -> list[tuple[str, int, float]]:
        rows = []
        for name, (start, size) in self.symbols.items():
            inside = [a for a in self.counts if start <= a < start + size]
            if inside:
                rows.append((name, sum(self.counts[a] for a in inside), sum(self.cycles[a] for a in inside)))
        return sorted(rows, key=lambda row: -row[2])

    def _instruction(self, uc: Uc, address: int, size: int, _: object) -> None:
        if address not in self.costs:
            code = bytes(uc.mem_read(address, size))
            found = next(self.disassembler.disasm(code, address), None)
            self.costs[address] = (found.mnemonic, found.op_str) if found else ("?", "")
        mnemonic, operands = self.costs[address]
        cost = float(base_cycles(mnemonic, operands, self.behind_memory))
        sectors = {address >> 3, (address + size - 1) >> 3}
        missed = sum(self.icache.miss(s << 3)[1] for s in sectors)
        self.misses["instruction sectors"] += missed
        self.counts[address] += 1
        self.cycles[address] += cost + INSTRUCTION_MISS * missed
        self.behind_memory = mnemonic.split(".")[0].startswith(MEMORY)
        self.at = address

    def _read(self, _uc: Uc, _access: int, address: int, size: int, _value: int, _: object) -> None:
        if FLASH <= address < RAM:
            for part in range(address, address + size, 4):
                line, sector = self.dcache.miss(part)
                self.misses["data sectors"] += sector
                self.misses["data lines"] += line
                self.cycles[self.at] += DATA_LINE_MISS * line + DATA_SECTOR_MISS * sector


def measure(machine: Machine, config: MfccConfig, blob_at: int = BLOB) -> tuple[int, float]:
    """Instructions and cycles of two frames of noise, caches warm from two frames before."""
    machine.uc.mem_write(blob_at, front_end_blob(config, 0.5, 0))
    noise = np.random.default_rng(0).normal(0, 3000, 2 * config.window_samples).astype("<i2")
    machine.uc.mem_write(AUDIO, noise.tobytes())
    machine.uc.mem_write(STACK_TOP, struct.pack("<2I", AUDIO + 0x8000, AUDIO + 0x9000))
    machine.call("mfcc_pair", blob_at, AUDIO, AUDIO + 2 * config.window_samples, RAM)
    return machine.call("mfcc_pair", blob_at, AUDIO, AUDIO + 2 * config.window_samples, RAM)


def main(texts: list[str]) -> None:
    configs = [MfccConfig.parse(text) for text in texts] or list(paper_grid())
    with tempfile.TemporaryDirectory() as folder:
        elf = link(Path(folder))
        for config in configs:
            machine = Machine(elf)
            instructions, cycles = measure(machine, config)
            pairs = (config.frames + 1) // 2
            clip = f"{instructions * pairs:>11,} instructions {cycles * pairs:>13,.0f} cycles a clip"
            print(f"{str(config):>16} {instructions:>7,} instructions {cycles:>9,.0f} cycles two frames {clip}")
            if texts:
                print("\n".join(f"    {n:<28} {i:>8,} {c:>10,.0f}" for n, i, c in machine.by_function()))
                print("   ", dict(machine.misses))


if __name__ == "__main__":
    main(sys.argv[1:])
