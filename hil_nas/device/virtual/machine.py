"""A NUCLEO-L4R5ZI in this process: Unicorn runs the firmware, `chip` answers for the silicon around the core.

The cycle counter is exact at every instruction: the machine knows the PC of each access to a peripheral,
and stops between blocks only. Time as firmware sees it is modelled cycles over the clock while the cycle counter
is enabled, and this computer's time while it is not (waiting for the host included).
"""

from __future__ import annotations

import ctypes
import mmap
import time
from pathlib import Path
from typing import Any

from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, arm_const
from unicorn import unicorn_const as uc
from unicorn.unicorn_py3.unicorn import Uc, UcError, uclib

from hil_nas.device.virtual.aside import aside
from hil_nas.device.virtual.chip import PAGE_BYTES, PERIPHERAL_PAGES, Chip
from hil_nas.device.virtual.elf import Image
from hil_nas.device.virtual.flash import FLASH_BASE, FLASH_BYTES
from hil_nas.device.virtual.timing import BETWEEN_BLOCKS, SHADOW_BASE, Counts, CycleCounters, Memory, TimingModel
from hil_nas.errors import DeviceError, InputError

RAM_BASE, RAM_BYTES = 0x20000000, 640 * 1024
_SRAM2_ALIAS, _SRAM2_OFFSET, _SRAM2_BYTES = 0x10000000, 0x30000, 0x10000
_SYSTEM_ROM = 0x1FFF7000
_UID, _FLASH_SIZE = 0x590, 0x5E0
_NEVER = 0xFFFFFFFE
_RAM_AT_POWER_ON = b"\xa5"
_ENDLESS_LOOP = b"\xfe\xe7"  # b .
_GENERAL = [getattr(arm_const, f"UC_ARM_REG_R{i}") for i in range(13)]
_EXCEPTIONS = {2: "SVC", 3: "prefetch abort", 4: "data abort", 5: "IRQ", 7: "BKPT", 8: "exception return"}
_ACCESS = {
    uc.UC_MEM_READ_UNMAPPED: "reads", uc.UC_MEM_WRITE_UNMAPPED: "writes", uc.UC_MEM_FETCH_UNMAPPED: "runs into",
    uc.UC_MEM_READ_PROT: "reads", uc.UC_MEM_WRITE_PROT: "writes", uc.UC_MEM_FETCH_PROT: "runs into",
}  # fmt: skip


