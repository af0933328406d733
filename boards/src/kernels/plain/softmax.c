/* SPDX-License-Identifier: MIT */
#include "fixed_point.h"
#include "plain.h"

enum { MAX_CLASSES = 511 }; /* with more the reference would shift by more than 31 */

static const char *softmax_fault(const struct plan_header *plan, const struct plan_op *op)
{
    (void)plan;
    REQUIRE(op->in_c <= MAX_CLASSES, "softmax over too many classes");
    REQUIRE(op->input_multiplier[0] >= 0 && in_range(op->input_shift[0], 0, 30) &&
                in_range(op->left_shift, -255, 0) &&
                ((int64_t)-op->left_shift << op->input_shift[0]) <= INT32_MAX,
            "a multiplier or shift out of range");
    return NULL;
}

/* TFLite reference_ops::Softmax for int8 (gemmlowp fixed point: 5 integer bits of difference, 12 of the sum). */
enum { SUM_INTEGER_BITS = 12 };

static int32_t scaled_exponential(const struct plan_op *op, int32_t difference)
{
    const int32_t scaled = difference * (int32_t)(1u << op->input_shift[0]);
    return exp_of_negative(high_product(scaled, op->input_multiplier[0]));
}

static void softmax_row(const struct plan_op *op, const int8_t *input, int8_t *output)
{
    int32_t highest = INT8_MIN, sum = 0;
    for (uint32_t i = 0; i < op->in_c; i++)
        highest = input[i] > highest ? input[i] : highest;
    for (uint32_t i = 0; i < op->in_c; i++)
        if (input[i] - highest >= op->left_shift)
            sum += rounded_shift(scaled_exponential(op, input[i] - highest), SUM_INTEGER_BITS);
    const int32_t headroom = __builtin_clz((uint32_t)sum); /* the highest value alone adds 1 << 19 */
    const int32_t reciprocal = one_over_one_plus((int32_t)(((uint32_t)sum << headroom) - (1u << 31)));
    const int32_t shift = SUM_INTEGER_BITS - headroom + 31 - 8;
    for (uint32_t i = 0; i < op->in_c; i++) {
        const int32_t difference = input[i] - highest; /* the output may lie over the input */
        output[i] = INT8_MIN;
        if (difference < op->left_shift)
            continue;
        const int32_t product = high_product(reciprocal, scaled_exponential(op, difference));
        output[i] = (int8_t)clamp(rounded_shift(product, shift) + INT8_MIN, INT8_MIN, INT8_MAX);
    }
}

static bool run_softmax(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    for (uint32_t row = 0; row < (uint32_t)op->in_h * op->in_w; row++)
        softmax_row(op, call->input + (size_t)row * op->in_c, call->output + (size_t)row * op->in_c);
    return true;
}

const struct kernel plain_softmax = {.fault = softmax_fault, .run = run_softmax, .in_place = value_by_value};
