/* SPDX-License-Identifier: MIT
 * The cycle counter of the Cortex-M3, M4 and M7.
 */
#include "cortex_m.h"
#include "hal.h"

#define DEMCR REGISTER(0xE000EDFC)      /* C1.6.5 */
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL REGISTER(0xE0001000)   /* C1.8.7 */
#define DWT_CYCCNT REGISTER(0xE0001004) /* C1.8.8 */
#define DWT_CYCCNTENA (1u << 0)
#define DWT_NOCYCCNT (1u << 25)

bool cortex_m_cycles_init(void)
{
    DEMCR |= DEMCR_TRCENA; /* DWT and ITM are off without it */
    if ((DWT_CTRL & DWT_NOCYCCNT) != 0)
        return false;
    hal_cycles_enable(true);
    const uint32_t begin = hal_cycles();
    for (volatile int i = 0; i < 1000; i++) {
    }
    const bool counts = hal_cycles() != begin;
    hal_cycles_enable(false);
    return counts;
}

void hal_cycles_enable(bool on)
{
    if (on) {
        DWT_CYCCNT = 0;
        DWT_CTRL |= DWT_CYCCNTENA;
    } else {
        DWT_CTRL &= ~DWT_CYCCNTENA;
    }
}

uint32_t hal_cycles(void)
{
    __asm volatile("isb" ::: "memory"); /* what stands before it has finished; emulators count by blocks */
    return DWT_CYCCNT;
}
