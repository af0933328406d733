/* SPDX-License-Identifier: MIT
 * The few registers of the STM32L4R5 that are used. Names and layouts: RM0432 (reference manual of the STM32L4+).
 */
#ifndef HIL_L4R5_H
#define HIL_L4R5_H

#include "../cortex_m/cortex_m.h"

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
#define LPUART1_CR1 REGISTER(0x40008000)
#define LPUART1_CR2 REGISTER(0x40008004)
#define LPUART1_CR3 REGISTER(0x40008008)
#define LPUART1_BRR REGISTER(0x4000800C)
#define LPUART1_ISR REGISTER(0x4000801C)
#define LPUART1_ICR REGISTER(0x40008020)
#define LPUART1_RDR REGISTER(0x40008024)
#define LPUART1_TDR REGISTER(0x40008028)

/* General-purpose timer 2 (TIM2), 32 bits */
#define TIM2_CR1 REGISTER(0x40000000)
#define TIM2_EGR REGISTER(0x40000014)
#define TIM2_CNT REGISTER(0x40000024)
#define TIM2_PSC REGISTER(0x40000028)
#define TIM2_ARR REGISTER(0x4000002C)

#define HSI16_HZ 16000000u

/* Clocks, voltage range, flash wait states and caches for BOARD_CPU_HZ; NULL, or what did not come up. */
const char *clock_init(void);

/* Waits until (register & mask) == value. The bound is far beyond what the data sheet allows on silicon: where it is
 * reached, something is broken. Emulators answer at once. */
bool wait_for(volatile uint32_t *address, uint32_t mask, uint32_t value);

#endif
