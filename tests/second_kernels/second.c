/* SPDX-License-Identifier: MIT
 * A list of kernels as one is added: 1x1 convolutions of stride 1. Its twin stands in test_second_kernels.py.
 *
 * Weights lie by input channel, rows of 16 output channels behind each other; scaling is pairs {multiplier, shift} at
 * `multipliers_data`; the scratch memory is 16 sums. The input's offset is in the bias.
 */
#include "arm_nnsupportfunctions.h"
#include "checks.h"
#include "kernel.h"

enum { CHANNELS = 16 };

static const char *conv_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(op->kernel_h == 1 && op->kernel_w == 1 && op->stride_h == 1 && op->stride_w == 1 && op->pad_top == 0 &&
                op->pad_left == 0 && op->in_h == op->out_h && op->in_w == op->out_w && op->out_c % CHANNELS == 0,
            "no 1x1 kernel, or channels that are no multiple of 16");
    const uint64_t words = (uint64_t)op->out_c * sizeof(int32_t);
    REQUIRE(constants_good(plan, op->weights_data, (uint64_t)op->in_c * op->out_c) &&
                constants_good(plan, op->bias_data, words) && constants_good(plan, op->multipliers_data, 2 * words),
            "constants outside the plan or unaligned");
    const int32_t *scaling = words_at(plan, op->multipliers_data);
    for (uint32_t i = 0; i < op->out_c; i++)
        REQUIRE(scaling_good(scaling[2 * i], scaling[2 * i + 1], 30), "a multiplier or shift out of range");
    return NULL;
}

static uint32_t conv_scratch_bytes(const struct plan_op *op)
{
    (void)op;
    return CHANNELS * sizeof(int32_t);
}

static bool run_conv(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const int32_t *bias = kernel_constants(call, op->bias_data);
    const int32_t *scaling = kernel_constants(call, op->multipliers_data);
    int32_t *sums = (int32_t *)(void *)(call->arena + op->scratch);
    const int8_t *input = call->input;
    int8_t *output = call->output;
    for (uint32_t pixel = 0; pixel < (uint32_t)op->in_h * op->in_w; pixel++, input += op->in_c) {
        const int8_t *weights = kernel_constants(call, op->weights_data);
        for (uint32_t first = 0; first < op->out_c; first += CHANNELS) {
            for (uint32_t i = 0; i < CHANNELS; i++)
                sums[i] = bias[first + i];
            for (uint32_t c = 0; c < op->in_c; c++)
                for (uint32_t i = 0; i < CHANNELS; i++)
                    sums[i] += input[c] * *weights++;
            for (uint32_t i = 0; i < CHANNELS; i++) {
                const int32_t *by = scaling + 2 * (first + i);
                const int32_t value = arm_nn_requantize(sums[i], by[0], by[1]) + op->output_offset;
                *output++ = (int8_t)(value < op->activation_min   ? op->activation_min
                                     : value > op->activation_max ? op->activation_max
                                                                  : value);
            }
        }
    }
    return true;
}

const struct kernel second_conv = {.fault = conv_fault, .scratch_bytes = conv_scratch_bytes, .run = run_conv};
static const struct kernel *const kernels[PLAN_KIND_END] = {[PLAN_CONV] = &second_conv};
const struct kernel_list second_kernels = {.number = 77, .kernels = kernels};
