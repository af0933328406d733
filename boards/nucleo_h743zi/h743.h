/* SPDX-License-Identifier: MIT
 * The few registers of the STM32H743 that are used. Names and layouts: RM0433 (reference manual of the STM32H743).
 */
#ifndef HIL_H743_H
#define HIL_H743_H

#include "../cortex_m/cortex_m.h"
#include "../cortex_m/stm32.h"

/* Reset and clock control (RCC) */
#define RCC_CR REGISTER(0x58024400)
#define RCC_CFGR REGISTER(0x58024410)
#define RCC_D1CFGR REGISTER(0x58024418)
#define RCC_D2CFGR REGISTER(0x5802441C)
#define RCC_D3CFGR REGISTER(0x58024420)
#define RCC_PLLCKSELR REGISTER(0x58024428)
#define RCC_PLLCFGR REGISTER(0x5802442C)
#define RCC_PLL1DIVR REGISTER(0x58024430)
#define RCC_D2CCIP2R REGISTER(0x58024454)
#define RCC_AHB4ENR REGISTER(0x580244E0)
#define RCC_APB1LENR REGISTER(0x580244E8)

/* Power control (PWR) */
#define PWR_CSR1 REGISTER(0x58024804)
#define PWR_CR3 REGISTER(0x5802480C)
#define PWR_D3CR REGISTER(0x58024818)

/* Embedded flash memory (FLASH): ACR is common, the rest belongs to bank 2 */
#define FLASH_ACR REGISTER(0x52002000)
#define FLASH_KEYR2 REGISTER(0x52002104)
#define FLASH_CR2 REGISTER(0x5200210C)
#define FLASH_SR2 REGISTER(0x52002110)
#define FLASH_CCR2 REGISTER(0x52002114)

/* General-purpose I/O port D (GPIO) */
#define GPIOD_MODER REGISTER(0x58020C00)
#define GPIOD_OSPEEDR REGISTER(0x58020C08)
#define GPIOD_PUPDR REGISTER(0x58020C0C)
#define GPIOD_AFRH REGISTER(0x58020C24)

/* Universal synchronous/asynchronous receiver transmitter (USART3) */
#define USART3 0x40004800u

/* Microcontroller debug unit (DBGMCU) and AXI interconnect */
#define DBGMCU_IDC REGISTER(0x5C001000)
#define AXI_TARG7_FN_MOD REGISTER(0x51008108)

#define HSI_HZ 64000000u

/* Supply, clocks and flash wait states for BOARD_CPU_HZ; NULL, or what did not come up. */
const char *clock_init(void);

#endif
