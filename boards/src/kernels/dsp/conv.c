/* SPDX-License-Identifier: MIT
 * Convolutions by the product of product.h: two output pixels at a time, their values gathered and widened
 * once for all output channels of a chunk of weights that lies in RAM. Weights from flash would miss its cache of 256
 * bytes at every pair of pixels. A 1x1 kernel whose weights are one chunk reads each pixel once, before outputs come
 * there: its output may lie over its input.
 *
 * Modelled on the virtual NUCLEO-L4R5ZI, thousands of cycles, beside CMSIS-NN 4.0.0 (25 x 5 pixels, ReLU):
 *   1x1       16 to 16   24 to 40   32 to 32   48 to 96   64 to 64   96 to 96
 *   this            64        189        186        725        621      1,311
 *   CMSIS-NN       164        515        440      1,655      1,329      2,666
 *   10x4 with stride 2, 1 to 64 channels: 469 and 1,766; 3x3, 16 to 16 channels: 431 and 1,071
 */
#include "dsp.h"
#include "halves.h"
#include "product.h"

enum {
    MAX_BLOCK = 8,          /* pixels; the code that gathers drives the product's out of the instruction cache */
    MAX_BLOCK_BYTES = 1024,
};

/* What the packing and both sides' sizes go by; hil_nas/kernels/dsp/product.py has the same. */
struct sizes {
    uint32_t column;  /* values of a window */
    uint32_t steps;   /* of a column that is filled up to a multiple of four */
    uint32_t groups;
    uint32_t pixels;
    uint32_t group_bytes;
    bool copied;      /* to RAM, where more than one pair of pixels reads them */
    bool gathered;    /* where columns are no runs of whole words in the input, one behind the other */
    uint32_t block;   /* pixels at a time, where they are gathered or channels fill no group */
    uint32_t always;  /* bytes of scratch memory, beside those of a chunk */
    uint32_t each;    /* of every group in a chunk */
    uint32_t chunk;   /* groups at a time: as many as the plan gives scratch memory for, in chunks of about one length */
};

static uint32_t rounded_up(uint32_t value, uint32_t by)
{
    return (value + by - 1) / by;
}

static struct sizes sizes_of(const struct plan_op *op)
{
    const bool single = op->kernel_h == 1 && op->kernel_w == 1 && op->stride_h == 1 && op->stride_w == 1;
    struct sizes s = {.column = (uint32_t)op->kernel_h * op->kernel_w * op->in_c};
    s.steps = dsp_steps_of(s.column);
    s.groups = rounded_up(op->out_c, DSP_GROUP_CHANNELS);
    s.pixels = (uint32_t)op->out_h * op->out_w;
    s.group_bytes = DSP_GROUP_BYTES + DSP_STEP_BYTES * s.steps;
    s.copied = s.pixels > 2;
    s.gathered = !single || s.column % 4 != 0;
    const uint32_t fitting = MAX_BLOCK_BYTES / (2 * s.steps) & ~1u;
    s.block = fitting < 2 ? 2 : fitting < MAX_BLOCK ? fitting : MAX_BLOCK;
    /* The columns of two pixels, the bytes of gathered columns, outputs of channels that fill no group; then a chunk's
     * weights, and its outputs of a pixel that is none. */
    s.always = DSP_STEP_BYTES * s.steps + DSP_GROUP_CHANNELS * s.block + (s.gathered ? s.block * 2 * s.steps : 0);
    s.each = DSP_GROUP_CHANNELS + (s.copied ? s.group_bytes : 0);
    const uint32_t most = op->scratch_bytes < s.always + s.each ? 1 : (op->scratch_bytes - s.always) / s.each;
    s.chunk = s.copied ? rounded_up(s.groups, rounded_up(s.groups, most)) : s.groups;
    return s;
}

static uint32_t scratch_bytes(const struct plan_op *op)
{
    const struct sizes s = sizes_of(op);
    return s.always + s.each * (s.copied ? 1 : s.groups);
}

