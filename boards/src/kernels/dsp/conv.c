/* SPDX-License-Identifier: MIT
 * Convolutions and fully connected layers by dsp_product(): two output pixels at a time, their values gathered and widened
 * once for all output channels of a chunk of weights that lies in RAM. Weights from flash would miss its cache of 256
 * bytes at every pair of pixels.
 */
#include "dsp.h"
#include "halves.h"
#include "product.h"

enum {
    MAX_COLUMN = 1024,      /* values of a window */
    MAX_CHUNK_BYTES = 4096, /* of weights in RAM; a smaller chunk has its columns gathered more often */
};

/* What the packing and both sides' sizes go by; hil_nas/kernels/dsp/product.py has the same. */
struct sizes {
    uint32_t column;  /* values of a window */
    uint32_t steps;   /* of a column that is filled up to a multiple of four */
    uint32_t groups;
    uint32_t pixels;
    uint32_t group_bytes;
    uint32_t chunk;   /* groups at a time */
    bool copied;      /* to RAM, where more than one pair of pixels reads them */
    bool gathered;    /* a column that is not a run of whole words in the input */
};

static uint32_t rounded_up(uint32_t value, uint32_t by)
{
    return (value + by - 1) / by;
}

static struct sizes sizes_of(const struct plan_op *op)
{
    const bool dense = op->kind == PLAN_FULLY_CONNECTED;
    const bool single = dense || (op->kernel_h == 1 && op->kernel_w == 1); /* which is never padded */
    struct sizes s = {.column = (uint32_t)(dense ? op->in_h * op->in_w : op->kernel_h * op->kernel_w) * op->in_c};
    s.steps = 2 * rounded_up(s.column, 4);
    s.groups = rounded_up(op->out_c, DSP_GROUP_CHANNELS);
    s.pixels = (uint32_t)op->out_h * op->out_w;
    s.group_bytes = DSP_GROUP_BYTES + DSP_STEP_BYTES * s.steps;
    s.copied = s.pixels > 2;
    s.gathered = !single || s.column % 4 != 0;
    const uint32_t most = s.group_bytes < MAX_CHUNK_BYTES ? MAX_CHUNK_BYTES / s.group_bytes : 1;
    s.chunk = s.copied ? rounded_up(s.groups, rounded_up(s.groups, most)) : s.groups;
    return s;
}

static uint32_t scratch_bytes(const struct plan_op *op)
{
    const struct sizes s = sizes_of(op);
    const uint32_t columns = DSP_STEP_BYTES * s.steps, spare = DSP_GROUP_CHANNELS * (s.chunk + 2);
    return columns + spare + (s.gathered ? 2 * 2 * s.steps : 0) + (s.copied ? s.chunk * s.group_bytes : 0);
}

static const char *fault(const struct plan_header *plan, const struct plan_op *op)
{
    const struct sizes s = sizes_of(op);
    REQUIRE(constants_good(plan, op->weights_data, (uint64_t)s.groups * s.group_bytes),
            "weights outside the plan or unaligned");
    const uint8_t *group = (const uint8_t *)plan + op->weights_data;
    for (uint32_t i = 0; i < s.groups; i++, group += s.group_bytes) {
        const struct dsp_scaling *by = (const struct dsp_scaling *)(const void *)(group + s.group_bytes) - 4;
        for (uint32_t j = 0; j < DSP_GROUP_CHANNELS; j++)
            REQUIRE(by[j].multiplier >= 0 && in_range(by[j].shift, 0, DSP_MAX_SHIFT),
                    "a multiplier or shift out of range");
    }
    return NULL;
}

static const char *conv_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(product(op->kernel_h, op->kernel_w, op->in_c) <= MAX_COLUMN, "a window too large for the kernel");
    REQUIRE(dsp_axis_good(op->in_h, op->out_h, op->kernel_h, op->stride_h, op->dilation_h) &&
                dsp_axis_good(op->in_w, op->out_w, op->kernel_w, op->stride_w, op->dilation_w),
            "a window too large for the kernel");
    return fault(plan, op);
}

static const char *fully_connected_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(input_bytes_of(op) <= MAX_COLUMN && op->out_c <= DSP_MAX_EXTENT, "a layer too large for the kernel");
    return fault(plan, op);
}

/* The `taps` of one row of a window from column `x` on, those outside the map as its zero point. */
static void gather_row(const struct plan_op *op, const int8_t *row, int32_t x, int8_t *to)
{
    const int32_t dilation = op->dilation_w, channels = op->in_c;
    for (int32_t tap = 0; tap < op->kernel_w; tap++, x += dilation, to += channels) {
        if (x >= 0 && x < op->in_w)
            memcpy(to, row + x * channels, (size_t)channels);
        else
            memset(to, -op->input_offset[0], (size_t)channels);
    }
}

