"""What lies on the Cortex-M4's private bus: the cycle counter, SysTick, the system control block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hil_nas.device.virtual.peripherals import Peripheral
from hil_nas.errors import DeviceError

_CPUID = 0x410FC241  # Cortex-M4 r0p1
_TRCENA = 1 << 24
_CYCCNTENA = 1
_VECTKEY = 0x05FA


class CycleCounter(Protocol):
    """What the DWT needs of the machine's counter."""

    def cycles(self) -> int: ...

    def set_counting(self, on: bool) -> None: ...


class SystemControl(Peripheral):
    """SysTick, NVIC and SCB (0xE000E000). Interrupts are not modelled: enabling one is an error.

    Args:
        ticks: processor clocks since reset.
        on_reset: called for AIRCR.SYSRESETREQ.
    """

    _STK_CTRL, _STK_LOAD, _STK_VAL = 0x010, 0x014, 0x018
    _AIRCR, _CPUID_AT, _DEMCR = 0xD0C, 0xD00, 0xDFC

    def __init__(self, ticks: Callable[[], int], on_reset: Callable[[], None]) -> None:
        stored = [0x008, *range(0x010, 0x020, 4), *range(0x100, 0x4F0, 4), *range(0xD00, 0xD40, 4)]
        stored += [0xD88, *range(0xD90, 0xDBC, 4), 0xDF0, 0xDF4, 0xDF8, 0xDFC, *range(0xF34, 0xF4C, 4)]
        fixed = {0xD00: _CPUID, 0xD0C: 0xFA050000, 0xD14: 0x200, 0xD90: 0x800, 0x01C: 0x4000493E}
        fixed |= {0xF34: 0xC0000000, 0xF40: 0x10110021, 0xF44: 0x11000011, 0xF48: 0x40}
        super().__init__("SCS", {**dict.fromkeys(stored, 0), **fixed})
        self._ticks, self._on_reset = ticks, on_reset
        self._systick_start = 0

    def traced(self) -> bool:
        """DEMCR.TRCENA: without it the DWT does not exist."""
        return bool(self.registers[self._DEMCR] & _TRCENA)

    def read(self, offset: int) -> int:
        return self._systick() if offset == self._STK_VAL else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == self._AIRCR:
            if value >> 16 == _VECTKEY and value & 4:
                self._on_reset()
            return
        interrupt = (0x100 <= offset < 0x120 and value) or (offset == self._STK_CTRL and value & 2)
        if interrupt:
            raise DeviceError("the virtual board has no interrupts", hint="poll instead")
        if offset == self._STK_VAL or (offset == self._STK_CTRL and value & 1):
            self._systick_start = self._ticks()
        if offset not in (self._CPUID_AT, 0xF40, 0xF44, 0xF48, 0x01C):
            super().write(offset, value)

    def _systick(self) -> int:
        if not self.registers[self._STK_CTRL] & 1:
            return 0
        reload = self.registers[self._STK_LOAD] & 0xFFFFFF
        passed = self._ticks() - self._systick_start
        return reload - passed % (reload + 1)


class Dwt(Peripheral):
    """The cycle counter (0xE0001000): free-running while enabled, writable, absent without DEMCR.TRCENA."""

    CTRL, CYCCNT = 0x00, 0x04

    def __init__(self, counter: CycleCounter, traced: Callable[[], bool]) -> None:
        stored = dict.fromkeys([*range(0, 0x60, 4), 0xFB0, 0xFB4], 0)
        super().__init__("DWT", {**stored, self.CTRL: 0x40000000})
        self._counter, self._traced = counter, traced
        self._zero = 0

    def read(self, offset: int) -> int:
        if not self._traced():
            return 0
        if offset == self.CYCCNT:
            return (self._counter.cycles() - self._zero) & 0xFFFFFFFF
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if not self._traced():
            return
        if offset == self.CYCCNT:
            self._zero = self._counter.cycles() - value
        elif offset == self.CTRL:
            value = value & 0x0FFFFFFF | 0x40000000
            changed = (value ^ self.registers[self.CTRL]) & _CYCCNTENA
            super().write(offset, value)
            if changed:
                self._counter.set_counting(bool(value & _CYCCNTENA))
        else:
            super().write(offset, value)
