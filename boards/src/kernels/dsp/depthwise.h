/* SPDX-License-Identifier: MIT
 * What one channel of a depthwise convolution is computed from.
 */
#ifndef HIL_DSP_DEPTHWISE_H
#define HIL_DSP_DEPTHWISE_H

#include "dsp.h"
#include "requantise.h"

/* Channels that are taken out of the map together. The plane of one is its padded map in 16 bits: word (x, y / 2) holds
 * rows y and y + 1, y even, of column x; columns lie behind each other. The four planes take turns word by word. */
enum { DSP_DEPTHWISE_BLOCK = 4, DSP_DEPTHWISE_MAX_TAPS = 15 };

/* What all channels have in common; the assembly knows the order. Of the window, `taps` are its rows. */
struct dsp_depthwise_layer {
    uint32_t out_row_bytes; /* from an output to the one below it */
    uint32_t column_bytes;  /* of the planes, from a column of the window to the next */
    uint32_t back_bytes;    /* from a window's last column to the first of the one four outputs below; wraps around */
    uint32_t out_h;
    uint32_t fours_bytes;   /* of a plane, between the first and last of those outputs that are made by four */
    uint32_t step_bytes;    /* of the planes, from a column of outputs to the next */
    uint32_t next_bytes;    /* from below a column of outputs to the top of the next; wraps around */
    uint32_t steps_bytes;   /* of the planes, step_bytes for each column of outputs */
    uint32_t weights_bytes; /* of a channel */
    uint32_t taps, columns, stride;
};

/* As hil_nas/kernels/dsp/depthwise.py packs it. */
struct dsp_depthwise_channel {
    int32_t twice_bias;
    struct dsp_scaling by;
    uint32_t weights[]; /* twice, in pairs */
};

typedef void dsp_depthwise_run(const struct dsp_depthwise_layer *layer, const struct dsp_depthwise_channel *channel,
                               const uint32_t *plane, int8_t *output);

/* For 3, 5, 9 or 15 taps, any columns, and a stride of 1 or 2 down; `is_signed`: dsp_signed(). */
dsp_depthwise_run *dsp_depthwise_run_for(uint32_t taps, uint32_t columns, uint32_t stride, bool is_signed);

#endif
