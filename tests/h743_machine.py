"""An STM32H743 for tests: Unicorn's Cortex-M7, and of the rest just what the firmware of nucleo_h743zi touches.

It is strict where silicon would be silent or wrong: a register that is not listed, a peripheral without its clock, a
core clock before its voltage and wait states, a flash word programmed twice, flash that changed while a cache may hold
the old bytes. Its cycle counter counts instructions, by whole blocks, and each as `cycles_each`. It is shaped like a
pyserial port.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from pathlib import Path
from typing import Any

from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, arm_const
from unicorn import unicorn_const as uc
from unicorn.unicorn_py3.unicorn import Uc

from hil_nas.device.virtual.elf import read_elf

FLASH, FLASH_BYTES, STORE, SECTOR_BYTES, WORD_BYTES, LINE_BYTES = 0x08000000, 0x200000, 0x08100000, 0x20000, 32, 32
RAM, RAM_BYTES = 0x24000000, 0x80000
PAGES = (0x40000000, 0x40004000, 0x51008000, 0x52002000, 0x58020000, 0x58024000, 0x5C001000, 0xE0001000, 0xE000E000)
NAMES = {
    0x40000000: "TIM2_CR1", 0x40000014: "TIM2_EGR", 0x40000024: "TIM2_CNT", 0x40000028: "TIM2_PSC",
    0x4000002C: "TIM2_ARR", 0x40004800: "USART3_CR1", 0x40004804: "USART3_CR2", 0x40004808: "USART3_CR3",
    0x4000480C: "USART3_BRR", 0x4000481C: "USART3_ISR", 0x40004820: "USART3_ICR", 0x40004824: "USART3_RDR",
    0x40004828: "USART3_TDR", 0x51008108: "AXI_TARG7_FN_MOD", 0x52002000: "FLASH_ACR", 0x52002104: "FLASH_KEYR2",
    0x5200210C: "FLASH_CR2", 0x52002110: "FLASH_SR2", 0x52002114: "FLASH_CCR2", 0x58020C00: "GPIOD_MODER",
    0x58020C08: "GPIOD_OSPEEDR", 0x58020C0C: "GPIOD_PUPDR", 0x58020C24: "GPIOD_AFRH", 0x58024400: "RCC_CR",
    0x58024410: "RCC_CFGR", 0x58024418: "RCC_D1CFGR", 0x5802441C: "RCC_D2CFGR", 0x58024420: "RCC_D3CFGR",
    0x58024428: "RCC_PLLCKSELR", 0x5802442C: "RCC_PLLCFGR", 0x58024430: "RCC_PLL1DIVR", 0x58024454: "RCC_D2CCIP2R",
    0x580244E0: "RCC_AHB4ENR", 0x580244E8: "RCC_APB1LENR", 0x58024804: "PWR_CSR1", 0x5802480C: "PWR_CR3",
    0x58024818: "PWR_D3CR", 0x5C001000: "DBGMCU_IDC", 0xE0001000: "DWT_CTRL", 0xE0001004: "DWT_CYCCNT",
    0xE0001FB0: "DWT_LAR", 0xE000ED0C: "AIRCR", 0xE000ED14: "CCR", 0xE000ED28: "CFSR", 0xE000ED80: "CCSIDR",
    0xE000ED84: "CSSELR", 0xE000ED88: "CPACR", 0xE000EDFC: "DEMCR", 0xE000EF50: "ICIALLU", 0xE000EF5C: "DCIMVAC",
    0xE000EF60: "DCISW",
}  # fmt: skip
RESETS = {  # those of RM0433 that are not 0; the caches are the part's: 4 ways of 128 sets
    "RCC_CR": 0x83, "RCC_PLLCKSELR": 0x02020200, "RCC_PLLCFGR": 0x01FF0000, "RCC_PLL1DIVR": 0x01010280,
    "PWR_CR3": 0x46, "PWR_CSR1": 0x4000, "PWR_D3CR": 0x4000, "FLASH_ACR": 0x37, "FLASH_CR2": 0x31,
    "GPIOD_MODER": 0xFFFFFFFF, "CCSIDR": 0xF00FE019, "CCR": 0x40200, "DWT_CTRL": 0x40000000,
}  # fmt: skip
GATES = {"TIM2": ("RCC_APB1LENR", 0), "USART3": ("RCC_APB1LENR", 18), "GPIOD": ("RCC_AHB4ENR", 3)}
IDLE_POLLS = 32


class Machine:
    """A powered-on part with its firmware; `writes` are all stores to registers, (name, value), in order.

    Args:
        revision: of the part, as DBGMCU says: 0x1003 is Y, 0x2003 is V.
        cycles_per_us: how the cycle counter and TIM2 go together; other than on silicon in an emulator.
    """

    def __init__(self, elf: Path, revision: int = 0x2003, cycles_per_us: int = 400) -> None:
        self.timeout: float | None = None
        self.writes: list[tuple[str, int]] = []
        self.instructions = 0
        self.cycles_each, self._cycles, self._cycles_per_us = 1, 0, cycles_per_us
        self.stop_after: int | None = None  # instructions: for a firmware that never waits for a byte
        self.stale_lines: set[int] = set()  # of flash: changed, and not yet dropped from the data cache
        self.sent, self._received = bytearray(), bytearray()
        self._revision, self._fault = revision, ""
        self._blocks: dict[int, int] = {}
        self._memory = {FLASH: mmap.mmap(-1, FLASH_BYTES), RAM: mmap.mmap(-1, RAM_BYTES)}
        self._memory[FLASH][:] = b"\xff" * FLASH_BYTES
        self._memory[RAM][:] = b"\xa5" * RAM_BYTES
        for part in read_elf(elf).segments:
            self._memory[FLASH][part.address - FLASH : part.address - FLASH + len(part.data)] = part.data
        self._uc: Any = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M7)
        for base, memory in self._memory.items():
            self._uc.mem_map_ptr(base, len(memory), uc.UC_PROT_ALL, ctypes.addressof(ctypes.c_char.from_buffer(memory)))
        self._uc.mem_protect(FLASH, FLASH_BYTES, uc.UC_PROT_READ | uc.UC_PROT_EXEC)
        for page in PAGES:
            self._uc.mmio_map(page, 0x1000, self._read, page, self._write, page)
        self._uc.hook_add(uc.UC_HOOK_BLOCK, self._block)
        self._uc.hook_add(uc.UC_HOOK_MEM_WRITE_PROT, self._program)
        self._uc.hook_add(uc.UC_HOOK_MEM_UNMAPPED, lambda _, __, address, *___: self._fail(f"touches {address:#x}"))
        self._uc.hook_add(uc.UC_HOOK_INTR, lambda _, number, __: self._fail(f"takes exception {number}"))
        self._reset()

    # -- a pyserial port

    def read(self, size: int = 1, /) -> bytes:
        if not self.sent:
            self._run()
        if not self.sent:
            time.sleep(min(self.timeout or 0.0, 0.01))
        data = bytes(self.sent[:size])
        del self.sent[:size]
        return data

    def write(self, data: bytes, /) -> int:
        self._received += data
        self._run()
        return len(data)

    def close(self) -> None:
        """Nothing lies outside this process."""

    # -- running

    def _reset(self) -> None:
        self.registers = {name: RESETS.get(name, 0) for name in NAMES.values()}
        self.registers["DBGMCU_IDC"] = self._revision << 16 | 0x450
        self._keys: list[int] = []
        self._program_at, self._programmed = 0, 0
        self._supply_set = self._unlocked = self._stop = False
        self._polls = self._counter = self._since = 0
        self.invalidated: set[int] = set()  # what was written to DCISW
        stack, start = (int.from_bytes(self._memory[FLASH][i : i + 4], "little") for i in (0, 4))
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self._pc = start & ~1

    def _run(self) -> None:
        self._stop, self._polls = False, 0
        while not self._stop:
            self._uc.emu_start(self._pc | 1, 0xFFFFFFFE)
            self._pc = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
            assert not self._fault, f"the firmware {self._fault} at {self._pc:#x}"
            if self.registers["AIRCR"]:
                self._reset()

    def _block(self, _: Uc, address: int, size: int, __: Any) -> None:
        self._stop |= self.stop_after is not None and self.instructions > self.stop_after
        if self._stop or self._fault or self.registers["AIRCR"]:
            self._uc.emu_stop()
            return
        count = self._blocks.get(address)
        if count is None:
            count = self._blocks[address] = instructions(bytes(self._uc.mem_read(address, size)))
        self.instructions += count
        self._cycles += count * self.cycles_each

    def _fail(self, what: str) -> bool:
        self._fault = self._fault or what
        self._uc.emu_stop()
        return False

    # -- registers

    def _read(self, _: Uc, offset: int, size: int, page: int) -> int:
        name = self._name(page + offset, size)
        value = self.registers.get(name, 0)
        if name == "RCC_CR":  # HSIRDY, HSIDIVF, PLL1RDY
            value |= (value & 1) << 2 | 1 << 5 | (value >> 24 & 1) << 25
        elif name == "RCC_CFGR":
            value |= (value & 7) << 3
        elif name in ("PWR_CSR1", "PWR_D3CR"):  # ACTVOSRDY and VOSRDY
            value |= self._supply_set << 13
        elif name == "USART3_ISR":
            value = self._status()
        elif name == "USART3_RDR":
            value = self._received.pop(0) if self._received else 0
        elif name == "TIM2_CNT":
            value = self._cycles // self._cycles_per_us & 0xFFFFFFFF
        elif name == "DWT_CYCCNT":
            value = self._counted() & 0xFFFFFFFF
        return value

    def _write(self, _: Uc, offset: int, size: int, value: int, page: int) -> None:
        name = self._name(page + offset, size)
        self.writes.append((name, value))
        if name.startswith("FLASH_") and name != "FLASH_ACR":
            self._flash(name, value)
        elif name == "USART3_TDR":
            self._send(value)
        elif name == "DCIMVAC":
            self.stale_lines.discard(value)
        elif name == "DCISW":
            self.invalidated.add(value)
        elif name == "DWT_LAR":
            self._unlocked = value == 0xC5ACCE55 and bool(self.registers["DEMCR"] >> 24)
        elif name.startswith("DWT_") and not self._unlocked:
            return
        elif name == "DWT_CYCCNT":
            self._counter, self._since = value, self._cycles
        elif name == "DWT_CTRL":
            self._counter, self._since = self._counted(), self._cycles
            self.registers[name] = value
        elif name == "PWR_D3CR" and not self._supply_set:
            return
        else:
            self._supply_set = self._supply_set or name == "PWR_CR3"
            self.registers[name] = value
            if name == "RCC_CFGR":
                self._check_clock()

    def _counted(self) -> int:
        return self._counter + (self._cycles - self._since) * (self.registers["DWT_CTRL"] & 1)

    def _name(self, address: int, size: int) -> str:
        name = NAMES.get(address, "")
        if not name or size != 4:
            self._fail(f"touches {address:#x} by {size} bytes")
        gate = GATES.get(name.partition("_")[0])
        if gate and not self.registers[gate[0]] >> gate[1] & 1:
            self._fail(f"touches {name}, whose clock is off")
        return name

    def core_hz(self) -> float:
        """The clock that the registers give; the PLL's factors are those of RM0433."""
        if self.registers["RCC_CFGR"] & 7 != 3:
            return 64e6
        divisors, source = self.registers["RCC_PLL1DIVR"], self.registers["RCC_PLLCKSELR"]
        reference_hz = 64e6 / (source >> 4 & 63)
        vco_hz = reference_hz * ((divisors & 511) + 1)
        if source & 3 or not 8e6 <= reference_hz <= 16e6 or not 192e6 <= vco_hz <= 836e6:
            self._fail(f"has the PLL run at {vco_hz} Hz from {reference_hz} Hz")
        return vco_hz / ((divisors >> 9 & 127) + 1)

    def _check_clock(self) -> None:
        dividers = [self.registers[f"RCC_D{i}CFGR"] for i in (1, 2, 3)]
        fast = self.core_hz() > 200e6
        if fast and (self.registers["PWR_D3CR"] >> 14 != 3 or self.registers["FLASH_ACR"] & 0x3F != 0x22):
            self._fail("runs faster than its voltage and wait states allow")
        if fast and dividers != [0x48, 0x440, 0x40]:
            self._fail(f"runs its buses at {[hex(x) for x in dividers]}")

    def _status(self) -> int:
        self._polls += 1
        if not self._received and self._polls >= IDLE_POLLS:
            self._stop = True
        return 0xC0 | 0x20 * bool(self._received)  # TC and TXFNF; RXFNE

    def _send(self, value: int) -> None:
        pins = self.registers["GPIOD_MODER"] >> 16 & 15, self.registers["GPIOD_AFRH"] & 0xFF
        kernel = self.registers["RCC_D2CCIP2R"] & 7, self.registers["USART3_BRR"]
        if pins != (10, 0x77) or kernel != (3, 556) or self.registers["USART3_CR1"] & 13 != 13:
            self._fail(f"sends with pins {pins}, kernel clock and divider {kernel}")
        self.sent.append(value & 0xFF)
        self._polls = 0

    # -- bank 2 of the flash

    def _flash(self, name: str, value: int) -> None:
        control = self.registers["FLASH_CR2"]
        if name == "FLASH_KEYR2":
            self._keys = [*self._keys, value][-2:]
            if self._keys == [0x45670123, 0xCDEF89AB]:
                self.registers["FLASH_CR2"] &= ~1
        elif name == "FLASH_CCR2":
            self.registers["FLASH_SR2"] &= ~value
        elif control & 1:
            self._fail("writes FLASH_CR2 while it is locked")
        else:
            self.registers["FLASH_CR2"] = value
            if value & 0x84 == 0x84:  # SER and START
                sector = STORE + (value >> 8 & 7) * SECTOR_BYTES
                self._change(sector, b"\xff" * SECTOR_BYTES)

    def _program(self, _: Uc, __: int, address: int, size: int, value: int, ___: Any) -> bool:
        """Stores arrive in order; at the 8th the flash word is programmed, all at once."""
        if self.registers["FLASH_CR2"] & 3 != 2 or address < STORE or size != 4 or address % 4:
            return self._fail(f"stores to {address:#x} in flash")
        if address % WORD_BYTES == 0:
            self._program_at, self._programmed = address, 0
            if self._memory[FLASH][address - FLASH : address - FLASH + WORD_BYTES] != b"\xff" * WORD_BYTES:
                return self._fail(f"programs {address:#x} twice")
        if address != self._program_at + self._programmed:
            return self._fail(f"breaks off the flash word at {self._program_at:#x}")
        self._programmed += 4
        self._change(address, (value & 0xFFFFFFFF).to_bytes(4, "little"))
        return True

    def _change(self, address: int, data: bytes) -> None:
        self._memory[FLASH][address - FLASH : address - FLASH + len(data)] = data
        self.stale_lines |= set(range(address & -LINE_BYTES, address + len(data), LINE_BYTES))


def instructions(code: bytes) -> int:
    """Thumb instructions in a block: those of 4 bytes begin with 0b11101, 0b11110 or 0b11111."""
    count = at = 0
    while at < len(code):
        at += 4 if code[at + 1] >> 3 >= 0b11101 else 2
        count += 1
    return count