static void gather(const struct kernel_call *call, uint32_t pixel, int8_t *to)
{
    const struct plan_op *op = call->op;
    const int32_t out_y = (int32_t)(pixel / op->out_w), out_x = (int32_t)(pixel % op->out_w);
    const int32_t x = out_x * op->stride_w - op->pad_left;
    int32_t y = out_y * op->stride_h - op->pad_top;
    const size_t row_bytes = (size_t)op->in_w * op->in_c, window_bytes = (size_t)op->kernel_w * op->in_c;
    for (int32_t tap = 0; tap < op->kernel_h; tap++, y += op->dilation_h) {
        if (y >= 0 && y < op->in_h)
            gather_row(op, call->input + (size_t)y * row_bytes, x, to);
        else
            memset(to, -op->input_offset[0], window_bytes);
        to += window_bytes;
    }
}

/* What a pixel reads as bytes, four at least. */
static const int8_t *bytes_of(const struct kernel_call *call, const struct sizes *s, uint32_t pixel, int8_t *room)
{
    const struct plan_op *op = call->op;
    if (s->gathered && op->kind == PLAN_FULLY_CONNECTED)
        return memcpy(room, call->input, s->column);
    if (s->gathered) {
        gather(call, pixel, room);
        return room;
    }
    const uint32_t y = pixel / op->out_w * op->stride_h, x = pixel % op->out_w * op->stride_w;
    return call->input + ((size_t)y * op->in_w + x) * s->column;
}

/* 11 instructions for eight values. */
static void widen(const int8_t *first, const int8_t *second, uint32_t *to, const uint32_t *end)
{
    for (; to != end; to += 4, first += 4, second += 4) {
        const uint32_t a = dsp_word(first), b = dsp_word(second);
        to[0] = dsp_even_bytes(a);
        to[1] = dsp_even_bytes(b);
        to[2] = dsp_odd_bytes(a);
        to[3] = dsp_odd_bytes(b);
    }
}

static bool run(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const struct sizes s = sizes_of(op);
    const bool is_signed = dsp_signed(op);
    uint32_t *columns = (uint32_t *)(void *)(call->arena + op->scratch), *columns_end = columns + 2 * s.steps;
    uint32_t *weights = columns_end;
    int8_t *spare = (int8_t *)(weights + (s.copied ? s.chunk * s.group_bytes / 4 : 0));
    int8_t *last = spare + DSP_GROUP_CHANNELS * s.chunk, *bytes = last + 2 * DSP_GROUP_CHANNELS;
    const uint8_t *packed = kernel_constants(call, op->weights_data);
    for (uint32_t first_group = 0; first_group < s.groups; first_group += s.chunk, packed += s.chunk * s.group_bytes) {
        const uint32_t left = s.groups - first_group, count = left < s.chunk ? left : s.chunk;
        const uint32_t whole = op->out_c / DSP_GROUP_CHANNELS - first_group, whole_count = count < whole ? count : whole;
        const uint32_t *groups = (const uint32_t *)(const void *)packed;
        if (s.copied)
            groups = memcpy(weights, packed, count * s.group_bytes);
        const uint32_t *whole_end = groups + whole_count * s.group_bytes / 4;
        int8_t *output = call->output + first_group * DSP_GROUP_CHANNELS;
        for (uint32_t pixel = 0; pixel < s.pixels; pixel += 2, output += 2 * op->out_c) {
            const bool lone = pixel + 1 == s.pixels;
            const int8_t *first = bytes_of(call, &s, pixel, bytes);
            const int8_t *second = lone ? first : bytes_of(call, &s, pixel + 1, bytes + 2 * s.steps);
            widen(first, second, columns, columns_end);
            struct dsp_product product = {columns, groups, whole_end, s.steps, output, lone ? spare : output + op->out_c};
            if (whole_count != 0)
                dsp_product(&product, is_signed);
            if (whole_count == count)
                continue;
            product = (struct dsp_product){columns, whole_end, whole_end + s.group_bytes / 4, s.steps, last, last + 4};
            dsp_product(&product, is_signed);
            memcpy(output + whole_count * DSP_GROUP_CHANNELS, last, op->out_c % DSP_GROUP_CHANNELS);
            if (!lone)
                memcpy(output + op->out_c + whole_count * DSP_GROUP_CHANNELS, last + 4, op->out_c % DSP_GROUP_CHANNELS);
        }
    }
    dsp_clamp(op, call->output, s.pixels * op->out_c);
    return true;
}

const struct kernel dsp_conv = {.fault = conv_fault, .scratch_bytes = scratch_bytes, .run = run};
const struct kernel dsp_fully_connected = {.fault = fully_connected_fault, .scratch_bytes = scratch_bytes, .run = run};
