"""The STM32L4R5 around the core: which peripheral answers at an address, and what ties them together."""

from __future__ import annotations

from typing import Protocol

from hil_nas.device.virtual.core import Dwt, SystemControl
from hil_nas.device.virtual.flash import Flash
from hil_nas.device.virtual.lpuart import Lpuart
from hil_nas.device.virtual.peripherals import Dbgmcu, Gpio, Peripheral, Pwr, Rcc, Tim2, storage, too_fast
from hil_nas.errors import DeviceError

PAGE_BYTES = 0x1000
_SLOT_BYTES = 0x400
_GPIO_BASE = 0x48000000
_LPUART_ALTERNATE = 8
_TX_PIN, _RX_PIN = 7, 8  # PG7, PG8: to the ST-LINK of a NUCLEO-L4R5ZI
_AHB1ENR, _AHB2ENR, _APB1ENR1, _APB1ENR2, _APB2ENR = 0x48, 0x4C, 0x58, 0x5C, 0x60

PERIPHERAL_PAGES = (
    0x40000000, 0x40007000, 0x40008000, 0x40010000, 0x40021000, 0x40022000,
    0x48000000, 0x48001000, 0x48002000, 0xE0001000, 0xE000E000, 0xE0042000,
)  # fmt: skip


class Host(Protocol):
    """The machine that a chip is part of."""

    def cycles(self) -> int: ...

    def now_s(self) -> float: ...

    def set_counting(self, on: bool) -> None: ...

    def set_caches(self, icache_on: bool, dcache_on: bool) -> None: ...

    def stop(self, why: str) -> None: ...

    def load(self, offset: int, size: int) -> bytes: ...

    def store(self, offset: int, data: bytes) -> None: ...


class Chip:
    """All peripherals, and the bus to them."""

    def __init__(self, host: Host) -> None:
        self.rcc = Rcc(self._check_speed)
        self.pwr = Pwr()
        self.flash = Flash(host, host.set_caches)
        self.lpuart = Lpuart(self.rcc.lpuart_hz, self._unrouted, lambda: host.stop("idle"))
        self.scs = SystemControl(host.cycles, lambda: host.stop("reset"))
        self.dwt = Dwt(host, self.scs.traced)
        self.ports = {x: Gpio(x) for x in "ABCDEFGHI"}
        self._slots = self._address_map(host)
        self._gates = self._clock_gates()

    def reset(self) -> None:
        """As after a system reset."""
        for peripheral in self._slots.values():
            peripheral.reset()

    def read(self, address: int, size: int) -> int:
        """A load of 1, 2 or 4 bytes."""
        peripheral, offset = self._find(address, size)
        value = peripheral.read(offset & ~3)
        return value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, address: int, size: int, value: int) -> None:
        """A store of 1, 2 or 4 bytes; a register's other bytes keep their value."""
        peripheral, offset = self._find(address, size)
        if size < 4:
            shift, mask = 8 * (offset & 3), (1 << 8 * size) - 1
            value = peripheral.read(offset & ~3) & ~(mask << shift) | (value & mask) << shift
        peripheral.write(offset & ~3, value & 0xFFFFFFFF)

    def _address_map(self, host: Host) -> dict[int, Peripheral]:
        slots: dict[int, Peripheral] = {
            0x40000000: Tim2(host.now_s, self.rcc.timer_hz),
            0x40007000: self.pwr,
            0x40008000: self.lpuart,
            0x40010000: storage("SYSCFG", 0x30),
            0x40021000: self.rcc,
            0x40022000: self.flash,
            0xE0001000: self.dwt,
            0xE0042000: Dbgmcu(),
        }
        slots |= {_GPIO_BASE + i * _SLOT_BYTES: port for i, port in enumerate(self.ports.values())}
        return slots | {0xE000E000 + i: self.scs for i in range(0, PAGE_BYTES, _SLOT_BYTES)}

    def _clock_gates(self) -> dict[str, tuple[int, int]]:
        gates = {"TIM2": (_APB1ENR1, 0), "PWR": (_APB1ENR1, 28), "LPUART1": (_APB1ENR2, 0)}
        gates |= {"SYSCFG": (_APB2ENR, 0), "FLASH": (_AHB1ENR, 8)}
        return gates | {port.name: (_AHB2ENR, i) for i, port in enumerate(self.ports.values())}

    def _find(self, address: int, size: int) -> tuple[Peripheral, int]:
        peripheral = self._slots.get(address & -_SLOT_BYTES)
        offset = address & (PAGE_BYTES - 1 if peripheral is self.scs else _SLOT_BYTES - 1)
        if peripheral is None or offset & ~3 not in peripheral.registers or (offset & 3) + size > 4:
            hint = "the virtual board has only the registers in hil_nas/device/virtual"
            raise DeviceError(f"the firmware touches 0x{address:08x}, where no register is", hint=hint)
        gate = self._gates.get(peripheral.name)
        if gate is not None and not self.rcc.enabled(*gate):
            hint = "on silicon a read gives 0 and a write is lost"
            raise DeviceError(f"the firmware touches {peripheral.name}, whose clock is off in RCC", hint=hint)
        return peripheral, offset

    def _check_speed(self, hclk_hz: float) -> None:
        if hclk_hz > self.flash.max_hz():
            raise too_fast(hclk_hz, f"{self.flash.registers[0] & 0xF} wait states in FLASH_ACR")
        if hclk_hz > self.pwr.max_hz():
            raise too_fast(hclk_hz, f"a core voltage for {self.pwr.max_hz() / 1e6:g} MHz (PWR_CR1, PWR_CR5)")

    def _unrouted(self) -> str | None:
        if not self.pwr.port_g_supplied():
            return "port G has no supply (PWR_CR2.IOSV)"
        for pin in (_TX_PIN, _RX_PIN):
            if self.ports["G"].alternate(pin) != _LPUART_ALTERNATE:
                return f"PG{pin} is not alternate function {_LPUART_ALTERNATE}"
        return None
