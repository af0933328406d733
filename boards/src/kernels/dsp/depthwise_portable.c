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
    for (uint32_t x = 0; x < layer->out_w; x++)
        for (uint32_t y = 0; y < layer->out_h; y++) {
            const int32_t twice = sum_of(layer, channel, plane + x * (layer->step_bytes / 4), y * layer->stride);
            output[y * layer->out_row_bytes + x * layer->out_pixel_bytes] = dsp_requantised(twice, &channel->by, true);
        }
}

dsp_depthwise_run *dsp_depthwise_run_for(uint32_t taps, uint32_t columns, uint32_t stride)
{
    (void)taps, (void)columns, (void)stride;
    return run;
}

#endif
