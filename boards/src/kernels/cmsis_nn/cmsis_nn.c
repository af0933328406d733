/* SPDX-License-Identifier: MIT */
#include "cmsis_nn.h"

static const struct kernel *const kernels[PLAN_KIND_END] = {
    [PLAN_CONV] = &cmsis_nn_conv,
    [PLAN_DEPTHWISE] = &cmsis_nn_depthwise,
    [PLAN_FULLY_CONNECTED] = &cmsis_nn_fully_connected,
    [PLAN_AVERAGE_POOL] = &cmsis_nn_average_pool,
    [PLAN_MAX_POOL] = &cmsis_nn_max_pool,
};
const struct kernel_list cmsis_nn_kernels = {.number = 2, .kernels = kernels};
