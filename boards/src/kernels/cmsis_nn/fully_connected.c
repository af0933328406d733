/* SPDX-License-Identifier: MIT */
#include "cmsis_nn.h"

static cmsis_nn_dims filter_dims(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = op->in_h * op->in_w * op->in_c, .h = 1, .w = 1, .c = op->out_c};
}

static const char *fully_connected_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const uint64_t bias_bytes = (uint64_t)op->out_c * sizeof(int32_t);
    REQUIRE(constants_good(plan, op->weights_data, input_bytes_of(op) * op->out_c),
            "weights outside the plan or unaligned");
    REQUIRE(op->bias_data == 0 || constants_good(plan, op->bias_data, bias_bytes),
            "bias outside the plan or unaligned");
    REQUIRE(scaling_good(op->output_multiplier, op->output_shift, 30), "a multiplier or shift out of range");
    return NULL;
}

static uint32_t fully_connected_scratch_bytes(const struct plan_op *op)
{
    const cmsis_nn_dims filter = filter_dims(op);
    return (uint32_t)arm_fully_connected_s8_get_buffer_size(&filter);
}

static bool run_fully_connected(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const cmsis_nn_fc_params params = {
        .input_offset = op->input_offset[0],
        .output_offset = op->output_offset,
        .activation = activation_of(op),
    };
    const cmsis_nn_context scratch = scratch_of(call);
    const cmsis_nn_per_tensor_quant_params scaling = {.multiplier = op->output_multiplier, .shift = op->output_shift};
    const cmsis_nn_dims input = input_dims(op), filter = filter_dims(op), output = output_dims(op);
    const cmsis_nn_dims bias = bias_dims(op);
    return arm_fully_connected_s8(&scratch, &params, &scaling, &input, call->input, &filter,
                                  kernel_constants(call, op->weights_data), &bias,
                                  kernel_constants(call, op->bias_data), &output,
                                  call->output) == ARM_CMSIS_NN_SUCCESS;
}

const struct kernel cmsis_nn_fully_connected = {
    .fault = fully_connected_fault, .scratch_bytes = fully_connected_scratch_bytes, .run = run_fully_connected};
