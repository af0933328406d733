/* SPDX-License-Identifier: MIT */
#include "cmsis_nn.h"

static cmsis_nn_pool_params pool_params(const struct plan_op *op)
{
    return (cmsis_nn_pool_params){
        .stride = {.w = op->stride_w, .h = op->stride_h},
        .padding = {.w = op->pad_left, .h = op->pad_top},
        .activation = activation_of(op),
    };
}

static const char *pool_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    return cmsis_nn_window_fault(op, 1, 1);
}

static uint32_t average_scratch_bytes(const struct plan_op *op)
{
    return (uint32_t)arm_avgpool_s8_get_buffer_size(op->out_w, op->in_c);
}

typedef arm_cmsis_nn_status pool(const cmsis_nn_context *scratch, const cmsis_nn_pool_params *params,
                                 const cmsis_nn_dims *input_shape, const int8_t *input, const cmsis_nn_dims *window,
                                 const cmsis_nn_dims *output_shape, int8_t *output);

static bool run_pool(const struct kernel_call *call, pool *kernel)
{
    const struct plan_op *op = call->op;
    const cmsis_nn_context scratch = scratch_of(call);
    const cmsis_nn_pool_params params = pool_params(op);
    const cmsis_nn_dims input = input_dims(op), output = output_dims(op);
    const cmsis_nn_dims window = {.n = 1, .h = op->kernel_h, .w = op->kernel_w, .c = 1};
    return kernel(&scratch, &params, &input, call->input, &window, &output, call->output) == ARM_CMSIS_NN_SUCCESS;
}

static bool run_average(const struct kernel_call *call)
{
    return run_pool(call, arm_avgpool_s8);
}

static bool run_max(const struct kernel_call *call)
{
    return run_pool(call, arm_max_pool_s8);
}

const struct kernel cmsis_nn_average_pool = {
    .fault = pool_fault, .scratch_bytes = average_scratch_bytes, .run = run_average};
const struct kernel cmsis_nn_max_pool = {.fault = pool_fault, .run = run_max};
