/* SPDX-License-Identifier: MIT
 * Fixed-point arithmetic of TensorFlow Lite's reference kernels (gemmlowp/fixedpoint/fixedpoint.h), as
 * hil_nas/operators/fixed_point.py has it. A value "of k integer bits" is a number times 2^(31 - k).
 */
#ifndef HIL_FIXED_POINT_H
#define HIL_FIXED_POINT_H

#include <stdint.h>

enum { EXP_INTEGER_BITS = 5, EXP_FACTORS = EXP_INTEGER_BITS + 2 };

/* The upper half of twice the product, halves up; not of -2^31 twice. */
static inline int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1ll << 30)) >> 31);
}

/* Division by 2^by, by at most 31, halves away from zero. */
static inline int32_t rounded_shift(int32_t value, int32_t by)
{
    const int32_t mask = (int32_t)((1u << by) - 1), rest = value & mask;
    return (value >> by) + (rest > (mask >> 1) + (value < 0));
}

/* exp(x) for x in [-1/4, 0), both of no integer bits: a Taylor series of four terms around -1/8. */
static inline int32_t exp_of_part(int32_t value)
{
    const int32_t exp_of_eighth = 1895147668, third = 715827883;
    const int32_t x = value + (1 << 28), square = high_product(x, x);
    const int32_t cube = high_product(square, x), fourth = high_product(square, square);
    const int32_t above = rounded_shift(high_product(rounded_shift(fourth, 2) + cube, third) + square, 1);
    return exp_of_eighth + high_product(exp_of_eighth, x + above);
}

/* exp(x) for x <= 0 of EXP_INTEGER_BITS; the result has none. */
static inline int32_t exp_of_negative(int32_t value)
{
    static const int32_t exp_of_minus[EXP_FACTORS] = {/* 2^i, from i = -2 on */
                                                      1672461947, 1302514674, 790015084, 290630308,
                                                      39332535, 720401, 242};
    const int32_t quarter = 1 << (29 - EXP_INTEGER_BITS);
    const int32_t part = (value & (quarter - 1)) - quarter, rest = part - value;
    int32_t result = exp_of_part(part * (1 << EXP_INTEGER_BITS));
    for (uint32_t i = 0; i < EXP_FACTORS; i++)
        if ((rest & (quarter << i)) != 0)
            result = high_product(result, exp_of_minus[i]);
    return value != 0 ? result : INT32_MAX;
}

/* 1 / (1 + x) for x in [0, 1), both of no integer bits, by Newton and Raphson. */
static inline int32_t one_over_one_plus(int32_t value)
{
    const int32_t half_sum = (int32_t)(((uint32_t)value + (1u << 31)) >> 1);
    int32_t twice = 1515870810 + high_product(half_sum, -1010580540); /* 48/17 and 32/17, of two integer bits */
    for (uint32_t i = 0; i < 3; i++)
        twice += 4 * high_product(twice, (1 << 29) - high_product(half_sum, twice));
    return twice < 1 << 30 ? 2 * twice : INT32_MAX;
}

#endif
