/* SPDX-License-Identifier: MIT
 * One channel of a depthwise convolution on cores for which depthwise_outputs.c has no assembly.
 */
#include "depthwise.h"

#if !DSP_ASSEMBLY

static int32_t half_of(uint32_t word, uint32_t index)
{
    return (int16_t)(index % 2 != 0 ? word >> 16 : word);
}

/* Tap t of a column of the window. */
static int32_t tap_of(const struct dsp_depthwise_layer *layer, const uint32_t *words, uint32_t t)
{
    if (layer->stride == 2 || t < 2)
        return half_of(words[t / 2], t);
    return t == layer->taps - 1 ? half_of(words[t - 1], 1) : half_of(words[t / 2 * 2 - 1], t);
}

static int32_t sum_of(const struct dsp_depthwise_layer *layer, const struct dsp_depthwise_channel *channel,
                      const uint32_t *plane, uint32_t row)
{
    const uint32_t words = layer->weights_bytes / 4 / layer->columns;
    int32_t sum = channel->twice_bias;
    for (uint32_t c = 0; c < layer->columns; c++)
        for (uint32_t t = 0; t < layer->taps; t++) {
            const uint32_t two = plane[c * (layer->column_bytes / 4) + (row + t) / 2 * DSP_DEPTHWISE_BLOCK];
            sum = dsp_sum(sum, half_of(two, row + t) * tap_of(layer, channel->weights + c * words, t));
        }
    return sum;
}

static void run(const struct dsp_depthwise_layer *layer, const struct dsp_depthwise_channel *channel,
                const uint32_t *plane, int8_t *output)
{
    const uint32_t *const end = plane + layer->steps_bytes / 4;
    for (; plane != end; plane += layer->step_bytes / 4, output += (int32_t)layer->next_bytes)
        for (uint32_t y = 0; y < layer->out_h; y++, output += layer->out_row_bytes)
            *output = dsp_requantised(sum_of(layer, channel, plane, y * layer->stride), &channel->by, true);
}

dsp_depthwise_run *dsp_depthwise_run_for(uint32_t taps, uint32_t columns, uint32_t stride, bool is_signed)
{
    (void)taps, (void)columns, (void)stride, (void)is_signed;
    return run;
}

#endif
