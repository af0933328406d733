/* SPDX-License-Identifier: MIT
 * The engine `cmsis-nn`: walks a plan and calls CMSIS-NN's int8 kernels.
 *
 * SAME padding that is larger behind a map than before it is not told to CMSIS-NN: its kernels take the padding
 * before the map and bound every window by the input's extent, so what lies behind is padded by itself.
 */
#include "arm_nnfunctions.h"
#include "engine.h"
#include "kernels.h"
#include "plan_check.h"

_Static_assert(PLAN_MAX_OPS <= ENGINE_MAX_OPS, "room for a probe of each operator");
_Static_assert(PLAN_ALIGNMENT == ENGINE_ARENA_ALIGNMENT, "one alignment for blob and arena");

struct arguments {
    const struct plan_op *op;
    const uint8_t *blob;
    uint8_t *arena;
    const int8_t *input;
    int8_t *output;
    cmsis_nn_context scratch;
};

static const void *constants(const struct arguments *a, uint32_t offset)
{
    return offset != 0 ? a->blob + offset : NULL;
}

static cmsis_nn_dims input_dims(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = op->in_h, .w = op->in_w, .c = op->in_c};
}

static cmsis_nn_dims output_dims(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = op->out_h, .w = op->out_w, .c = op->out_c};
}

static cmsis_nn_dims conv_filter(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = op->out_c, .h = op->kernel_h, .w = op->kernel_w, .c = op->in_c};
}

static cmsis_nn_dims depthwise_filter(const struct plan_op *op)
{
    return (cmsis_nn_dims){.n = 1, .h = op->kernel_h, .w = op->kernel_w, .c = op->out_c};
}

static cmsis_nn_conv_params conv_params(const struct plan_op *op)
{
    return (cmsis_nn_conv_params){
        .input_offset = op->input_offset[0],
        .output_offset = op->output_offset,
        .stride = {.w = op->stride_w, .h = op->stride_h},
        .padding = {.w = op->pad_left, .h = op->pad_top},
        .dilation = {.w = op->dilation_w, .h = op->dilation_h},
        .activation = {.min = op->activation_min, .max = op->activation_max},
    };
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
        .activation = {.min = op->activation_min, .max = op->activation_max},
    };
}

static cmsis_nn_pool_params pool_params(const struct plan_op *op)
{
    return (cmsis_nn_pool_params){
        .stride = {.w = op->stride_w, .h = op->stride_h},
        .padding = {.w = op->pad_left, .h = op->pad_top},
        .activation = {.min = op->activation_min, .max = op->activation_max},
    };
}

static cmsis_nn_per_channel_quant_params per_channel(const struct arguments *a)
{
    /* CMSIS-NN only reads them, its struct lacks the const. */
    return (cmsis_nn_per_channel_quant_params){
        .multiplier = (int32_t *)(uintptr_t)constants(a, a->op->multipliers_data),
        .shift = (int32_t *)(uintptr_t)constants(a, a->op->shifts_data),
    };
}

uint32_t plan_scratch_bytes(const struct plan_op *op)
{
    const cmsis_nn_dims input = input_dims(op), output = output_dims(op);
    int32_t bytes = 0;
    if (op->kind == PLAN_CONV) {
        const cmsis_nn_conv_params params = conv_params(op);
        const cmsis_nn_dims filter = conv_filter(op);
        bytes = arm_convolve_wrapper_s8_get_buffer_size(&params, &input, &filter, &output);
    } else if (op->kind == PLAN_DEPTHWISE) {
        const cmsis_nn_dw_conv_params params = depthwise_params(op);
        const cmsis_nn_dims filter = depthwise_filter(op);
        bytes = arm_depthwise_conv_wrapper_s8_get_buffer_size(&params, &input, &filter, &output);
    } else if (op->kind == PLAN_AVERAGE_POOL) {
        bytes = arm_avgpool_s8_get_buffer_size(op->out_w, op->in_c);
    } else if (op->kind == PLAN_FULLY_CONNECTED) {
        const cmsis_nn_dims filter = {.n = op->in_h * op->in_w * op->in_c, .h = 1, .w = 1, .c = op->out_c};
        bytes = arm_fully_connected_s8_get_buffer_size(&filter);
    }
    return (uint32_t)bytes;
}

