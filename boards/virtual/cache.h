/* SPDX-License-Identifier: MIT
 * A fully associative cache with LRU; its lines have sectors (one flash read each) that are filled one by one.
 */
#ifndef HIL_VIRTUAL_CACHE_H
#define HIL_VIRTUAL_CACHE_H

#include <stdbool.h>
#include <stdint.h>

enum { CACHE_MAX_LINES = 64 };

struct cache {
    uint32_t lines, line_shift, sector_shift, sectors_mask;
    bool on;
    uint32_t last;               /* slot of the last hit */
    uint64_t clock;
    uint32_t tag[CACHE_MAX_LINES];     /* line number in flash plus one; 0 is empty */
    uint32_t valid[CACHE_MAX_LINES];   /* a bit per sector */
    uint64_t used[CACHE_MAX_LINES];
};

/* Empty and on; false where the geometry is not supported. Sizes are powers of two. */
bool cache_init(struct cache *cache, uint32_t lines, uint32_t line_bytes, uint32_t sector_bytes);
void cache_clear(struct cache *cache);

/* One sector; returns 0 for a hit, 1 for a sector miss, 2 for a sector and line miss. Off, it always misses. */
int cache_touch(struct cache *cache, uint32_t offset);

#endif
