/* SPDX-License-Identifier: MIT
 * What a kind of front end is: one struct front_end_kind, in the table of front_end.c.
 */
#ifndef HIL_FRONT_END_KIND_H
#define HIL_FRONT_END_KIND_H

#include <stdbool.h>

#include "front_end.h"

#define FRONT_END_GROUP 4u /* frames that a stage takes at a time, at most */

/* The frames that the stages are at. */
struct front_end_group {
    const void *blob;
    const int16_t *samples; /* of the first frame; each of the others begins a hop later */
    uint32_t frames;        /* 1 to FRONT_END_GROUP */
    void *scratch;          /* where each stage leaves what the next one reads */
    int8_t *out;            /* features of the frames, written by the last stage */
};

/* A name stands for the same code in every kind: latency models are fitted by it. */
struct front_end_stage {
    const char *name;
    void (*run)(const struct front_end_group *group);
};

struct front_end_kind {
    uint32_t number;
    const char *name;       /* what the names of such front ends begin with */
    uint16_t header_bytes;  /* struct front_end_header and what the kind adds */
    int (*check)(const void *blob); /* of a blob whose common header and CRC are good */
    size_t (*scratch_bytes)(const void *blob);
    uint32_t (*group_frames)(const void *blob); /* that its stages take at a time, up to FRONT_END_GROUP */
    const struct front_end_stage *stages;
    size_t stage_count;
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

/* What turns a sum into an int8. */
struct quantiser {
    int32_t multiplier, addend;
    uint32_t shift;
};

static inline struct quantiser quantiser_of(const struct front_end_header *h)
{
    const int32_t half = (1 << h->shift) >> 1;
    return (struct quantiser){h->multiplier, h->zero_point * (1 << h->shift) + half, h->shift};
}

static inline int8_t quantised(int32_t sum, struct quantiser q)
{
    const int32_t value = ((int32_t)(((int64_t)sum * q.multiplier) >> 32) + q.addend) >> q.shift; /* 2^30 and 2^30 */
#if defined(__ARM_FEATURE_DSP)
    int32_t saturated;
    __asm("ssat %0, #8, %1" : "=r"(saturated) : "r"(value) : "cc");
    return (int8_t)saturated;
#else
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
#endif
}

#endif
