/* SPDX-License-Identifier: MIT
 * What TFLite calls MultiplyByQuantizedMultiplier: a shift to the left, a rounding product with a Q31 multiplier below 1,
 * then a rounding division by a power of two, halves away from zero.
 */
#ifndef HIL_SCALING_H
#define HIL_SCALING_H

#include <stdint.h>

struct scaling {
    int32_t twice, multiplier, right_shift, half, sign_mask;
};

static inline struct scaling scaling_of(int32_t multiplier, int32_t shift)
{
    return (struct scaling){
        .twice = shift > 0 ? 2 << shift : 2,
        .multiplier = multiplier,
        .right_shift = shift < 0 ? -shift : 0,
        .half = shift < 0 ? 1 << (-shift - 1) : 0,
        .sign_mask = shift < 0 ? -1 : 0,
    };
}

/* (a * b + 2^31) >> 32; GCC does not find the instruction by itself. */
static inline int32_t rounded_upper_product(int32_t a, int32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t product;
    __asm("smmulr %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
#else
    return (int32_t)(((int64_t)a * b + (1ll << 31)) >> 32);
#endif
}

/* Takes the shifted value twice, below 2^31 in magnitude, so that the upper word is the doubled product. */
static inline int32_t scaled(int32_t twice, struct scaling by)
{
    const int32_t product = rounded_upper_product(twice, by.multiplier);
    return (product + by.half + ((product >> 31) & by.sign_mask)) >> by.right_shift;
}

#endif
