"""Registers of the STM32L4R5 that firmware touches outside the core (RM0432), as far as firmware can see them.

What silicon would answer with a fault, or with silence that nobody can explain, raises DeviceError instead:
a register that is not here, a peripheral without its clock, a clock too fast for the flash.
"""

from __future__ import annotations

from collections.abc import Callable

from hil_nas.errors import DeviceError

_MSI_HZ = (
    100_000, 200_000, 400_000, 800_000, 1_000_000, 2_000_000,
    4_000_000, 8_000_000, 16_000_000, 24_000_000, 32_000_000, 48_000_000,
)  # fmt: skip
_HSI_HZ = 16_000_000
_HSE_HZ = 8_000_000  # NUCLEO-L4R5ZI: MCO of the ST-LINK
_LSE_HZ = 32_768


class Peripheral:
    """A block of 32-bit registers; by itself, storage.

    Args:
        name: as the reference manual calls it.
        resets: every register that exists, by offset, with its value after reset.
    """

    def __init__(self, name: str, resets: dict[int, int]) -> None:
        self.name = name
        self._resets = resets
        self.registers = dict(resets)

    def reset(self) -> None:
        """As after a system reset."""
        self.registers = dict(self._resets)

    def read(self, offset: int) -> int:
        """The register at a word-aligned offset."""
        return self.registers[offset]

    def write(self, offset: int, value: int) -> None:
        """Store to the register at a word-aligned offset."""
        self.registers[offset] = value


def storage(name: str, size: int, resets: dict[int, int] | None = None) -> Peripheral:
    """A peripheral that only remembers: all registers of `size` bytes, 0 after reset but for `resets`."""
    return Peripheral(name, {**dict.fromkeys(range(0, size, 4), 0), **(resets or {})})


class Rcc(Peripheral):
    """Clocks: an oscillator is ready as soon as it is enabled; the frequencies follow from the registers."""

    CR, CFGR, PLLCFGR = 0x00, 0x08, 0x0C
    CCIPR = 0x88
    _READY = ((0, 1), (8, 10), (16, 17), (24, 25), (26, 27), (28, 29))  # MSI HSI16 HSE PLL PLLSAI1 PLLSAI2

    def __init__(self, check_speed: Callable[[float], None]) -> None:
        resets = dict.fromkeys(range(0, 0xA4, 4), 0)
        resets |= {0x00: 0x63, 0x04: 0x40000000, 0x0C: 0x1000, 0x10: 0x1000, 0x14: 0x1000, 0x48: 0x100}
        super().__init__("RCC", resets)
        self._check_speed = check_speed
        self.hclk_hz = float(_MSI_HZ[6])

    def reset(self) -> None:
        super().reset()
        self.hclk_hz = float(_MSI_HZ[6])

    def read(self, offset: int) -> int:
        value = self.registers[offset]
        if offset == self.CR:
            for enable, ready in self._READY:
                value = value & ~(1 << ready) | (value >> enable & 1) << ready
        elif offset == self.CFGR:
            value = value & ~0xC | (value & 3) << 2  # SWS follows SW
        elif offset in (0x90, 0x94, 0x98):  # LSE, LSI, HSI48: ready is the bit above enable
            value = value & ~2 | (value & 1) << 1
        return value

    def write(self, offset: int, value: int) -> None:
        self.registers[offset] = value
        if offset in (self.CR, self.CFGR, self.PLLCFGR):
            self.hclk_hz = self._sysclk_hz() / _ahb_divisor(self.registers[self.CFGR] >> 4 & 0xF)
            self._check_speed(self.hclk_hz)

    def enabled(self, offset: int, bit: int) -> bool:
        """Whether a peripheral's clock is on: a bit of an ENR register."""
        return bool(self.registers[offset] >> bit & 1)

    def pclk1_hz(self) -> float:
        """The APB1 clock."""
        return self.hclk_hz / _apb_divisor(self.registers[self.CFGR] >> 8 & 7)

    def timer_hz(self) -> float:
        """What TIM2 counts: PCLK1, or twice that where APB1 is divided."""
        divided = self.registers[self.CFGR] >> 8 & 4
        return self.pclk1_hz() * (2 if divided else 1)

    def lpuart_hz(self) -> float:
        """LPUART1's kernel clock."""
        source = self.registers[self.CCIPR] >> 10 & 3
        return (self.pclk1_hz(), self._sysclk_hz(), float(_HSI_HZ), float(_LSE_HZ))[source]

    def _sysclk_hz(self) -> float:
        source = self.registers[self.CFGR] & 3
        return (self._msi_hz(), float(_HSI_HZ), float(_HSE_HZ), self._pll_hz())[source]

    def _msi_hz(self) -> float:
        selected = self.registers[self.CR] >> 3 & 1
        return float(_MSI_HZ[min(self.registers[self.CR] >> 4 & 0xF, 11)] if selected else _MSI_HZ[6])

    def _pll_hz(self) -> float:
        config = self.registers[self.PLLCFGR]
        source = (0.0, self._msi_hz(), float(_HSI_HZ), float(_HSE_HZ))[config & 3]
        return source / ((config >> 4 & 0xF) + 1) * (config >> 8 & 0x7F) / (2 * ((config >> 25 & 3) + 1))


