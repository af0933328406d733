/* SPDX-License-Identifier: MIT */
#include "plain.h"
#include "scaling.h"

enum { MEAN_MOST_SHIFT = 6 }; /* the largest shift to the left for which no value leaves 32 bits */

static const char *mean_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    REQUIRE(scaling_good(op->output_multiplier, op->output_shift, MEAN_MOST_SHIFT),
            "a multiplier or shift out of range");
    return NULL;
}

/* TFLite reference_ops::QuantizedMeanOrSum: the division is part of the multiplier. */
static bool run_mean(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const int8_t *input = call->input;
    int8_t *output = call->output;
    const struct scaling by = scaling_of(op->output_multiplier, op->output_shift);
    const int32_t start = op->input_offset[0] * op->in_w;
    for (uint32_t outer = 0; outer < op->in_h; outer++, input += (size_t)op->in_w * op->in_c)
        for (uint32_t inner = 0; inner < op->in_c; inner++) {
            const int8_t *value = input + inner;
            int32_t sum_of_values = start;
            for (uint32_t i = op->in_w; i > 0; i--, value += op->in_c)
                sum_of_values += *value;
            const int32_t mean = scaled(sum_of_values * by.twice, by) + op->output_offset;
            *output++ = (int8_t)clamp(mean, op->activation_min, op->activation_max);
        }
    return true;
}

const struct kernel plain_mean = {.fault = mean_fault, .run = run_mean};