static bool in_place(const struct plan_op *op)
{
    const struct sizes s = sizes_of(op);
    return !s.gathered && s.chunk == s.groups && op->out_c % DSP_GROUP_CHANNELS == 0;
}

static const char *conv_fault(const struct plan_header *plan, const struct plan_op *op)
{
    REQUIRE(product(op->kernel_h, op->kernel_w, op->in_c) <= DSP_MAX_COLUMN, "a window too large for the kernel");
    const bool single = op->kernel_h == 1 && op->kernel_w == 1 && op->stride_h == 1 && op->stride_w == 1;
    REQUIRE(!single || (op->in_h == op->out_h && op->in_w == op->out_w), "1x1 kernel that changes the shape");
    REQUIRE(dsp_axis_good(op->in_h, op->out_h, op->kernel_h, op->stride_h, op->dilation_h) &&
                dsp_axis_good(op->in_w, op->out_w, op->kernel_w, op->stride_w, op->dilation_w),
            "a window too large for the kernel");
    return dsp_groups_fault(plan, op, sizes_of(op).column);
}

/* A few bytes: less than a call of memcpy() or memset() takes. */
static inline void copy(int8_t *to, const int8_t *from, uint32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4)
        memcpy(to, from, 4);
    if (count & 2) {
        memcpy(to, from, 2);
        to += 2, from += 2;
    }
    if (count & 1)
        *to = *from;
}

static inline void fill(int8_t *to, uint32_t four_values, uint32_t count)
{
    for (; count >= 4; count -= 4, to += 4)
        memcpy(to, &four_values, 4);
    if (count & 2) {
        memcpy(to, &four_values, 2);
        to += 2;
    }
    if (count & 1)
        *to = (int8_t)four_values;
}

/* What a window reads whose first row and column of the map are `y` and `x`; what lies outside is the zero point. */
static void gather_window(const struct plan_op *op, const int8_t *input, int32_t y, int32_t x, int8_t *to)
{
    const uint32_t channels = op->in_c, zero_point = (uint8_t)-op->input_offset[0] * 0x01010101u;
    const int32_t width = op->in_w, height = op->in_h, end = x + op->kernel_w, dilation = op->dilation_h;
    const uint32_t left = x < 0 ? (uint32_t)-x * channels : 0, right = end > width ? (uint32_t)(end - width) * channels : 0;
    const uint32_t row = op->kernel_w * channels, inside = row - left - right, first = x < 0 ? 0 : (uint32_t)x * channels;
    uint32_t rows = op->kernel_h;
    for (; rows != 0 && y < 0; rows--, y += dilation, to += row)
        fill(to, zero_point, row);
    for (; rows != 0 && y < height; rows--, y += dilation, to += row) {
        if (left != 0)
            fill(to, zero_point, left);
        copy(to + left, input + (uint32_t)(y * width) * channels + first, inside);
        if (right != 0)
            fill(to + row - right, zero_point, right);
    }
    fill(to, zero_point, rows * row);
}

/* The same where a window's row is at most a word, as in first layers, and the map's at least one: each is one load from
 * inside the map, moved, with the zero point beside it. Writes up to three bytes behind the window. */
static void gather_narrow(const struct plan_op *op, const int8_t *input, int32_t y, int32_t x, int8_t *to)
{
    const int32_t channels = op->in_c, map_row = op->in_w * channels, height = op->in_h, dilation = op->dilation_h;
    const int32_t row = op->kernel_w * channels, first = x * channels, last_word = map_row - 4;
    const int32_t at = first < 0 ? 0 : first > last_word ? last_word : first;
    const uint32_t up = 8u * (uint32_t)(at > first ? at - first : 0), down = 8u * (uint32_t)(first > at ? first - at : 0);
    const uint32_t inside = UINT32_MAX >> down << up, zero_point = (uint8_t)-op->input_offset[0] * 0x01010101u;
    const uint32_t beside = zero_point & ~inside;
    for (int32_t rows = op->kernel_h; rows != 0; rows--, y += dilation, to += row) {
        uint32_t word = zero_point;
        if ((uint32_t)y < (uint32_t)height)
            word = dsp_word(input + y * map_row + at) >> down << up | beside;
        memcpy(to, &word, sizeof word);
    }
}

