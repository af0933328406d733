/* SPDX-License-Identifier: MIT
 * The kernels of CMSIS-NN 4.0.0, and what their adapters share.
 */
#ifndef HIL_CMSIS_NN_H
#define HIL_CMSIS_NN_H

#include "arm_nnfunctions.h"
#include "checks.h"
#include "kernel.h"

extern const struct kernel cmsis_nn_conv, cmsis_nn_depthwise, cmsis_nn_fully_connected, cmsis_nn_average_pool,
    cmsis_nn_max_pool;

/* CMSIS-NN computes positions in int16_t and lengths of im2col columns in uint16_t. */
enum { CMSIS_NN_MAX_EXTENT = 32767, CMSIS_NN_MAX_COLUMN = 65535 };

static inline cmsis_nn_dims input_dims(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = op->in_h, .w = op->in_w, .c = op->in_c};
}

static inline cmsis_nn_dims output_dims(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = op->out_h, .w = op->out_w, .c = op->out_c};
}

static inline cmsis_nn_dims bias_dims(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = 1, .w = 1, .c = op->out_c};
}

static inline cmsis_nn_activation activation_of(const struct plan_op *op)
{
    return (cmsis_nn_activation){.min = op->activation_min, .max = op->activation_max};
}

static inline cmsis_nn_context scratch_of(const struct kernel_call *call)
{
    return (cmsis_nn_context){.buf = call->arena + call->op->scratch, .size = (int32_t)call->op->scratch_bytes};
}

/* Whether all positions of a window along one axis are int16. */
static inline bool cmsis_nn_axis_good(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation,
                                      int32_t pad)
{
    const int32_t most = CMSIS_NN_MAX_EXTENT;
    return in <= most && out <= most && kernel <= most && stride <= most && dilation <= most &&
           (int64_t)(out - 1) * stride - pad + (int64_t)(kernel - 1) * dilation <= most;
}

static inline const char *cmsis_nn_window_fault(const struct plan_op *op, int32_t dilation_h, int32_t dilation_w)
{
    REQUIRE(cmsis_nn_axis_good(op->in_h, op->out_h, op->kernel_h, op->stride_h, dilation_h, op->pad_top) &&
                cmsis_nn_axis_good(op->in_w, op->out_w, op->kernel_w, op->stride_w, dilation_w, op->pad_left),
            "a window too large for the kernel");
    return NULL;
}

#endif
