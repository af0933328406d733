/* SPDX-License-Identifier: MIT */
#include "kernels.h"

#include <string.h>

#include "arm_nnsupportfunctions.h"

static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* What TFLite calls MultiplyByQuantizedMultiplier: a shift to the left, a rounding product with a Q31 multiplier below 1,
 * then a rounding division by a power of two, halves away from zero. */
struct scaling {
    int32_t twice, multiplier, right_shift, half, sign_mask;
};

static struct scaling scaling_of(int32_t multiplier, int32_t shift)
{
    return (struct scaling){
        .twice = shift > 0 ? 2 << shift : 2,
        .multiplier = multiplier,
        .right_shift = shift < 0 ? -shift : 0,
        .half = shift < 0 ? 1 << (-shift - 1) : 0,
        .sign_mask = shift < 0 ? -1 : 0,
    };
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

/* Takes the shifted value twice, below 2^31 in magnitude, so that the upper word is the doubled product. */
static inline int32_t scaled(int32_t twice, struct scaling by)
{
    const int32_t product = rounded_upper_product(twice, by.multiplier);
    return (product + by.half + ((product >> 31) & by.sign_mask)) >> by.right_shift;
}

/* What an elementwise operator does with two values. */
struct pairing {
    struct scaling a, b, out;
    int32_t offset_a, offset_b, offset, low, high;
};
typedef int32_t pair_value(const struct pairing *by, int32_t a, int32_t b);

enum { TWICE = 2 << ADD_LEFT_SHIFT };

/* TFLite reference_integer_ops::Add and reference_ops::Sub: both inputs are scaled to a common fixed point, then what
 * comes of them to the output. */
static inline int32_t sum(const struct pairing *by, int32_t a, int32_t b)
{
    return scaled(2 * (scaled(a * TWICE + by->offset_a, by->a) + scaled(b * TWICE + by->offset_b, by->b)), by->out);
}

static inline int32_t difference(const struct pairing *by, int32_t a, int32_t b)
{
    return scaled(2 * (scaled(a * TWICE + by->offset_a, by->a) - scaled(b * TWICE + by->offset_b, by->b)), by->out);
}

/* TFLite reference_integer_ops::Mul */
static inline int32_t product(const struct pairing *by, int32_t a, int32_t b)
{
    return scaled((a + by->offset_a) * (b + by->offset_b) * by->out.twice, by->out);
}

static struct pairing pairing_of(const struct plan_op *op, int32_t unit)
{
    return (struct pairing){
        .a = scaling_of(op->input_multiplier[0], op->input_shift[0]),
        .b = scaling_of(op->input_multiplier[1], op->input_shift[1]),
        .out = scaling_of(op->output_multiplier, op->output_shift),
        .offset_a = op->input_offset[0] * unit,
        .offset_b = op->input_offset[1] * unit,
        .offset = op->output_offset,
        .low = op->activation_min,
        .high = op->activation_max,
    };
}

/* Everything constant is copied first: for the compiler a store of int8 may change *by. */
static inline __attribute__((always_inline)) int8_t *run_pairs(const struct pairing *by, pair_value value,
                                                               const int8_t *a, size_t step_a, const int8_t *b,
                                                               size_t step_b, int8_t *output, size_t count)
{
    const struct pairing own = *by;
    for (const int8_t *const end = output + count; output < end; a += step_a, b += step_b)
        *output++ = (int8_t)clamp(value(&own, *a, *b) + own.offset, own.low, own.high);
    return output;
}

struct steps {
    size_t h, w, c;
};

/* From value to value along each axis of the output; 0 where one stands for all. */
static struct steps steps_of(size_t h, size_t w, size_t c)
{
    return (struct steps){h > 1 ? w * c : 0, w > 1 ? c : 0, c > 1 ? 1 : 0};
}

/* Inputs of one shape are one long run; others go pixel by pixel. */
static inline __attribute__((always_inline)) void run_all(const struct plan_op *op, const struct pairing *by,
                                                          pair_value value, const int8_t *a, const int8_t *b,
                                                          int8_t *output)
{
    const size_t count = (size_t)op->out_h * op->out_w * op->out_c;
    if ((size_t)op->in_h * op->in_w * op->in_c == count &&
        (size_t)op->second_h * op->second_w * op->second_c == count) {
        run_pairs(by, value, a, 1, b, 1, output, count);
        return;
    }
    const struct steps of_a = steps_of(op->in_h, op->in_w, op->in_c);
    const struct steps of_b = steps_of(op->second_h, op->second_w, op->second_c);
    for (size_t y = 0; y < op->out_h; y++)
        for (size_t x = 0; x < op->out_w; x++)
            output = run_pairs(by, value, a + y * of_a.h + x * of_a.w, of_a.c, b + y * of_b.h + x * of_b.w, of_b.c,
                               output, op->out_c);
}

void kernel_add(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    const struct pairing by = pairing_of(op, TWICE);
    run_all(op, &by, sum, first, second, output);
}

void kernel_sub(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    const struct pairing by = pairing_of(op, TWICE);
    run_all(op, &by, difference, first, second, output);
}

void kernel_mul(const struct plan_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    const struct pairing by = pairing_of(op, 1);
    run_all(op, &by, product, first, second, output);
}

void kernel_lookup(const struct plan_op *op, const int8_t *table, const int8_t *input, int8_t *output)
{
    const int8_t *const end = output + (size_t)op->out_h * op->out_w * op->out_c;
    while (output < end)
        *output++ = table[*input++ - NN_Q7_MIN];
}

/* TFLite reference_ops::QuantizedMeanOrSum: the division is part of the multiplier. */
void kernel_mean(const struct plan_op *op, const int8_t *input, int8_t *output)
{
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
}

void kernel_copy(const struct plan_op *op, const uint32_t *table, const int8_t *input, int8_t *output)
{
    const uint32_t step = table[3];
    for (uint32_t y = 0; y < op->out_h; y++)
        for (uint32_t x = 0; x < op->out_w; x++) {
            const int8_t *value = input + table[0] + (size_t)y * table[1] + (size_t)x * table[2];
            if (step == 1) {
                memcpy(output, value, op->out_c);
                output += op->out_c;
                continue;
            }
            for (uint32_t c = op->out_c; c > 0; c--, value += step)
                *output++ = *value;
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