/* The same where neighbours of a row are no neighbours in the map. */
static void gather_dilated(const struct plan_op *op, const int8_t *input, int32_t y, int32_t first, int8_t *to)
{
    const uint32_t channels = op->in_c, zero_point = (uint8_t)-op->input_offset[0] * 0x01010101u;
    for (uint32_t row = 0; row < op->kernel_h; row++, y += op->dilation_h) {
        int32_t x = first;
        for (uint32_t tap = 0; tap < op->kernel_w; tap++, x += op->dilation_w, to += channels) {
            if (y >= 0 && y < op->in_h && x >= 0 && x < op->in_w)
                copy(to, input + (y * op->in_w + x) * (int32_t)channels, channels);
            else
                fill(to, zero_point, channels);
        }
    }
}

/* The windows of `count` pixels from one on; what fills up a column meets weights of 0. */
static void gather(const struct kernel_call *call, const struct sizes *s, uint32_t pixel, uint32_t count, int8_t *to)
{
    const struct plan_op *op = call->op;
    const bool narrow = op->kernel_w * op->in_c <= 4 && op->in_w * op->in_c >= 4;
    void (*const one)(const struct plan_op *, const int8_t *, int32_t, int32_t, int8_t *) =
        op->dilation_w != 1 ? gather_dilated : narrow ? gather_narrow : gather_window;
    int32_t y = (int32_t)(pixel / op->out_w), x = (int32_t)(pixel % op->out_w);
    for (; count != 0; count--, to += 2 * s->steps) {
        one(op, call->input, y * op->stride_h - op->pad_top, x * op->stride_w - op->pad_left, to);
        if (++x == op->out_w)
            x = 0, y++;
    }
}

/* Pairs of pixels whose columns lie as bytes `between` apart, to outputs `pitch` apart, each `order` pairs behind the one
 * before it. Small, so that it stays in the instruction cache beside the product. */
static void run_pairs(struct dsp_product *product, uint32_t pairs, const int8_t *from, ptrdiff_t between, int8_t *to,
                      ptrdiff_t pitch, ptrdiff_t order)
{
    for (; pairs != 0; pairs--, from += 2 * order * between, to += 2 * order * pitch) {
        const int8_t *first = from, *second = from + between;
        uint32_t *column = product->columns;
        do {
            const uint32_t a = dsp_word(first), b = dsp_word(second);
            column[0] = dsp_even_bytes(a);
            column[1] = dsp_even_bytes(b);
            column[2] = dsp_odd_bytes(a);
            column[3] = dsp_odd_bytes(b);
            column += 4, first += 4, second += 4;
        } while (column != product->columns_end);
        product->first = to;
        product->second = to + pitch;
        product->run(product);
    }
}

/* The last of an odd number of pixels is its own neighbour, whose outputs are dropped. */
static void run_pixels(struct dsp_product *product, uint32_t count, const int8_t *from, int8_t *to, ptrdiff_t pitch,
                       int8_t *dropped, bool backward)
{
    const ptrdiff_t bytes = 2 * (ptrdiff_t)product->steps, paired = (ptrdiff_t)(count & ~1u), last = paired - 2;
    int8_t *const single = to + paired * pitch;
    if (!backward)
        run_pairs(product, count / 2, from, bytes, to, pitch, 1);
    if (count % 2 != 0)
        run_pairs(product, 1, from + paired * bytes, 0, single, dropped - single, 1);
    if (backward)
        run_pairs(product, count / 2, from + last * bytes, bytes, to + last * pitch, pitch, -1);
}

