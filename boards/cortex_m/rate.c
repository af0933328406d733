/* SPDX-License-Identifier: MIT
 * How fast the cycle counter counts. On silicon that is the clock that hal_init() has set; an emulator's may count
 * something else, Renode's 10 million instructions a second, and wraps that much later.
 */
#include "cortex_m.h"
#include "hal.h"

#define WINDOW_US 200u

uint32_t cortex_m_counted_hz(void)
{
    hal_cycles_enable(true);
    const uint32_t begin_us = hal_micros();
    while (hal_micros() - begin_us < WINDOW_US) {
    }
    const uint32_t cycles = hal_cycles();
    hal_cycles_enable(false);
    return (uint32_t)((uint64_t)cycles * 1000000u / (WINDOW_US - 1u)) + 1u; /* it began within a microsecond */
}