def _ahb_divisor(bits: int) -> int:
    return (2, 4, 8, 16, 64, 128, 256, 512)[bits & 7] if bits & 8 else 1


def _apb_divisor(bits: int) -> int:
    return (2, 4, 8, 16)[bits & 3] if bits & 4 else 1


class Pwr(Peripheral):
    """Power control: every range is ready at once."""

    CR1, CR2, CR5 = 0x00, 0x04, 0x80

    def __init__(self) -> None:
        resets = dict.fromkeys([*range(0, 0x1C, 4), *range(0x20, 0x68, 4), 0x80], 0)
        super().__init__("PWR", {**resets, 0x00: 0x200, 0x08: 0x8000, 0x80: 0x100})

    def max_hz(self) -> float:
        """The fastest HCLK that the voltage allows (RM0432, 5.1.8)."""
        if self.registers[self.CR1] >> 9 & 3 == 2:
            return 26e6
        boosted = not self.registers[self.CR5] & 0x100
        return 120e6 if boosted else 80e6

    def port_g_supplied(self) -> bool:
        """PG2 to PG15 need VDDIO2 declared valid (PWR_CR2.IOSV)."""
        return bool(self.registers[self.CR2] & 0x200)


class Gpio(Peripheral):
    """A port: outputs read back, inputs read 0."""

    MODER, AFRL, AFRH, ODR, BSRR, BRR = 0x00, 0x20, 0x24, 0x14, 0x18, 0x28
    _MODES = {"A": 0xABFFFFFF, "B": 0xFFFFFEBF}

    def __init__(self, letter: str) -> None:
        resets = dict.fromkeys(range(0, 0x30, 4), 0)
        super().__init__(f"GPIO{letter}", {**resets, 0x00: self._MODES.get(letter, 0xFFFFFFFF)})

    def write(self, offset: int, value: int) -> None:
        out = self.registers[self.ODR]
        if offset == self.BSRR:
            self.registers[self.ODR] = out & ~(value >> 16) | value & 0xFFFF
        elif offset == self.BRR:
            self.registers[self.ODR] = out & ~(value & 0xFFFF)
        else:
            super().write(offset, value)

    def alternate(self, pin: int) -> int | None:
        """The pin's alternate function, or None where it has another mode."""
        if self.registers[self.MODER] >> (2 * pin) & 3 != 2:
            return None
        register = self.AFRL if pin < 8 else self.AFRH
        return self.registers[register] >> (4 * (pin % 8)) & 0xF


class Tim2(Peripheral):
    """The 32-bit up-counter; its prescaler takes effect at an update event, as on silicon."""

    CR1, EGR, CNT, PSC, ARR = 0x00, 0x14, 0x24, 0x28, 0x2C

    def __init__(self, now_s: Callable[[], float], timer_hz: Callable[[], float]) -> None:
        resets = dict.fromkeys(range(0, 0x64, 4), 0)
        super().__init__("TIM2", {**resets, self.ARR: 0xFFFFFFFF})
        self._now_s, self._timer_hz = now_s, timer_hz
        self._active_prescaler = 0
        self._start_s, self._start_count = 0.0, 0

    def reset(self) -> None:
        super().reset()
        self._active_prescaler = 0
        self._start_s, self._start_count = 0.0, 0

    def read(self, offset: int) -> int:
        return self._count() if offset == self.CNT else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        self._start_count, self._start_s = self._count(), self._now_s()
        if offset == self.EGR:
            if value & 1:
                self._active_prescaler, self._start_count = self.registers[self.PSC] & 0xFFFF, 0
            return
        if offset == self.CNT:
            self._start_count = value
        super().write(offset, value)

    def _count(self) -> int:
        if not self.registers[self.CR1] & 1:
            return self._start_count
        ticks = (self._now_s() - self._start_s) * self._timer_hz() / (self._active_prescaler + 1)
        return (self._start_count + int(ticks)) % (self.registers[self.ARR] + 1)


class Dbgmcu(Peripheral):
    """The identity code of an STM32L4R5, revision Y."""

    def __init__(self) -> None:
        super().__init__("DBGMCU", {0x00: 0x10036470, 0x04: 0, 0x08: 0, 0x0C: 0, 0x10: 0})

    def write(self, offset: int, value: int) -> None:
        if offset:
            super().write(offset, value)


def too_fast(hclk_hz: float, what: str) -> DeviceError:
    """The error for a clock beyond what flash or voltage allow."""
    hint = "on silicon this hangs or faults; set it before switching the clock"
    return DeviceError(f"HCLK of {hclk_hz / 1e6:g} MHz with {what}", hint=hint)
