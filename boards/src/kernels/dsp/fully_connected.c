/* SPDX-License-Identifier: MIT
 * Fully connected layers: the groups of product.h by one column, whose values are widened as they are read. Each weight is
 * used once, so that none is copied to RAM; fetching them from flash is half of the time.
 *
 * Modelled on the virtual NUCLEO-L4R5ZI, cycles, CMSIS-NN 4.0.0 in brackets: 64 to 12 outputs 2,766 (4,146), 128 to 128
 * 47,001 (61,108), 490 to 144 182,053 (234,860), 1000 to 12 30,491 (39,590).
 */
#include "dsp.h"
#include "halves.h"
#include "product.h"

static const char *fully_connected_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(input_bytes_of(op) <= DSP_MAX_COLUMN, "more inputs than the kernel takes");
    return dsp_groups_fault(plan, op, (uint32_t)input_bytes_of(op));
}

/* As a group begins: 256 * D0 + D1, D1, 256 * D2 + D3, D3. */
struct sums {
    uint32_t both01, lower1, both23, lower3;
};

static inline struct sums with(struct sums sums, uint32_t values, uint32_t weights01, uint32_t weights23)
{
    return (struct sums){
        .both01 = dsp_products(weights01, values, sums.both01),
        .lower1 = dsp_products(dsp_even_bytes(weights01), values, sums.lower1),
        .both23 = dsp_products(weights23, values, sums.both23),
        .lower3 = dsp_products(dsp_even_bytes(weights23), values, sums.lower3),
    };
}

static inline struct sums with_four(struct sums sums, uint32_t four, const uint32_t *weights)
{
    const struct sums even = with(sums, dsp_even_bytes(four), weights[0], weights[1]);
    return with(even, dsp_odd_bytes(four), weights[2], weights[3]);
}

/* What is read for every group. */
struct inputs {
    const int8_t *begin, *end; /* of those in whole words */
    uint32_t rest;             /* the others, filled up with zeros */
    bool has_rest;
};

static struct inputs inputs_of(const struct kernel_call *call)
{
    const uint32_t count = (uint32_t)input_bytes_of(call->op);
    struct inputs inputs = {call->input, call->input + (count & ~3u), 0, count % 4 != 0};
    for (uint32_t i = count % 4; i > 0; i--)
        inputs.rest = inputs.rest << 8 | (uint8_t)inputs.end[i - 1];
    return inputs;
}

/* Up to four outputs; gives the group behind. */
static const uint32_t *run_group(const uint32_t *group, const struct inputs *inputs, bool is_signed, int8_t *output,
                                 uint32_t count)
{
    struct sums sums = {group[0], group[1], group[2], group[3]};
    const uint32_t *weights = group + 4;
    for (const int8_t *four = inputs->begin; four != inputs->end; four += 4, weights += 4)
        sums = with_four(sums, dsp_word(four), weights);
    if (inputs->has_rest) {
        sums = with_four(sums, inputs->rest, weights);
        weights += 4;
    }
    const int32_t twice[DSP_GROUP_CHANNELS] = {
        (int32_t)(sums.both01 - sums.lower1) >> 7,
        (int32_t)(sums.lower1 << 1),
        (int32_t)(sums.both23 - sums.lower3) >> 7,
        (int32_t)(sums.lower3 << 1),
    };
    const struct dsp_scaling *by = (const struct dsp_scaling *)(const void *)weights;
    for (uint32_t i = 0; i < count; i++)
        output[i] = dsp_requantised(twice[i], &by[i], is_signed);
    return (const uint32_t *)(const void *)(by + DSP_GROUP_CHANNELS);
}

static bool run_fully_connected(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const struct inputs inputs = inputs_of(call);
    const uint32_t *group = kernel_constants(call, op->weights_data);
    for (uint32_t channel = 0; channel < op->out_c; channel += DSP_GROUP_CHANNELS) {
        const uint32_t left = op->out_c - channel, count = left < DSP_GROUP_CHANNELS ? left : DSP_GROUP_CHANNELS;
        group = run_group(group, &inputs, dsp_signed(op), call->output + channel, count);
    }
    dsp_clamp(op, call->output, op->out_c);
    return true;
}

const struct kernel dsp_fully_connected = {.fault = fully_connected_fault, .run = run_fully_connected};
