/* SPDX-License-Identifier: MIT */
#include "dsp.h"

static const struct kernel *const kernels[PLAN_KIND_END] = {
    [PLAN_CONV] = &dsp_conv,
};
const struct kernel_list dsp_kernels = {.number = 3, .kernels = kernels};
