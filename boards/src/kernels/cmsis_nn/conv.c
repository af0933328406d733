/* SPDX-License-Identifier: MIT
 * Convolutions, depthwise ones too.
 *
 * SAME padding that is larger behind a map than before it is not told to CMSIS-NN: its kernels take the padding
 * before the map and bound every window by the input's extent, so what lies behind is padded by itself.
 */
#include "cmsis_nn.h"

static const char *constants_fault(const struct plan_header *plan, const struct plan_op *op, uint64_t weights_bytes)
{
    const uint64_t words = (uint64_t)op->out_c * sizeof(int32_t);
    REQUIRE(constants_good(plan, op->weights_data, weights_bytes), "weights outside the plan or unaligned");
    REQUIRE(op->bias_data == 0 || constants_good(plan, op->bias_data, words), "bias outside the plan or unaligned");
    REQUIRE(constants_good(plan, op->multipliers_data, words) && constants_good(plan, op->shifts_data, words),
            "multipliers or shifts outside the plan or unaligned");
    const int32_t *multipliers = words_at(plan, op->multipliers_data), *shifts = words_at(plan, op->shifts_data);
    for (uint32_t i = 0; i < op->out_c; i++)
        REQUIRE(scaling_good(multipliers[i], shifts[i], 30), "a multiplier or shift out of range");
    return NULL;
}

static cmsis_nn_per_channel_quant_params scaling_of(const struct kernel_call *call)
{
    /* CMSIS-NN only reads them, its struct lacks the const. */
    return (cmsis_nn_per_channel_quant_params){
        .multiplier = (int32_t *)(uintptr_t)kernel_constants(call, call->op->multipliers_data),
        .shift = (int32_t *)(uintptr_t)kernel_constants(call, call->op->shifts_data),
    };
}

static cmsis_nn_dims conv_filter(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = op->out_c, .h = op->kernel_h, .w = op->kernel_w, .c = op->in_c};
}

static cmsis_nn_conv_params conv_params(const struct plan_op *op)
{
    return (cmsis_nn_conv_params){
        .input_offset = op->input_offset[0],
        .output_offset = op->output_offset,
        .stride = {.w = op->stride_w, .h = op->stride_h},
        .padding = {.w = op->pad_left, .h = op->pad_top},
        .dilation = {.w = op->dilation_w, .h = op->dilation_h},
        .activation = activation_of(op),
    };
}

static const char *conv_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const char *fault = cmsis_nn_window_fault(op, op->dilation_h, op->dilation_w);
    REQUIRE(fault == NULL, fault);
    const uint64_t column = product(op->kernel_h, op->kernel_w, op->in_c);
    REQUIRE(column <= CMSIS_NN_MAX_COLUMN, "kernel too large for the engine");
    /* A 1x1 kernel with stride 1 is taken as a product over the input's pixels. */
    const bool pointwise = op->kernel_h == 1 && op->kernel_w == 1 && op->stride_h == 1 && op->stride_w == 1;
    REQUIRE(!pointwise || (op->in_h == op->out_h && op->in_w == op->out_w), "1x1 kernel that changes the shape");
    return constants_fault(plan, op, column * op->out_c);
}

static uint32_t conv_scratch_bytes(const struct plan_op *op)
{
    const cmsis_nn_conv_params params = conv_params(op);
    const cmsis_nn_dims input = input_dims(op), filter = conv_filter(op), output = output_dims(op);
    return (uint32_t)arm_convolve_wrapper_s8_get_buffer_size(&params, &input, &filter, &output);
}

static bool run_conv(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const cmsis_nn_context scratch = scratch_of(call);
    const cmsis_nn_conv_params params = conv_params(op);
    const cmsis_nn_per_channel_quant_params scaling = scaling_of(call);
    const cmsis_nn_dims input = input_dims(op), filter = conv_filter(op), output = output_dims(op);
    const cmsis_nn_dims bias = bias_dims(op);
    return arm_convolve_wrapper_s8(&scratch, &params, &scaling, &input, call->input, &filter,
                                   kernel_constants(call, op->weights_data), &bias,
                                   kernel_constants(call, op->bias_data), &output,
                                   call->output) == ARM_CMSIS_NN_SUCCESS;
}

const struct kernel cmsis_nn_conv = {.fault = conv_fault, .scratch_bytes = conv_scratch_bytes, .run = run_conv};

static cmsis_nn_dims depthwise_filter(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = op->kernel_h, .w = op->kernel_w, .c = op->out_c};
}

static cmsis_nn_dw_conv_params depthwise_params(const struct plan_op *op)
{
    return (cmsis_nn_dw_conv_params){
        .input_offset = op->input_offset[0],
        .output_offset = op->output_offset,
        .ch_mult = op->out_c / op->in_c,
        .stride = {.w = op->stride_w, .h = op->stride_h},
        .padding = {.w = op->pad_left, .h = op->pad_top},
        .dilation = {.w = op->dilation_w, .h = op->dilation_h},
        .activation = activation_of(op),
    };
}

static const char *depthwise_fault(const struct plan_header *plan, const struct plan_op *op)
{
    const char *fault = cmsis_nn_window_fault(op, op->dilation_h, op->dilation_w);
    REQUIRE(fault == NULL, fault);
    const uint64_t area = (uint64_t)op->kernel_h * op->kernel_w;
    REQUIRE(area <= CMSIS_NN_MAX_COLUMN, "kernel too large for the engine");
    /* arm_depthwise_conv_3x3_s8 reads a window's middle column without looking where the row ends. */
    const int32_t last = (op->out_w - 1) * op->stride_w - op->pad_left;
    REQUIRE(op->kernel_w != 3 || op->kernel_h != 3 || last < 0 || last + 1 < op->in_w || op->dilation_w != 1,
            "3x3 kernel that begins in the last column");
    return constants_fault(plan, op, area * op->out_c);
}

static uint32_t depthwise_scratch_bytes(const struct plan_op *op)
{
    const cmsis_nn_dw_conv_params params = depthwise_params(op);
    const cmsis_nn_dims input = input_dims(op), filter = depthwise_filter(op), output = output_dims(op);
    return (uint32_t)arm_depthwise_conv_wrapper_s8_get_buffer_size(&params, &input, &filter, &output);
}

static bool run_depthwise(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const cmsis_nn_context scratch = scratch_of(call);
    const cmsis_nn_dw_conv_params params = depthwise_params(op);
    const cmsis_nn_per_channel_quant_params scaling = scaling_of(call);
    const cmsis_nn_dims input = input_dims(op), filter = depthwise_filter(op), output = output_dims(op);
    const cmsis_nn_dims bias = bias_dims(op);
    return arm_depthwise_conv_wrapper_s8(&scratch, &params, &scaling, &input, call->input, &filter,
                                         kernel_constants(call, op->weights_data), &bias,
                                         kernel_constants(call, op->bias_data), &output,
                                         call->output) == ARM_CMSIS_NN_SUCCESS;
}

const struct kernel cmsis_nn_depthwise = {
    .fault = depthwise_fault, .scratch_bytes = depthwise_scratch_bytes, .run = run_depthwise};
