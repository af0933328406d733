/* SPDX-License-Identifier: MIT
 * Operators for which the vendored CMSIS-NN has no kernel, to the bit as TFLite's reference kernels compute them.
 */
#ifndef HIL_PLAIN_H
#define HIL_PLAIN_H

#include "checks.h"
#include "kernel.h"

extern const struct kernel plain_add, plain_sub, plain_mul, plain_mean, plain_softmax, plain_lookup, plain_copy,
    plain_concatenation, plain_pad;

static inline int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

#endif
