/* SPDX-License-Identifier: MIT
 * Operators that only move values, and functions of one value by the host's table.
 */
#include <string.h>

#include "plain.h"

static const char *lookup_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(constants_good(plan, op->weights_data, 256), "table of values outside the plan or unaligned");
    return NULL;
}

static bool run_lookup(const struct kernel_call *call)
{
    const int8_t *table = kernel_constants(call, call->op->weights_data), *input = call->input;
    int8_t *output = call->output, *const end = output + output_bytes_of(call->op);
    while (output < end)
        *output++ = table[*input++ - INT8_MIN];
    return true;
}

const struct kernel plain_lookup = {.fault = lookup_fault, .run = run_lookup, .in_place = value_by_value};

static const char *copy_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(constants_good(plan, op->weights_data, 4 * sizeof(uint32_t)),
            "table of steps outside the plan or unaligned");
    const uint32_t *table = (const uint32_t *)words_at(plan, op->weights_data);
    const uint64_t last = table[0] + (op->out_h - 1ull) * table[1] + (op->out_w - 1ull) * table[2] +
                          (op->out_c - 1ull) * table[3];
    REQUIRE(last < input_bytes_of(op), "a copy from beyond the input");
    return NULL;
}

/* table: {start, step_h, step_w, step_c} */
static bool run_copy(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const uint32_t *table = kernel_constants(call, op->weights_data);
    const int8_t *input = call->input;
    int8_t *output = call->output;
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
    return true;
}

const struct kernel plain_copy = {.fault = copy_fault, .run = run_copy};

/* table: op->input_count pairs {arena offset, bytes per outer step} */
static bool run_concatenation(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const uint32_t *table = kernel_constants(call, op->weights_data);
    int8_t *output = call->output;
    for (uint32_t step = 0; step < op->in_h; step++) {
        for (uint32_t i = 0; i < op->input_count; i++) {
            const uint32_t bytes = table[2 * i + 1];
            memcpy(output, call->arena + table[2 * i] + (size_t)step * bytes, bytes);
            output += bytes;
        }
    }
    return true;
}

const struct kernel plain_concatenation = {.run = run_concatenation};

static bool run_pad(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const int8_t *input = call->input;
    int8_t *output = call->output;
    const size_t in_row = (size_t)op->in_w * op->in_c, out_row = (size_t)op->out_w * op->in_c;
    memset(output, op->input_offset[0], out_row * op->out_h);
    output += op->pad_top * out_row + (size_t)op->pad_left * op->in_c;
    for (uint32_t row = 0; row < op->in_h; row++)
        memcpy(output + row * out_row, input + row * in_row, in_row);
    return true;
}

const struct kernel plain_pad = {.run = run_pad};

static bool run_delay(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const size_t fresh = (size_t)input_bytes_of(op), kept = (size_t)output_bytes_of(op) - fresh;
    memmove(call->output, call->output + fresh, kept);
    memcpy(call->output + kept, call->input, fresh);
    return true;
}

const struct kernel plain_delay = {.run = run_delay};
