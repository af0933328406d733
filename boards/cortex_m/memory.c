/* SPDX-License-Identifier: MIT
 * What the linker script has laid out, as hal_memory() says it.
 */
#include "cortex_m.h"

const struct hal_memory *cortex_m_memory(const uint8_t *store, size_t store_bytes)
{
    static struct hal_memory memory;
    memory = (struct hal_memory){
        .pool = link_pool_begin,
        .pool_bytes = (size_t)(link_pool_end - link_pool_begin) & ~(size_t)15,
        .store = store,
        .store_bytes = store_bytes,
        .image_bytes = (size_t)(link_image_end - link_image_begin),
        .static_bytes = (size_t)(link_bss_end - link_data_begin) * sizeof(uint32_t),
        .stack_low = link_stack_low,
        .stack_high = link_stack_high,
    };
    return &memory;
}