static bool run_conv(const struct arguments *a)
{
    const struct plan_op *op = a->op;
    const cmsis_nn_conv_params params = conv_params(op);
    const cmsis_nn_per_channel_quant_params scaling = per_channel(a);
    const cmsis_nn_dims input = input_dims(op), filter = conv_filter(op), output = output_dims(op);
    const cmsis_nn_dims bias = {.n = 1, .h = 1, .w = 1, .c = op->out_c};
    return arm_convolve_wrapper_s8(&a->scratch, &params, &scaling, &input, a->input, &filter,
                                   constants(a, op->weights_data), &bias, constants(a, op->bias_data), &output,
                                   a->output) == ARM_CMSIS_NN_SUCCESS;
}

static bool run_depthwise(const struct arguments *a)
{
    const struct plan_op *op = a->op;
    const cmsis_nn_dw_conv_params params = depthwise_params(op);
    const cmsis_nn_per_channel_quant_params scaling = per_channel(a);
    const cmsis_nn_dims input = input_dims(op), filter = depthwise_filter(op), output = output_dims(op);
    const cmsis_nn_dims bias = {.n = 1, .h = 1, .w = 1, .c = op->out_c};
    return arm_depthwise_conv_wrapper_s8(&a->scratch, &params, &scaling, &input, a->input, &filter,
                                         constants(a, op->weights_data), &bias, constants(a, op->bias_data), &output,
                                         a->output) == ARM_CMSIS_NN_SUCCESS;
}

static bool run_fully_connected(const struct arguments *a)
{
    const struct plan_op *op = a->op;
    const cmsis_nn_fc_params params = {
        .input_offset = op->input_offset[0],
        .output_offset = op->output_offset,
        .activation = {.min = op->activation_min, .max = op->activation_max},
    };
    const cmsis_nn_per_tensor_quant_params scaling = {.multiplier = op->output_multiplier, .shift = op->output_shift};
    const cmsis_nn_dims input = input_dims(op), output = output_dims(op);
    const cmsis_nn_dims filter = {.n = op->in_h * op->in_w * op->in_c, .h = 1, .w = 1, .c = op->out_c};
    const cmsis_nn_dims bias = {.n = 1, .h = 1, .w = 1, .c = op->out_c};
    return arm_fully_connected_s8(&a->scratch, &params, &scaling, &input, a->input, &filter,
                                  constants(a, op->weights_data), &bias, constants(a, op->bias_data), &output,
                                  a->output) == ARM_CMSIS_NN_SUCCESS;
}

static bool run_pool(const struct arguments *a)
{
    const struct plan_op *op = a->op;
    const cmsis_nn_pool_params params = pool_params(op);
    const cmsis_nn_dims input = input_dims(op), output = output_dims(op);
    const cmsis_nn_dims window = {.n = 1, .h = op->kernel_h, .w = op->kernel_w, .c = 1};
    if (op->kind == PLAN_AVERAGE_POOL)
        return arm_avgpool_s8(&a->scratch, &params, &input, a->input, &window, &output, a->output) ==
               ARM_CMSIS_NN_SUCCESS;
    return arm_max_pool_s8(&a->scratch, &params, &input, a->input, &window, &output, a->output) ==
           ARM_CMSIS_NN_SUCCESS;
}

typedef void pair_kernel(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output);

static bool run_pairs(const struct arguments *a, pair_kernel *kernel)
{
    const int8_t *first = constants(a, a->op->weights_data), *second = constants(a, a->op->bias_data);
    kernel(a->op, first != NULL ? first : a->input,
           second != NULL ? second : (const int8_t *)a->arena + a->op->input[1], a->output);
    return true;
}

