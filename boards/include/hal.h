/* SPDX-License-Identifier: MIT
 * The only seam between the firmware and a board. Each board implements exactly these functions;
 * no register is touched outside a board's folder and boards/cortex_m/.
 */
#ifndef HIL_HAL_H
#define HIL_HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hal_memory {
    uint8_t *pool;           /* free RAM that the firmware hands out: audio, front-end tables, plan, arena */
    size_t pool_bytes;
    const uint8_t *store;    /* where hal_store_write() puts a blob: flash on silicon */
    size_t store_bytes;
    size_t image_bytes;      /* flash taken by the linked image: code, constants, initial data */
    size_t static_bytes;     /* RAM of .data and .bss */
    uint32_t *stack_low;     /* lowest address of the stack; NULL where it is not painted */
    uint32_t *stack_high;    /* one past its highest address */
};

#define HAL_STACK_PAINT 0x5AFEC0DEu /* what start-up writes over the whole stack */
#define HAL_STORE_UNIT 65536u       /* blobs in the store begin at multiples of this: whole flash pages */

void hal_init(void);                 /* clocks, caches, UART; traps where there is no cycle counter */
int hal_getc(void);                  /* next byte received, or -1 when none is waiting */
void hal_write(const void *data, size_t bytes); /* blocks until queued */
void hal_cycles_enable(bool on);     /* starts the cycle counter at 0, or stops it */
uint32_t hal_cycles(void);           /* free-running while enabled; wraps at 2^32: subtract as uint32_t */
uint32_t hal_cycles_hz(void);        /* what the counter counts in a second of hal_micros() */
uint32_t hal_micros(void);           /* since start; wraps at 2^32 */
uint32_t hal_irq_off(void);
void hal_irq_restore(uint32_t state);
void hal_reset(void);                /* does not return */
bool hal_store_erase(size_t offset, size_t bytes); /* offset a multiple of HAL_STORE_UNIT; verified */
bool hal_store_write(size_t offset, const void *data, size_t bytes); /* offset a multiple of 8; verified */
const struct hal_memory *hal_memory(void);

#endif
