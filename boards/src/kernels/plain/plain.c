/* SPDX-License-Identifier: MIT */
#include "plain.h"

static const struct kernel *const kernels[PLAN_KIND_END] = {
    [PLAN_ADD] = &plain_add,         [PLAN_SUB] = &plain_sub,   [PLAN_MUL] = &plain_mul,
    [PLAN_MEAN] = &plain_mean,       [PLAN_PAD] = &plain_pad,   [PLAN_CONCATENATION] = &plain_concatenation,
    [PLAN_SOFTMAX] = &plain_softmax, [PLAN_COPY] = &plain_copy, [PLAN_LOOKUP] = &plain_lookup,
};
extern const struct kernel_list plain_kernels;
const struct kernel_list plain_kernels = {.number = 1, .kernels = kernels};
