/* SPDX-License-Identifier: MIT
 * What boards with an STM32 share: a UART that is polled, timer 2 as microseconds, where memory lies. The layout of
 * these registers is that of RM0432 (STM32L4+) and RM0433 (STM32H7), in LPUART and USART alike.
 */
#ifndef HIL_STM32_H
#define HIL_STM32_H

#include <stdbool.h>
#include <stdint.h>

/* The store: bank 2 of the flash. The image stands in bank 1. */
#define STORE_BYTES (BOARD_FLASH_BYTES / 2u)
#define STORE_BEGIN (0x08000000u + STORE_BYTES)

/* Sets up the UART whose registers begin at an address; its pins and its clock are there already. From here on
 * hal_getc() and hal_write() work.
 *   divider: of its baud rate register */
void stm32_uart_init(uint32_t base, uint32_t divider);

/* Starts timer 2, whose clock is on already, as hal_micros(). */
void stm32_micros_init(uint32_t timer_hz);

/* Starts the cycle counter and measures its rate; traps where there is none. */
void stm32_cycles_init(void);

/* Waits until (register & mask) == value. The bound is some seconds, far beyond what the data sheets allow on silicon:
 * where it is reached, something is broken. Emulators answer at once. */
bool wait_for(volatile uint32_t *address, uint32_t mask, uint32_t value);

#endif