static bool run_op(const struct arguments *a)
{
    switch ((enum plan_kind)a->op->kind) {
    case PLAN_CONV: return run_conv(a);
    case PLAN_DEPTHWISE: return run_depthwise(a);
    case PLAN_FULLY_CONNECTED: return run_fully_connected(a);
    case PLAN_AVERAGE_POOL:
    case PLAN_MAX_POOL: return run_pool(a);
    case PLAN_ADD: return run_pairs(a, kernel_add);
    case PLAN_SUB: return run_pairs(a, kernel_sub);
    case PLAN_MUL: return run_pairs(a, kernel_mul);
    case PLAN_CONCATENATION:
        kernel_concatenation(a->op, constants(a, a->op->weights_data), a->arena, a->output);
        return true;
    case PLAN_PAD: kernel_pad(a->op, a->input, a->output); return true;
    case PLAN_SOFTMAX: kernel_softmax(a->op, a->input, a->output); return true;
    case PLAN_LOOKUP: kernel_lookup(a->op, constants(a, a->op->weights_data), a->input, a->output); return true;
    case PLAN_MEAN: kernel_mean(a->op, a->input, a->output); return true;
    case PLAN_COPY: kernel_copy(a->op, constants(a, a->op->weights_data), a->input, a->output); return true;
    }
    return false;
}

struct engine_fault engine_load(struct engine_model *model, const void *blob, size_t blob_bytes, void *arena,
                                size_t arena_available)
{
    const struct engine_fault fault = plan_check(blob, blob_bytes, arena_available);
    if (fault.reason != NULL)
        return fault;
    const struct plan_header *plan = blob;
    *model = (struct engine_model){
        .blob = blob,
        .arena = arena,
        .op_count = plan->op_count,
        .arena_bytes = plan->arena_bytes,
        .input = (int8_t *)arena + plan->input_offset,
        .input_bytes = plan->input_bytes,
        .input_scale = plan->input_scale,
        .input_zero_point = plan->input_zero_point,
        .output = (int8_t *)arena + plan->output_offset,
        .output_bytes = plan->output_bytes,
        .output_scale = plan->output_scale,
        .output_zero_point = plan->output_zero_point,
    };
    return fault;
}

static const struct plan_op *ops_of(const struct engine_model *model)
{
    return (const struct plan_op *)(const void *)((const uint8_t *)model->blob + sizeof(struct plan_header));
}

bool engine_run(const struct engine_model *model, engine_probe probe, void *context)
{
    const struct plan_op *ops = ops_of(model);
    for (uint32_t i = 0; i < model->op_count; i++) {
        const struct arguments arguments = {
            .op = &ops[i],
            .blob = model->blob,
            .arena = model->arena,
            .input = (const int8_t *)model->arena + ops[i].input[0],
            .output = (int8_t *)model->arena + ops[i].output,
            .scratch = {.buf = model->arena + ops[i].scratch, .size = (int32_t)ops[i].scratch_bytes},
        };
        if (!run_op(&arguments))
            return false;
        if (probe != NULL)
            probe(context, i);
    }
    return true;
}

const char *engine_op_name(const struct engine_model *model, uint32_t op)
{
    static const char *const names[] = {
        [PLAN_CONV] = "conv",
        [PLAN_DEPTHWISE] = "depthwise",
        [PLAN_FULLY_CONNECTED] = "fully_connected",
        [PLAN_AVERAGE_POOL] = "average_pool",
        [PLAN_MAX_POOL] = "max_pool",
        [PLAN_ADD] = "add",
        [PLAN_CONCATENATION] = "concatenation",
        [PLAN_PAD] = "pad",
        [PLAN_SOFTMAX] = "softmax",
        [PLAN_SUB] = "sub",
        [PLAN_MUL] = "mul",
        [PLAN_LOOKUP] = "lookup",
        [PLAN_MEAN] = "mean",
        [PLAN_COPY] = "copy",
    };
    return names[ops_of(model)[op].kind];
}

const char *engine_name(void)
{
    return "cmsis-nn";
}
