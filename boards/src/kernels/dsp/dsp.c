/* SPDX-License-Identifier: MIT */
#include "dsp.h"

static const struct kernel *const kernels[PLAN_KIND_END] = {
    [PLAN_CONV] = &dsp_conv,
    [PLAN_DEPTHWISE] = &dsp_depthwise,
    [PLAN_FULLY_CONNECTED] = &dsp_fully_connected,
    [PLAN_AVERAGE_POOL] = &dsp_average_pool,
};
const struct kernel_list dsp_kernels = {.number = 3, .kernels = kernels};
