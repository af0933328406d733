/* SPDX-License-Identifier: MIT */
#include "plain.h"

static const struct kernel *const kernels[PLAN_KIND_END] = {
#define KERNEL(constant, name) [PLAN_##constant] = &plain_##name,
    PLAIN_KERNELS(KERNEL)
#undef KERNEL
};
const struct kernel_list plain_kernels = {.number = 1, .kernels = kernels};
