/* SPDX-License-Identifier: MIT */
#include "dsp.h"

static const struct kernel *const kernels[PLAN_KIND_END] = {
    [0] = NULL,
};
const struct kernel_list dsp_kernels = {.number = 3, .kernels = kernels};
