/* SPDX-License-Identifier: MIT
 * Sums, differences, products and choices, value by value.
 */
#include "plain.h"
#include "scaling.h"

enum { ADD_LEFT_SHIFT = 20 }; /* of the inputs of ADD and SUB: TFLite's, and the only one that is run */
enum { MUL_MOST_SHIFT = 14 }; /* the largest shift to the left for which no value leaves 32 bits */

static const char *inputs_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE((op->weights_data == 0 || constants_good(plan, op->weights_data, input_bytes_of(op))) &&
                (op->bias_data == 0 || constants_good(plan, op->bias_data, second_bytes_of(op))),
            "a constant input outside the plan or unaligned");
    REQUIRE(scaling_good(op->input_multiplier[0], op->input_shift[0], 0) &&
                scaling_good(op->input_multiplier[1], op->input_shift[1], 0),
            "a multiplier or shift out of range");
    return NULL;
}

static const char *sum_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(op->left_shift == ADD_LEFT_SHIFT && scaling_good(op->output_multiplier, op->output_shift, 0),
            "a multiplier or shift out of range");
    return inputs_fault(plan, op);
}

/* The inputs of a product or a choice have no scales of their own; their fields must not shift beyond a word either. */
static const char *product_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(scaling_good(op->output_multiplier, op->output_shift, MUL_MOST_SHIFT),
            "a multiplier or shift out of range");
    return inputs_fault(plan, op);
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
static inline int32_t multiplied(const struct pairing *by, int32_t a, int32_t b)
{
    return scaled((a + by->offset_a) * (b + by->offset_b) * by->out.twice, by->out);
}

/* TFLite reference_ops::MaximumMinimumBroadcastSlow */
static inline int32_t larger(const struct pairing *by, int32_t a, int32_t b)
{
    (void)by;
    return a > b ? a : b;
}

static inline int32_t smaller(const struct pairing *by, int32_t a, int32_t b)
{
    (void)by;
    return a < b ? a : b;
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
static inline __attribute__((always_inline)) void run_all(const struct kernel_call *call, const struct pairing *by,
                                                          pair_value value)
{
    const struct plan_op *op = call->op;
    const int8_t *a = kernel_constants(call, op->weights_data), *b = kernel_constants(call, op->bias_data);
    int8_t *output = call->output;
    if (a == NULL)
        a = call->input;
    if (b == NULL)
        b = (const int8_t *)call->arena + op->input[1];
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

static bool run_add(const struct kernel_call *call)
{
    const struct pairing by = pairing_of(call->op, TWICE);
    run_all(call, &by, sum);
    return true;
}

static bool run_sub(const struct kernel_call *call)
{
    const struct pairing by = pairing_of(call->op, TWICE);
    run_all(call, &by, difference);
    return true;
}

static bool run_mul(const struct kernel_call *call)
{
    const struct pairing by = pairing_of(call->op, 1);
    run_all(call, &by, multiplied);
    return true;
}

static bool run_maximum(const struct kernel_call *call)
{
    const struct pairing by = pairing_of(call->op, 1);
    run_all(call, &by, larger);
    return true;
}

static bool run_minimum(const struct kernel_call *call)
{
    const struct pairing by = pairing_of(call->op, 1);
    run_all(call, &by, smaller);
    return true;
}

const struct kernel plain_add = {.fault = sum_fault, .run = run_add, .in_place = value_by_value, .of_two = true};
const struct kernel plain_sub = {.fault = sum_fault, .run = run_sub, .in_place = value_by_value, .of_two = true};
const struct kernel plain_mul = {.fault = product_fault, .run = run_mul, .in_place = value_by_value, .of_two = true};
const struct kernel plain_maximum = {.fault = product_fault, .run = run_maximum, .in_place = value_by_value, .of_two = true};
const struct kernel plain_minimum = {.fault = product_fault, .run = run_minimum, .in_place = value_by_value, .of_two = true};
