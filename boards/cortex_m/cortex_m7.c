/* SPDX-License-Identifier: MIT
 * Caches and the trace unit's lock of a Cortex-M7.
 */
#include "cortex_m7.h"

#include "cortex_m.h"

#define CCR REGISTER(0xE000ED14)      /* B3.2.8, configuration and control register */
#define CCSIDR REGISTER(0xE000ED80)   /* B4.8.3, cache size ID register */
#define CSSELR REGISTER(0xE000ED84)   /* B4.8.4, cache size selection register; 0 is the data cache */
#define ICIALLU REGISTER(0xE000EF50)  /* B3.2.5, cache maintenance operations */
#define DCIMVAC REGISTER(0xE000EF5C)
#define DCISW REGISTER(0xE000EF60)
#define CCR_DC (1u << 16)
#define CCR_IC (1u << 17)
#define LINE_BYTES 32u                /* of every Cortex-M7 */
#define DEMCR REGISTER(0xE000EDFC)    /* C1.6.5 */
#define DEMCR_TRCENA (1u << 24)
#define DWT_LAR REGISTER(0xE0001FB0)  /* CoreSight's software lock, which the M4 does not have */
#define LAR_KEY 0xC5ACCE55u

static void barrier(void)
{
    __asm volatile("dsb\n\tisb" ::: "memory");
}

static void invalidate_data_cache(void)
{
    CSSELR = 0;
    barrier();
    const uint32_t size = CCSIDR, sets = ((size >> 13) & 0x7FFFu) + 1u, ways = ((size >> 3) & 0x3FFu) + 1u;
    /* the way stands in the highest bits, as many as it needs */
    const int way_shift = ways > 1u ? __builtin_clz(ways - 1u) : 31;
    for (uint32_t set = 0; set < sets; set++)
        for (uint32_t way = 0; way < ways; way++)
            DCISW = way << way_shift | set * LINE_BYTES;
}

/* After a reset the caches are off and hold anything at all. */
void cortex_m7_caches_enable(void)
{
    barrier();
    ICIALLU = 0;
    if ((CCR & CCR_DC) == 0) /* after a debugger's restart without a reset it may be on, and hold the only copy */
        invalidate_data_cache();
    barrier();
    CCR |= CCR_IC | CCR_DC;
    barrier();
}

void cortex_m7_forget(uintptr_t begin, size_t bytes)
{
    barrier();
    for (uintptr_t line = begin & ~(uintptr_t)(LINE_BYTES - 1u); line < begin + bytes; line += LINE_BYTES)
        DCIMVAC = line;
    ICIALLU = 0;
    barrier();
}

void cortex_m7_unlock_trace(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = LAR_KEY;
}
