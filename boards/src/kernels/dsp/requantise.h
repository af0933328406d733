/* SPDX-License-Identifier: MIT
 * From a 32-bit sum to an int8, exactly as TFLite's reference kernels of convolutions do it with a shift to the right:
 * SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT (halves away from zero), then the zero point, then a clamp.
 *
 * Five instructions, or six, do all of it, since what is known beforehand stands in one addend:
 *   product = (2 * sum * multiplier + 2^31) >> 32     halves upwards, as the first function rounds (its nudge)
 *   result  = (product + half - (product < 0) + (zero_point << shift)) >> shift, half = 2^(shift - 1)
 * and the first two sums are one SMMLAR. The sum's sign may stand for the product's where shift >= 1: they differ only for a
 * product of 0, which gives the zero point either way. Where nothing below the zero point is left by the activation,
 * the sign does not matter at all, and shift = 0 (half = 0) is right too.
 *
 * hil_nas/kernels/dsp/requantise.py makes the addends and says which scalings are taken.
 */
#ifndef HIL_DSP_REQUANTISE_H
#define HIL_DSP_REQUANTISE_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"

enum { DSP_MAX_SHIFT = 22 }; /* 128 << 22 and a sum below 2^30 stay in 32 bits together */

/* Of one output channel. */
struct dsp_scaling {
    int32_t multiplier, addend, shift;
};

/* Whether the activation leaves values below the zero point. */
static inline bool dsp_signed(const struct plan_op *op)
{
    return op->activation_min < op->output_offset;
}

/* Wraps around, as the instructions do: a plan that no host has written may ask for it. */
static inline int32_t dsp_sum(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* addend + ((a * b + 2^31) >> 32) */
static inline int32_t dsp_rounded_upper_product_sum(int32_t a, int32_t b, int32_t addend)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t sum;
    __asm("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(addend));
    return sum;
#else
    return dsp_sum(addend, (int32_t)(((int64_t)a * b + (1ll << 31)) >> 32));
#endif
}

static inline int32_t dsp_saturated8(int32_t value)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t saturated;
    __asm("ssat %0, #8, %1" : "=r"(saturated) : "r"(value));
    return saturated;
#else
    return value < -128 ? -128 : value > 127 ? 127 : value;
#endif
}

/* Takes the sum twice, below 2^31 in magnitude. Saturates to int8; an activation that leaves less: dsp_clamp(). */
static inline int8_t dsp_requantised(int32_t twice, const struct dsp_scaling *by, bool is_signed)
{
    const int32_t addend = is_signed ? dsp_sum(by->addend, twice >> 31) : by->addend;
    return (int8_t)dsp_saturated8(dsp_rounded_upper_product_sum(twice, by->multiplier, addend) >> by->shift);
}

/* An activation within int8's limits, on values that were saturated to these: the same as one clamp. */
static inline void dsp_clamp(const struct plan_op *op, int8_t *values, uint32_t count)
{
    if (op->activation_min == INT8_MIN && op->activation_max == INT8_MAX)
        return;
    for (uint32_t i = 0; i < count; i++)
        values[i] = (int8_t)(values[i] < op->activation_min   ? op->activation_min
                             : values[i] > op->activation_max ? op->activation_max
                                                              : values[i]);
}

#endif
