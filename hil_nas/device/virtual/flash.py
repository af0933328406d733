"""The flash interface of an STM32L4R5 with two banks (RM0432, 3): latency, caches, erasing and programming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hil_nas.device.virtual.peripherals import Peripheral
from hil_nas.errors import DeviceError

FLASH_BASE = 0x08000000
FLASH_BYTES = 2 * 1024 * 1024
PAGE_BYTES = 4096
BANK_BYTES = FLASH_BYTES // 2
_KEYS = (0x45670123, 0xCDEF89AB)

_PROGERR, _PGAERR, _SIZERR, _PGSERR = 1 << 3, 1 << 5, 1 << 6, 1 << 7
_ERRORS = 0xC3FA
_PG, _PER, _MER1, _MER2, _STRT, _LOCK = 1 << 0, 1 << 1, 1 << 2, 1 << 15, 1 << 16, 1 << 31
_OPTLOCK = 1 << 30
_HZ_PER_WAIT_STATE = 20e6  # voltage range 1, boosted (RM0432, table 12)


class Contents(Protocol):
    """The flash's bytes, by offset."""

    def load(self, offset: int, size: int) -> bytes: ...

    def store(self, offset: int, data: bytes) -> None: ...


class Flash(Peripheral):
    """Erase, program and say what went wrong as silicon does, in FLASH_SR; nothing takes time.

    Args:
        contents: the bytes.
        set_caches: called when the caches are switched, with whether each is on.
    """

    ACR, KEYR, OPTKEYR, SR, CR = 0x00, 0x08, 0x0C, 0x10, 0x14

    def __init__(self, contents: Contents, set_caches: Callable[[bool, bool], None]) -> None:
        resets = dict.fromkeys(range(0, 0x70, 4), 0)
        super().__init__("FLASH", {**resets, 0x00: 0x600, 0x14: _LOCK | _OPTLOCK, 0x20: 0xFFEFF8AA})
        self._contents, self._set_caches = contents, set_caches
        self._keys_given = 0
        self._first: tuple[int, int] | None = None

    def reset(self) -> None:
        super().reset()
        self._keys_given = 0
        self._first = None
        self._set_caches(True, True)

    def max_hz(self) -> float:
        """The fastest HCLK that the wait states allow."""
        return ((self.registers[self.ACR] & 0xF) + 1) * _HZ_PER_WAIT_STATE

    def write(self, offset: int, value: int) -> None:
        if offset == self.KEYR:
            self._key(value)
        elif offset == self.SR:
            self.registers[self.SR] &= ~value
        elif offset == self.CR:
            self._control(value)
        elif offset == self.ACR:
            self.registers[self.ACR] = value
            self._set_caches(bool(value & 0x200), bool(value & 0x400))
        elif offset != self.OPTKEYR:
            super().write(offset, value)

    def program(self, offset: int, value: int, size: int) -> None:
        """A store to flash itself: half of a double word where programming is on, else an error in SR."""
        if size == 8:  # the core stores a double word as two words
            self.program(offset, value & 0xFFFFFFFF, 4)
            self.program(offset + 4, value >> 32, 4)
            return
        error = self._refusal(offset, size)
        if error:
            self._fail(error)
        elif self._first is None:
            self._first = (offset, value)
        else:
            (start, low), self._first = self._first, None
            if offset != start + 4:
                self._fail(_PGAERR)
            else:
                self._program_double_word(start, low | value << 32)

    def _refusal(self, offset: int, size: int) -> int:
        if self.registers[self.SR] & _ERRORS or not self.registers[self.CR] & _PG:
            return _PGSERR
        if size != 4:
            return _SIZERR
        return _PGAERR if offset % 4 or (self._first is None and offset % 8) else 0

    def _fail(self, error: int) -> None:
        self.registers[self.SR] |= error
        self._first = None

    def _program_double_word(self, offset: int, value: int) -> None:
        if value != 0 and self._contents.load(offset, 8) != b"\xff" * 8:
            self._fail(_PROGERR)
        else:
            self._contents.store(offset, value.to_bytes(8, "little"))

    def _key(self, value: int) -> None:
        locked = self.registers[self.CR] & _LOCK
        if not locked or value != _KEYS[self._keys_given]:
            hint = "0x45670123, then 0xcdef89ab, and only while FLASH_CR is locked; silicon faults and stays locked"
            raise DeviceError(f"wrong flash key 0x{value:08x}", hint=hint)
        self._keys_given += 1
        if self._keys_given == len(_KEYS):
            self._keys_given = 0
            self.registers[self.CR] &= ~_LOCK

    def _control(self, value: int) -> None:
        if self.registers[self.CR] & _LOCK:
            return  # read-only until unlocked
        self.registers[self.CR] = value & ~_STRT
        if value & _STRT:
            self._erase(value)

    def _erase(self, control: int) -> None:
        if self.registers[self.SR] & _ERRORS or control & _PG or not control & (_PER | _MER1 | _MER2):
            self._fail(_PGSERR)
            return
        if control & _PER:
            bank, page = control >> 11 & 1, control >> 3 & 0xFF
            self._contents.store(bank * BANK_BYTES + page * PAGE_BYTES, b"\xff" * PAGE_BYTES)
        for bank, bit in ((0, _MER1), (1, _MER2)):
            if control & bit:
                self._contents.store(bank * BANK_BYTES, b"\xff" * BANK_BYTES)
