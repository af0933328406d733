/* SPDX-License-Identifier: MIT */
#include "kernels.h"

#include <string.h>

#include "arm_nnsupportfunctions.h"

static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* TFLite reference_integer_ops::Add: both inputs are scaled to a common fixed point, then the sum to the output. */
void kernel_add(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    const size_t count = (size_t)op->out_h * op->out_w * op->out_c;
    for (size_t i = 0; i < count; i++) {
        const int32_t a = (first[i] + op->input_offset[0]) * (1 << op->left_shift);
        const int32_t b = (second[i] + op->input_offset[1]) * (1 << op->left_shift);
        const int32_t sum = arm_nn_requantize(a, op->input_multiplier[0], op->input_shift[0]) +
                            arm_nn_requantize(b, op->input_multiplier[1], op->input_shift[1]);
        const int32_t value = arm_nn_requantize(sum, op->output_multiplier, op->output_shift) + op->output_offset;
        output[i] = (int8_t)clamp(value, op->activation_min, op->activation_max);
    }
}

void kernel_concatenation(const struct plan_op *op, const uint32_t *table, const uint8_t *arena, int8_t *output)
{
    for (uint32_t step = 0; step < op->in_h; step++) {
        for (uint32_t i = 0; i < op->input_count; i++) {
            const uint32_t bytes = table[2 * i + 1];
            memcpy(output, arena + table[2 * i] + (size_t)step * bytes, bytes);
            output += bytes;
        }
    }
}

void kernel_pad(const struct plan_op *op, const int8_t *input, int8_t *output)
{
    const size_t in_row = (size_t)op->in_w * op->in_c, out_row = (size_t)op->out_w * op->in_c;
    memset(output, op->input_offset[0], out_row * op->out_h);
    output += op->pad_top * out_row + (size_t)op->pad_left * op->in_c;
    for (uint32_t row = 0; row < op->in_h; row++)
        memcpy(output + row * out_row, input + row * in_row, in_row);
}

/* TFLite reference_ops::Softmax for int8 (gemmlowp fixed point: 5 integer bits of difference, 12 of the sum). */
enum { SUM_INTEGER_BITS = 12 };

static int32_t scaled_exponential(const struct plan_op *op, int32_t difference)
{
    const int32_t scaled = difference * (int32_t)(1u << op->input_shift[0]);
    return arm_nn_exp_on_negative_values(arm_nn_doubling_high_mult(scaled, op->input_multiplier[0]));
}

static void softmax_row(const struct plan_op *op, const int8_t *input, int8_t *output)
{
    int32_t highest = NN_Q7_MIN, sum = 0;
    for (uint32_t i = 0; i < op->in_c; i++)
        highest = input[i] > highest ? input[i] : highest;
    for (uint32_t i = 0; i < op->in_c; i++)
        if (input[i] - highest >= op->left_shift)
            sum += arm_nn_divide_by_power_of_two(scaled_exponential(op, input[i] - highest), SUM_INTEGER_BITS);
    const int32_t headroom = __builtin_clz((uint32_t)sum); /* the highest value alone adds 1 << 19 */
    const int32_t reciprocal =
        arm_nn_one_over_one_plus_x_for_x_in_0_1((int32_t)(((uint32_t)sum << headroom) - (1u << 31)));
    const int32_t shift = SUM_INTEGER_BITS - headroom + 31 - 8;
    for (uint32_t i = 0; i < op->in_c; i++) {
        output[i] = NN_Q7_MIN;
        if (input[i] - highest < op->left_shift)
            continue;
        const int32_t product = arm_nn_doubling_high_mult(reciprocal, scaled_exponential(op, input[i] - highest));
        output[i] = (int8_t)clamp(arm_nn_divide_by_power_of_two(product, shift) + NN_Q7_MIN, NN_Q7_MIN, NN_Q7_MAX);
    }
}

void kernel_softmax(const struct plan_op *op, const int8_t *input, int8_t *output)
{
    for (uint32_t row = 0; row < (uint32_t)op->in_h * op->in_w; row++)
        softmax_row(op, input + (size_t)row * op->in_c, output + (size_t)row * op->in_c);
}