/* Whether outputs that begin or end where the input does would run ahead of what is to be read, from the first pixel on. */
static bool backward(const struct plan_op *op)
{
    return op->output > op->input[0] || (op->output == op->input[0] && op->out_c > op->in_c);
}

/* Places in the scratch memory. */
struct room {
    uint32_t *columns, *weights;
    int8_t *bytes, *dropped, *rest;
};

static struct room room_of(const struct kernel_call *call, const struct sizes *s)
{
    struct room r = {.columns = (uint32_t *)(void *)(call->arena + call->op->scratch)};
    r.weights = r.columns + DSP_STEP_BYTES / 4 * s->steps;
    r.bytes = (int8_t *)(r.weights + (s->copied ? s->chunk * s->group_bytes / 4 : 0));
    r.dropped = r.bytes + (s->gathered ? s->block * 2 * s->steps : 0); /* gather_narrow() writes into it too */
    r.rest = r.dropped + DSP_GROUP_CHANNELS * s->chunk;
    return r;
}

/* All pixels by one chunk of groups, which begins at channel `channel`. */
static void run_chunk(const struct kernel_call *call, const struct sizes *s, const struct room *room,
                      const uint32_t *groups, uint32_t count, uint32_t channel)
{
    const struct plan_op *op = call->op;
    const uint32_t rest = op->out_c - channel < DSP_GROUP_CHANNELS * count ? op->out_c % DSP_GROUP_CHANNELS : 0;
    const uint32_t whole = rest != 0 ? count - 1 : count, group_words = s->group_bytes / 4;
    const uint32_t block = s->gathered || rest != 0 ? s->block : s->pixels;
    const uint32_t *end = groups + whole * group_words;
    struct dsp_product of_whole = dsp_product_of(room->columns, s->steps, groups, end, dsp_signed(op));
    struct dsp_product of_rest = dsp_product_of(room->columns, s->steps, end, end + group_words, dsp_signed(op));
    int8_t *output = call->output + channel;
    for (uint32_t pixel = 0; pixel < s->pixels; pixel += block, output += block * op->out_c) {
        const uint32_t left = s->pixels - pixel, pixels = left < block ? left : block;
        const int8_t *from = s->gathered ? room->bytes : call->input + (size_t)pixel * s->column;
        if (s->gathered)
            gather(call, s, pixel, pixels, room->bytes);
        if (whole != 0)
            run_pixels(&of_whole, pixels, from, output, op->out_c, room->dropped, backward(op));
        if (rest == 0)
            continue;
        run_pixels(&of_rest, pixels, from, room->rest, DSP_GROUP_CHANNELS, room->dropped, false);
        for (uint32_t i = 0; i < pixels; i++)
            copy(output + i * op->out_c + whole * DSP_GROUP_CHANNELS, room->rest + i * DSP_GROUP_CHANNELS, rest);
    }
}

static bool run(const struct kernel_call *call)
{
    const struct plan_op *op = call->op;
    const struct sizes s = sizes_of(op);
    const struct room room = room_of(call, &s);
    const uint8_t *packed = kernel_constants(call, op->weights_data);
    for (uint32_t group = 0; group < s.groups; group += s.chunk, packed += s.chunk * s.group_bytes) {
        const uint32_t left = s.groups - group, count = left < s.chunk ? left : s.chunk;
        const uint32_t *groups = (const uint32_t *)(const void *)packed;
        if (s.copied)
            groups = memcpy(room.weights, packed, (size_t)count * s.group_bytes);
        run_chunk(call, &s, &room, groups, count, group * DSP_GROUP_CHANNELS);
    }
    dsp_clamp(op, call->output, s.pixels * op->out_c);
    return true;
}

const struct kernel dsp_conv = {
    .fault = conv_fault, .scratch_bytes = scratch_bytes, .run = run, .in_place = in_place};
