/* SPDX-License-Identifier: MIT
 * Operators for which the vendored CMSIS-NN has no kernel, to the bit as TFLite's reference kernels compute them.
 */
#ifndef HIL_PLAIN_H
#define HIL_PLAIN_H

#include "checks.h"
#include "kernel.h"

#define PLAIN_KERNELS(KERNEL) \
    KERNEL(ADD, add) KERNEL(SUB, sub) KERNEL(MUL, mul) KERNEL(MEAN, mean) KERNEL(SOFTMAX, softmax) \
    KERNEL(LOOKUP, lookup) KERNEL(COPY, copy) KERNEL(CONCATENATION, concatenation) KERNEL(PAD, pad) \
    KERNEL(MAXIMUM, maximum) KERNEL(MINIMUM, minimum) KERNEL(DELAY, delay)

#define KERNEL(constant, name) extern const struct kernel plain_##name;
PLAIN_KERNELS(KERNEL)
#undef KERNEL

/* A kernel's `in_place` where what is written was read, value by value or row by row. */
static inline bool value_by_value(const struct plan_op *op)
{
    (void)op;
    return true;
}

static inline int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

#endif