class Machine:
    """One board, powered on.

    Args:
        image: the firmware, loaded into flash.
        library: as `build_timing_library` gives it.
        model: penalties of the cycle model.

    Raises:
        InputError: where the image does not fit this board's memories.
    """

    def __init__(self, image: Image, library: Path, model: TimingModel) -> None:
        self.image = image
        self._flash = mmap.mmap(-1, FLASH_BYTES)
        self._ram = mmap.mmap(-1, RAM_BYTES)
        self._flash[:] = b"\xff" * FLASH_BYTES
        self._ram[:] = _RAM_AT_POWER_ON * RAM_BYTES
        _load(image, self._flash)
        self._uc: Any = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)  # its methods have no types
        self._uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
        flash = Memory(FLASH_BASE, FLASH_BYTES, _host_address(self._flash))
        ram = Memory(RAM_BASE, RAM_BYTES, _host_address(self._ram))
        self._counters = CycleCounters(library, model, flash, ram, uclib)
        self._cycles = 0
        self._counting = False
        self._counted = False  # whether Unicorn's pages are those for counting
        self._fault: DeviceError | None = None
        self._flags: set[str] = set()
        self._running = False
        self._enough = False  # whether the time to run is over
        self._off_s = 0.0
        self._since_s: float | None = None
        self._pc = 0
        self.chip = Chip(self)
        self._map(flash, ram)
        self._install_callbacks()
        self.reset()

    # -- what the chip asks of its machine

    def pc(self) -> int:
        """The instruction that is executing; exact inside an access to a peripheral."""
        return int(self._uc.reg_read(arm_const.UC_ARM_REG_PC)) & ~1

    def cycles(self) -> int:
        """Modelled cycles since power-on, as the executing instruction would read them."""
        if self._counting:
            self._cycles = self.counts().cycles(self._counters.model)
        return self._cycles

    def counts(self) -> Counts:
        """The raw counts behind `cycles`."""
        return self._counters.counts(self.pc() if self._running else BETWEEN_BLOCKS)

    def now_s(self) -> float:
        """The time that firmware sees."""
        wall_s = 0.0
        if self._since_s is not None and not self._counting:
            wall_s = time.perf_counter() - self._since_s
        return self.cycles() / self.chip.rcc.hclk_hz + self._off_s + wall_s

    def set_counting(self, on: bool) -> None:
        """DWT_CTRL.CYCCNTENA changes, by the instruction that is executing.

        Outside an IT block, Unicorn leaves a block right behind a memory access where it is told to stop, and
        executes that access again when it goes on: the store that enables the counter is the first one counted.
        """
        self._tick()
        self._counting = on
        if on:
            self._flags.add("counting")
            self._uc.emu_stop()
        else:
            self._end_counting(self.pc())
            self._since_s = time.perf_counter()
            self.stop("counting")

    def set_caches(self, icache_on: bool, dcache_on: bool) -> None:
        """FLASH_ACR changes."""
        self._counters.set_caches(icache_on, dcache_on)

    def stop(self, why: str) -> None:
        """End the emulation soon, between two blocks."""
        self._flags.add(why)
        self._counters.stop_soon()

    def load(self, offset: int, size: int) -> bytes:
        """Bytes of flash."""
        return self._flash[offset : offset + size]

    def store(self, offset: int, data: bytes) -> None:
        """Change flash, as its controller does."""
        self._flash[offset : offset + len(data)] = data
        for base in (0, FLASH_BASE):
            self._uc.ctl_remove_cache(base + offset, base + offset + len(data))
        self._counters.forget(offset, len(data))

    # -- what a user of the machine asks

    def reset(self) -> None:
        """A system reset: the core starts at the reset vector, memories keep their contents."""
        self._end_counting(BETWEEN_BLOCKS)
        self._counting = False
        self.chip.reset()
        for register in [*_GENERAL, arm_const.UC_ARM_REG_CONTROL, arm_const.UC_ARM_REG_PRIMASK]:
            self._uc.reg_write(register, 0)
        stack, start = (int.from_bytes(self._flash[i : i + 4], "little") for i in (0, 4))
        if not start & 1:
            raise DeviceError(f"the reset vector 0x{start:08x} is no Thumb address", hint="is this a firmware?")
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, 0xFFFFFFFF)
        self._pc = start & ~1
        self._flags.clear()

    def run(self, limit_s: float) -> bool:
        """Let the firmware run until it waits for a byte, or for a time.

        Returns:
            Whether it waits.

        Raises:
            DeviceError: where it faulted, with the reason and the place. The machine then stays as it is.
        """
        if self._fault is not None:
            raise self._fault
        self._enough = False
        return aside(self._run, limit_s, self._stop_soon)

    def wait(self, seconds: float) -> None:
        """Let time pass for a firmware that waits."""
        self._off_s += seconds

    def word(self, address: int) -> int:
        """The 32 bits at an address of flash or RAM."""
        return int.from_bytes(self._uc.mem_read(address, 4), "little")

    def close(self) -> None:
        """Switch the board off; it does not run again."""
        self._fault = self._fault or DeviceError("the board is switched off", hint="open the port again")

    # -- running, on a thread of its own

    def _stop_soon(self) -> None:
        self._enough = True
        self._counters.stop_soon()

    def _run(self) -> bool:
        while True:
            self._flags.clear()
            self._switch_counting(self._counting)
            self._emulate()
            self._watch_sites()
            if "reset" in self._flags:
                self.reset()
            elif "idle" in self._flags:
                return True
            elif self._enough:
                self._check_endless_loop()
                return False

    def _emulate(self) -> None:
        self._counters.resume()
        if self._enough:  # from here on stop_soon() is heard
            self._counters.stop_soon()
        self._since_s = time.perf_counter()
        self._running = True
        try:
            self._uc.emu_start(self._pc | 1, _NEVER)
        except UcError as error:
            self._fault = self._fault or self._describe(error)
        finally:
            self._running = False
            self._pc = self.pc()
            self._tick()
            self._since_s = None
        if self._fault is not None:
            raise self._fault

    def _tick(self) -> None:
        """Book the wall-clock time up to now, where time is not counted in cycles."""
        if self._since_s is not None and not self._counting:
            now_s = time.perf_counter()
            self._off_s += now_s - self._since_s
            self._since_s = now_s

    def _end_counting(self, pc: int) -> None:
        self._counters.end(pc)
        self._cycles = self._counters.counts(pc).cycles(self._counters.model)

    def _switch_counting(self, on: bool) -> None:
        """Start counting where it was asked for; what Unicorn knows about pages of flash is then out of date."""
        if on:
            self._counters.start()
        if on != self._counted:
            self._uc.ctl(uc.UC_CTL_TLB_FLUSH, uc.UC_CTL_IO_WRITE)
        self._counted = on

    def _watch_sites(self) -> None:
        """Watch the conditional instructions that were found in the last block that was counted."""
        for address, site in self._counters.new_sites():
            self._add_hook(uc.UC_HOOK_CODE, "timing_on_site", site, address, address)
            self._uc.ctl_remove_cache(address, address + 2)  # its translation lacks the hook

    def _add_hook(self, kind: int, callback: str, user: int, begin: int, end: int) -> None:
        hook = ctypes.c_size_t()
        address = ctypes.c_void_p(self._counters.callback(callback))
        status = uclib.uc_hook_add(
            self._uc._uch, ctypes.byref(hook), kind, address, ctypes.c_void_p(user),
            ctypes.c_uint64(begin), ctypes.c_uint64(end),
        )  # fmt: skip
        if status:
            raise DeviceError(f"Unicorn refuses a callback: error {status}")

    # -- memory

    def _map(self, flash: Memory, ram: Memory) -> None:
        rom = uc.UC_PROT_READ | uc.UC_PROT_EXEC
        for base in (FLASH_BASE, 0):
            self._uc.mem_map_ptr(base, FLASH_BYTES, rom, flash.host)
            self._uc.mem_protect(base, FLASH_BYTES, rom)  # only this makes Unicorn discard stores
        self._uc.mem_map_ptr(RAM_BASE, RAM_BYTES, uc.UC_PROT_ALL, ram.host)
        self._uc.mem_map_ptr(_SRAM2_ALIAS, _SRAM2_BYTES, uc.UC_PROT_ALL, ram.host + _SRAM2_OFFSET)
        self._uc.mem_map(_SYSTEM_ROM, PAGE_BYTES, uc.UC_PROT_READ)
        self._uc.mem_write(_SYSTEM_ROM + _UID, b"\x5a\x00\x21\x00\x02\x50\x34\x4c\x35\x52\x20\x20")
        self._uc.mem_write(_SYSTEM_ROM + _FLASH_SIZE, (FLASH_BYTES // 1024).to_bytes(4, "little"))
        self._map_shadow()
        for page in PERIPHERAL_PAGES:
            self._uc.mmio_map(page, PAGE_BYTES, self._read_register, page, self._write_register, page)

    def _map_shadow(self) -> None:
        read = ctypes.c_void_p(self._counters.callback("timing_read_shadow"))
        handle = ctypes.c_void_p(self._counters.handle)
        status = uclib.uc_mmio_map(self._uc._uch, SHADOW_BASE, FLASH_BYTES, read, handle, None, None)
        if status:
            raise DeviceError(f"Unicorn refuses the shadow of flash: error {status}")

    def _install_callbacks(self) -> None:
        # A peripheral's page allows nothing, and the callback lets everything pass: Unicorn works out the PC
        # before a callback on protected memory, and for a peripheral it does not.
        protected = uc.UC_HOOK_MEM_READ_PROT | uc.UC_HOOK_MEM_WRITE_PROT
        handle, flash_end = self._counters.handle or 0, FLASH_BASE + FLASH_BYTES - 1
        for page in PERIPHERAL_PAGES:
            self._uc.mem_protect(page, PAGE_BYTES, uc.UC_PROT_NONE)
            self._add_hook(protected, "timing_on_peripheral", handle, page, page + PAGE_BYTES - 1)
        self._add_hook(uc.UC_HOOK_MEM_WRITE_PROT, "timing_on_flash_write", handle, FLASH_BASE, flash_end)
        self._add_hook(uc.UC_HOOK_BLOCK, "timing_on_block", handle, 1, 0)
        self._add_hook(uc.UC_HOOK_TLB_FILL, "timing_on_fill", handle, 1, 0)
        self._uc.ctl_set_tlb_mode(uc.UC_TLB_VIRTUAL)
        self._uc.hook_add(uc.UC_HOOK_MEM_WRITE_PROT, self._program, None, FLASH_BASE, flash_end)
        self._uc.hook_add(uc.UC_HOOK_MEM_UNMAPPED | uc.UC_HOOK_MEM_PROT, self._bad_access)
        self._uc.hook_add(uc.UC_HOOK_INTR, self._exception)

    def _read_register(self, _: Uc, offset: int, size: int, page: int) -> int:
        try:
            return self.chip.read(page + offset, size)
        except DeviceError as error:
            self._halt(error.message, error.hint)
            return 0

    def _write_register(self, _: Uc, offset: int, size: int, value: int, page: int) -> None:
        try:
            self.chip.write(page + offset, size, value)
        except DeviceError as error:
            self._halt(error.message, error.hint)

    def _program(self, _: Uc, __: int, address: int, size: int, value: int, ___: Any) -> bool:
        self.chip.flash.program(address - FLASH_BASE, value & (1 << 8 * size) - 1, size)
        return True  # the store itself is then discarded: flash is read-only to the core

    # -- faults

    def _halt(self, message: str, hint: str | None = None) -> None:
        if self._fault is None:
            self._fault = DeviceError(f"{message}, at {self.image.where(self.pc())}", hint=hint)
        self._uc.emu_stop()
        self._counters.stop_soon()  # inside an IT block the first request is lost

    def _bad_access(self, _: Uc, kind: int, address: int, __: int, ___: int, ____: Any) -> bool:
        why = "which is read-only" if kind == uc.UC_MEM_WRITE_PROT else "where nothing is"
        self._halt(f"the firmware {_ACCESS.get(kind, 'touches')} 0x{address:08x}, {why}")
        return False

    def _exception(self, _: Uc, number: int, __: Any) -> None:
        self._halt(f"the firmware takes {_EXCEPTIONS.get(number, f'exception {number}')}")

    def _describe(self, error: UcError) -> DeviceError:
        what = "an undefined instruction" if error.errno == uc.UC_ERR_INSN_INVALID else str(error)
        return DeviceError(f"the firmware stops with {what}, at {self.image.where(self.pc())}")

    def _check_endless_loop(self) -> None:
        code = bytes(self._uc.mem_read(self._pc, 2))
        if code == _ENDLESS_LOOP:
            where = self.image.where(self._pc)
            self._fault = DeviceError(f"the firmware has stopped in an endless loop at {where}")
            raise self._fault


def _host_address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _load(image: Image, flash: mmap.mmap) -> None:
    for segment in image.segments:
        offset = segment.address - FLASH_BASE
        if offset < 0 or offset + len(segment.data) > FLASH_BYTES:
            last = segment.address + len(segment.data) - 1
            message = f"the firmware loads 0x{segment.address:08x} to 0x{last:08x}, outside flash"
            raise InputError(message, hint="was it linked for nucleo_l4r5?")
        flash[offset : offset + len(segment.data)] = segment.data
