/* SPDX-License-Identifier: MIT
 * What all Cortex-M boards share. Section numbers are those of the Armv7-M Architecture Reference Manual.
 */
#ifndef HIL_CORTEX_M_H
#define HIL_CORTEX_M_H

#include "hal.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* Symbols of the linker script: only their addresses mean anything. */
extern uint32_t link_stack_low[], link_stack_high[];
extern uint32_t link_data_load[], link_data_begin[], link_data_end[];
extern uint32_t link_bss_begin[], link_bss_end[];
extern uint8_t link_pool_begin[], link_pool_end[], link_image_begin[], link_image_end[];

/* Turns the trace unit on; false where there is no cycle counter, or it does not count. */
bool cortex_m_cycles_init(void);

/* What the counter counts in a second of hal_micros(), measured and rounded up. */
uint32_t cortex_m_counted_hz(void);

/* What hal_memory() says of a board whose store lies somewhere. */
const struct hal_memory *cortex_m_memory(const uint8_t *store, size_t store_bytes);

/* Says why, where there is a UART already, and stops for good. */
_Noreturn void cortex_m_trap(const char *reason);

_Noreturn void cortex_m_reset(void);
void reset_handler(void); /* where the core begins */

#endif
