/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include <string.h>

static bool power_of_two(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

bool cache_init(struct cache *cache, uint32_t lines, uint32_t line_bytes, uint32_t sector_bytes)
{
    bool sizes = power_of_two(line_bytes) && power_of_two(sector_bytes) && sector_bytes <= line_bytes;
    if (!sizes || line_bytes / sector_bytes > 32 || lines - 1 >= CACHE_MAX_LINES)
        return false;
    memset(cache, 0, sizeof *cache);
    cache->lines = lines;
    cache->line_shift = (uint32_t)__builtin_ctz(line_bytes);
    cache->sector_shift = (uint32_t)__builtin_ctz(sector_bytes);
    cache->sectors_mask = line_bytes / sector_bytes - 1;
    cache->on = true;
    return true;
}

void cache_clear(struct cache *cache)
{
    memset(cache->tag, 0, sizeof cache->tag);
    memset(cache->valid, 0, sizeof cache->valid);
}

static uint32_t oldest(const struct cache *cache)
{
    uint32_t slot = 0;
    for (uint32_t i = 1; i < cache->lines; ++i)
        if (cache->used[i] < cache->used[slot])
            slot = i;
    return slot;
}

static uint32_t find(const struct cache *cache, uint32_t tag)
{
    for (uint32_t i = 0; i < cache->lines; ++i)
        if (cache->tag[i] == tag)
            return i;
    return cache->lines;
}

int cache_touch(struct cache *cache, uint32_t offset)
{
    uint32_t tag = (offset >> cache->line_shift) + 1;
    uint32_t bit = 1u << ((offset >> cache->sector_shift) & cache->sectors_mask);
    uint32_t slot = cache->last;
    int missed = 1;
    if (!cache->on)
        return missed;
    if (cache->tag[slot] != tag && (slot = find(cache, tag)) == cache->lines) {
        slot = oldest(cache);
        cache->tag[slot] = tag;
        cache->valid[slot] = 0;
        missed = 2;
    }
    cache->last = slot;
    cache->used[slot] = ++cache->clock;
    if (cache->valid[slot] & bit)
        return 0;
    cache->valid[slot] |= bit;
    return missed;
}
