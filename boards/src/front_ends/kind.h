/* SPDX-License-Identifier: MIT
 * What a kind of front end is: one struct front_end_kind, in the table of front_end.c.
 */
#ifndef HIL_FRONT_END_KIND_H
#define HIL_FRONT_END_KIND_H

#include <stdbool.h>
#include <string.h>

#include "front_end.h"

struct front_end_kind {
    uint32_t number;
    const char *name;       /* what the names of such front ends begin with */
    uint16_t header_bytes;  /* struct front_end_header and what the kind adds */
    int (*check)(const void *blob); /* of a blob whose common header and CRC are good */
    size_t (*scratch_bytes)(const void *blob);
    void (*pair)(const void *blob, const int16_t *a, const int16_t *b, void *scratch, int8_t *out_a, int8_t *out_b);
};

static inline const void *table_of(const void *blob, uint32_t offset)
{
    return (const uint8_t *)blob + offset;
}

/* Whether a table of `count` entries lies inside the blob and behind its headers. */
static inline bool table_good(const void *blob, uint32_t offset, uint64_t count, uint32_t entry_bytes)
{
    const struct front_end_header *h = blob;
    return offset % 4 == 0 && offset >= h->header_bytes && (uint64_t)offset + count * entry_bytes <= h->total_bytes;
}

static inline bool finite_positive(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >= 0x00800000u && bits < 0x7F800000u; /* normal numbers above 0 */
}

/* int8 of x * inverse_scale + zero_point; halves away from zero, decided exactly: x - trunc(x) has no rounding,
 * and twice that reaches 1 from a half on. NaN becomes 512 steps. */
static inline int8_t quantise(float x, float inverse_scale, int32_t zero_point)
{
    float steps = x * inverse_scale;
    steps = steps < 512.0f ? steps : 512.0f;
    steps = steps > -512.0f ? steps : -512.0f;
    const int32_t whole = (int32_t)steps;
    const int32_t value = whole + (int32_t)((steps - (float)whole) * 2.0f) + zero_point;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

#endif
