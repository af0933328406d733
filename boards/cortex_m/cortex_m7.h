/* SPDX-License-Identifier: MIT
 * What a Cortex-M7 has beside an M4. Section numbers are those of the Armv7-M Architecture Reference Manual.
 */
#ifndef HIL_CORTEX_M7_H
#define HIL_CORTEX_M7_H

#include <stddef.h>
#include <stdint.h>

/* Both caches, empty, on. */
void cortex_m7_caches_enable(void);

/* Memory has changed behind the caches, as a flash controller does it: drops what they hold of it. */
void cortex_m7_forget(uintptr_t begin, size_t bytes);

/* Lets software write to the cycle counter, before cortex_m_cycles_init(). */
void cortex_m7_unlock_trace(void);

#endif
