/* SPDX-License-Identifier: MIT
 * The few registers of the STM32L4R5 that are used. Names and layouts: RM0432 (reference manual of the STM32L4+).
 */
#ifndef HIL_L4R5_H
#define HIL_L4R5_H

#include "../cortex_m/cortex_m.h"
#include "../cortex_m/stm32.h"

/* Reset and clock control (RCC), chapter 6 */
#define RCC_CR REGISTER(0x40021000)
#define RCC_CFGR REGISTER(0x40021008)
#define RCC_PLLCFGR REGISTER(0x4002100C)
#define RCC_AHB2ENR REGISTER(0x4002104C)
#define RCC_APB1ENR1 REGISTER(0x40021058)
#define RCC_APB1ENR2 REGISTER(0x4002105C)
#define RCC_CCIPR REGISTER(0x40021088)

/* Power control (PWR), chapter 5 */
#define PWR_CR1 REGISTER(0x40007000)
#define PWR_CR2 REGISTER(0x40007004)
#define PWR_SR2 REGISTER(0x40007014)
#define PWR_CR5 REGISTER(0x40007080)

/* Embedded flash memory (FLASH), chapter 3 */
#define FLASH_ACR REGISTER(0x40022000)
#define FLASH_KEYR REGISTER(0x40022008)
#define FLASH_SR REGISTER(0x40022010)
#define FLASH_CR REGISTER(0x40022014)
#define FLASH_OPTR REGISTER(0x40022020)

/* General-purpose I/O port G (GPIO), chapter 8 */
#define GPIOG_MODER REGISTER(0x48001800)
#define GPIOG_OSPEEDR REGISTER(0x48001808)
#define GPIOG_PUPDR REGISTER(0x4800180C)
#define GPIOG_AFRL REGISTER(0x48001820)
#define GPIOG_AFRH REGISTER(0x48001824)

/* Low-power UART (LPUART) */
#define LPUART1 0x40008000u

#define HSI16_HZ 16000000u

/* Clocks, voltage range, flash wait states and caches for BOARD_CPU_HZ; NULL, or what did not come up. */
const char *clock_init(void);

#endif
