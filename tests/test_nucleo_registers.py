"""What the nucleo_l4r5 firmware writes to the chip between reset and its first `m-ready`, store by store.

The table was written from RM0432 (STM32L4+), whose chapter and register stand in each row; where it asks for an order,
the order is the test. The virtual board checks beside it that no peripheral is touched without its clock and that the
core is never too fast for flash or voltage.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hil_nas.device.boards import load_board
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.device.virtual.port import power_on

ARM = "arm-none-eabi-gcc"
CORE = 0xE0000000  # the private peripheral bus begins here
LPUART_TDR = 0x40008028
SEQUENCE = (
    # address, value, chapter and register of RM0432, what it means
    (0x40021000, 0x00000163, "RCC, clock control register (RCC_CR)", "HSION; MSI as after reset"),
    (0x40021058, 0x10000000, "RCC, APB1 peripheral clock enable register 1 (RCC_APB1ENR1)", "PWREN"),
    (0x40007000, 0x00000200, "PWR, power control register 1 (PWR_CR1)", "VOS = 01: range 1"),
    (0x40007080, 0x00000000, "PWR, power control register 5 (PWR_CR5)", "R1MODE = 0: boost, for more than 80 MHz"),
    (0x40022000, 0x00000705, "FLASH, access control register (FLASH_ACR)", "5 wait states, PRFTEN, ICEN, DCEN"),
    (0x4002100C, 0x01001E12, "RCC, PLL configuration register (RCC_PLLCFGR)", "HSI16 / 2 * 30 / 2 on R, PLLREN"),
    (0x40021000, 0x01000563, "RCC, clock control register (RCC_CR)", "PLLON, HSI16 ready"),
    (0x40021008, 0x00000083, "RCC, clock configuration register (RCC_CFGR)", "SW = PLL, HPRE = 2: 60 MHz first"),
    (0x40021008, 0x00000003, "RCC, clock configuration register (RCC_CFGR)", "HPRE = 1: 120 MHz; PPRE1, PPRE2 = 1"),
    (0x40007004, 0x00000200, "PWR, power control register 2 (PWR_CR2)", "IOSV: port G has its supply"),
    (0x4002104C, 0x00000040, "RCC, AHB2 peripheral clock enable register (RCC_AHB2ENR)", "GPIOGEN"),
    (0x48001820, 0x80000000, "GPIO, alternate function low register (GPIOG_AFRL)", "PG7: AF8, LPUART1_TX"),
    (0x48001824, 0x00000008, "GPIO, alternate function high register (GPIOG_AFRH)", "PG8: AF8, LPUART1_RX"),
    (0x48001808, 0x00004000, "GPIO, output speed register (GPIOG_OSPEEDR)", "PG7: medium"),
    (0x4800180C, 0x00010000, "GPIO, pull-up/pull-down register (GPIOG_PUPDR)", "PG8: pulled up"),
    (0x48001800, 0xFFFEBFFF, "GPIO, mode register (GPIOG_MODER)", "PG7 and PG8: alternate function"),
    (0x40021088, 0x00000800, "RCC, peripherals clock configuration register (RCC_CCIPR)", "LPUART1SEL = 10: HSI16"),
    (0x4002105C, 0x00000001, "RCC, APB1 peripheral clock enable register 2 (RCC_APB1ENR2)", "LPUART1EN"),
    (0x40008000, 0x00000000, "LPUART, control register 1 (LPUART_CR1)", "UE = 0 while the rest is written"),
    (0x40008004, 0x00000000, "LPUART, control register 2 (LPUART_CR2)", "one stop bit"),
    (0x40008008, 0x00000000, "LPUART, control register 3 (LPUART_CR3)", "no flow control"),
    (0x4000800C, 0x00008AE4, "LPUART, baud rate register (LPUART_BRR)", "256 * 16 MHz / 115200 = 35556"),
    (0x40008000, 0x20000000, "LPUART, control register 1 (LPUART_CR1)", "FIFOEN, which needs UE = 0"),
    (0x40008000, 0x2000000D, "LPUART, control register 1 (LPUART_CR1)", "TE, RE, UE"),
    (0x40021058, 0x10000001, "RCC, APB1 peripheral clock enable register 1 (RCC_APB1ENR1)", "TIM2EN"),
    (0x40000028, 0x00000077, "TIM2, prescaler (TIM2_PSC)", "120 MHz / 120 = 1 MHz"),
    (0x4000002C, 0xFFFFFFFF, "TIM2, auto-reload register (TIM2_ARR)", "all 32 bits"),
    (0x40000014, 0x00000001, "TIM2, event generation register (TIM2_EGR)", "UG loads the prescaler"),
    (0x40000000, 0x00000001, "TIM2, control register 1 (TIM2_CR1)", "CEN"),
)


@pytest.mark.skipif(shutil.which(ARM) is None, reason=f"needs {ARM}: make setup")
def test_the_chip_is_set_up_as_the_reference_manual_asks(boards_dir: Path, build_dir: Path) -> None:
    board = load_board("nucleo_l4r5", boards_dir)
    elf = build_firmware(board.name, boards_dir, build_dir, find_third_party()).elf
    machine = power_on(board, elf, boards_dir=boards_dir, build_dir=build_dir)
    written: list[tuple[int, int]] = []
    write = machine.chip.write

    def record(address: int, size: int, value: int) -> None:
        assert size == 4, f"a store of {size} bytes to the register at {address:#x}"
        written.append((address, value & 0xFFFFFFFF))
        write(address, size, value)

    machine.chip.write = record  # type: ignore[method-assign]
    while not machine.run(5.0):
        assert len(written) < 1000
    assert bytes(machine.chip.lpuart.sent).endswith(b"m-ready\r\n")
    of_chip = [(hex(x), hex(y)) for x, y in written if x < CORE and x != LPUART_TDR]
    assert of_chip == [(hex(x), hex(y)) for x, y, _, _ in SEQUENCE]
    assert machine.chip.rcc.hclk_hz == board.cpu_hz
    assert machine.chip.lpuart.baud() == pytest.approx(board.uart.baud, rel=0.002)
    machine.close()
