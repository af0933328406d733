/* SPDX-License-Identifier: MIT */
#include "kernels.h"

#include <string.h>

#include "arm_nnsupportfunctions.h"

static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* What TFLite calls MultiplyByQuantizedMultiplierSmallerThanOneExp: a rounding product with a Q31 multiplier below 1,
 * then a rounding division by a power of two, halves away from zero. */
struct scaling {
    int32_t multiplier, right_shift, half, sign_mask;
};

static struct scaling scaling_of(int32_t multiplier, int32_t shift)
{
    return (struct scaling){multiplier, -shift, shift < 0 ? 1 << (-shift - 1) : 0, shift < 0 ? -1 : 0};
}

/* (a * b + 2^31) >> 32; GCC does not find the instruction by itself. */
static inline int32_t rounded_upper_product(int32_t a, int32_t b)
{
#if defined(__ARM_FEATURE_DSP)
    int32_t product;
    __asm("smmulr %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
#else
    return (int32_t)(((int64_t)a * b + (1ll << 31)) >> 32);
#endif
}

/* Takes twice the value, below 2^30 in magnitude, so that the upper word is the doubled product. */
static inline int32_t scaled(int32_t twice, struct scaling by)
{
    const int32_t product = rounded_upper_product(twice, by.multiplier);
    return (product + by.half + ((product >> 31) & by.sign_mask)) >> by.right_shift;
}

/* TFLite reference_integer_ops::Add: both inputs are scaled to a common fixed point, then the sum to the output.
 * Everything constant is copied first: for the compiler a store of int8 may change *op. */
void kernel_add(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    enum { TWICE = 2 << ADD_LEFT_SHIFT };
    const struct scaling a = scaling_of(op->input_multiplier[0], op->input_shift[0]);
    const struct scaling b = scaling_of(op->input_multiplier[1], op->input_shift[1]);
    const struct scaling out = scaling_of(op->output_multiplier, op->output_shift);
    const int32_t offset_a = op->input_offset[0] * TWICE, offset_b = op->input_offset[1] * TWICE;
    const int32_t offset = op->output_offset, low = op->activation_min, high = op->activation_max;
    const int8_t *const end = output + (size_t)op->out_h * op->out_w * op->out_c;
    while (output < end) {
        const int32_t sum = scaled(*first++ * TWICE + offset_a, a) + scaled(*second++ * TWICE + offset_b, b);
        *output++ = (int8_t)clamp(scaled(2 * sum, out) + offset, low, high);
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
