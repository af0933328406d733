/* SPDX-License-Identifier: MIT
 * What the checks of a plan and those of its kernels are made of.
 */
#ifndef HIL_CHECKS_H
#define HIL_CHECKS_H

#include <stdbool.h>

#include "plan.h"

/* In a function that returns NULL or the reason. */
#define REQUIRE(condition, text) \
    do { \
        if (!(condition)) \
            return text; \
    } while (0)

static inline uint64_t product(uint64_t a, uint64_t b, uint64_t c)
{
    return a * b * c;
}

static inline bool in_range(int32_t value, int32_t low, int32_t high)
{
    return value >= low && value <= high;
}

static inline bool fits(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return bytes <= limit && offset <= limit - bytes;
}

static inline uint64_t input_bytes_of(const struct plan_op *op)
{
    return product(op->in_h, op->in_w, op->in_c);
}

static inline uint64_t second_bytes_of(const struct plan_op *op)
{
    return product(op->second_h, op->second_w, op->second_c);
}

static inline uint64_t output_bytes_of(const struct plan_op *op)
{
    return product(op->out_h, op->out_w, op->out_c);
}

/* Whether `bytes` of constants lie behind the operators, inside the plan and aligned. */
static inline bool constants_good(const struct plan_header *plan, uint32_t offset, uint64_t bytes)
{
    const uint32_t first = (uint32_t)(sizeof(struct plan_header) + plan->op_count * sizeof(struct plan_op));
    return offset >= first && offset % PLAN_ALIGNMENT == 0 && fits(offset, bytes, plan->total_bytes);
}

/* Constants that are words; they have been found good. */
static inline const int32_t *words_at(const struct plan_header *plan, uint32_t offset)
{
    return (const int32_t *)(const void *)((const uint8_t *)plan + offset);
}

/* A multiplier below 1 in Q31 and a shift, to the left where it is positive. */
static inline bool scaling_good(int32_t multiplier, int32_t shift, int32_t highest_shift)
{
    return multiplier >= 0 && in_range(shift, -31, highest_shift);
}

#endif
